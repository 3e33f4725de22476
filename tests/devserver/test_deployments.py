"""What a device is offered, and how its reports are handled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from devserver.caller import make_artifact
from mender_client.errors import ServerError
from mender_devserver.deployments import Deployment, Poll
from mender_devserver.state import ServerState
from mender_devserver.views import deployment_json

OLD = Poll("old", "testdev")
DEVICE = "device-1"


@pytest.fixture
def state(tmp_path: Path) -> ServerState:
    """A server without a socket, with two Artifacts."""
    made = ServerState(tmp_path / "artifacts")
    for name in ("r1", "r2"):
        part = make_artifact(made.artifacts.new_part(), name)
        made.artifacts.add(made.artifacts.keep(part))
    return made


@pytest.fixture
def deploy(state: ServerState) -> Callable[..., Deployment]:
    """Makes a deployment for the device."""

    def make(name: str = "r1", *, force: bool = False) -> Deployment:
        return state.deployments.create(name, (DEVICE,), force=force)

    return make


Deploy = Callable[..., Deployment]


def offered(state: ServerState, poll: Poll = OLD) -> str | None:
    """The id of the deployment that the device is offered."""
    found = state.deployments.next_for(DEVICE, poll)
    return found[0].id if found else None


def test_oldest_unfinished_deployment_comes_first(state: ServerState, deploy: Deploy) -> None:
    """If there are several deployments, the oldest is offered until it ends."""
    first, second = deploy("r1"), deploy("r2")
    assert [first.id, first.id] == [offered(state), offered(state)]
    state.deployments.set_status(first.id, DEVICE, "failure")
    assert second.id == offered(state)


@pytest.mark.parametrize(
    "other",
    [
        Poll("other", "testdev"),
        Poll("old", "otherdev"),
        Poll("old", "testdev", ()),
        Poll("old", "testdev", (("a", "b"),)),
    ],
)
def test_other_words_in_mid_deployment_fail_it(state: ServerState, deploy: Deploy, other: Poll) -> None:
    """A poll that differs from the first one of the deployment gets 409, and the deployment has failed."""
    deployment = deploy()
    offered(state)
    with pytest.raises(ServerError, match="conflicting request data") as caught:
        offered(state, other)
    assert (409, "failure", None) == (caught.value.status, deployment.status_of(DEVICE), offered(state, other))


def test_installed_artifact_ends_the_deployment(state: ServerState, deploy: Deploy) -> None:
    """A device that has the Artifact already isn't offered it; the server ends the deployment without any report."""
    deployment = deploy("r1")
    assert offered(state, Poll("r1", "testdev")) is None
    known = deployment.devices[DEVICE]
    assert ("already-installed", []) == (known.status, known.received)


def test_forced_deployment_is_offered_in_any_case(state: ServerState, deploy: Deploy) -> None:
    """With force, an Artifact that is installed already is offered."""
    assert deploy("r1", force=True).id == offered(state, Poll("r1", "testdev"))


def test_wrong_device_type_ends_the_deployment(state: ServerState, deploy: Deploy) -> None:
    """One poll with a device type that no Artifact fits ends the deployment."""
    deployment = deploy()
    assert [None, None] == [offered(state, Poll("old", "otherdev")), offered(state)]
    assert "noartifact" == deployment.status_of(DEVICE)


def test_aborted_deployment_refuses_statuses_and_takes_the_log(state: ServerState, deploy: Deploy) -> None:
    """After an abort every status gets 409, but a log is still accepted."""
    deployment = deploy()
    offered(state)
    state.deployments.abort(deployment.id)
    with pytest.raises(ServerError) as caught:
        state.deployments.set_status(deployment.id, DEVICE, "installing")
    state.deployments.set_log(deployment.id, DEVICE, [{"message": "x", "timestamp": "2026-01-01T00:00:00Z"}])
    assert (409, "aborted", None) == (caught.value.status, deployment.status_of(DEVICE), offered(state))


def test_finished_device_stays_finished_after_an_abort(state: ServerState, deploy: Deploy) -> None:
    """An abort doesn't change an outcome."""
    deployment = deploy()
    offered(state)
    state.deployments.set_status(deployment.id, DEVICE, "success")
    state.deployments.abort(deployment.id)
    assert "success" == deployment.status_of(DEVICE)


def test_status_needs_an_offer(state: ServerState, deploy: Deploy) -> None:
    """A deployment that was never offered to the device gets 404."""
    deployment = deploy()
    for deployment_id in (deployment.id, "unknown"):
        with pytest.raises(ServerError) as caught:
            state.deployments.set_status(deployment_id, DEVICE, "downloading")
        assert 404 == caught.value.status


def test_statuses_are_kept_as_received(state: ServerState, deploy: Deploy) -> None:
    """Repeated statuses are no error, any order is accepted, and the last one counts."""
    deployment = deploy()
    offered(state)
    for status in ("downloading", "downloading", "success", "failure"):
        state.deployments.set_status(deployment.id, DEVICE, status)
    known = deployment.devices[DEVICE]
    assert ["downloading", "downloading", "success", "failure"] == known.received
    assert ("failure", "finished") == (known.status, deployment.status)


def test_deployment_tells_how_far_it_is(state: ServerState, deploy: Deploy) -> None:
    """A deployment is pending until the first status, even after a poll; then in progress; finished at the end."""
    deployment = deploy()
    seen = [deployment.status]
    offered(state)
    seen.append(deployment.status)
    for status in ("downloading", "success"):
        state.deployments.set_status(deployment.id, DEVICE, status)
        seen.append(deployment.status)
    assert ["pending", "pending", "inprogress", "finished"] == seen


def test_aborted_deployment_is_finished(state: ServerState, deploy: Deploy) -> None:
    """An abort finishes a deployment, whether or not a device has polled."""
    deployment = deploy()
    state.deployments.abort(deployment.id)
    assert ("finished", {}) == (deployment.status, deployment.devices)


def test_device_is_listed_once_it_has_polled(state: ServerState, deploy: Deploy) -> None:
    """A deployment lists the devices that have polled, and counts those that it is meant for."""
    deployment = deploy()
    before = deployment_json(deployment)
    offered(state)
    after = deployment_json(deployment)
    assert ([], 0, 1) == (before["devices"], before["device_count"], before["max_devices"])
    assert [(DEVICE, "pending")] == [(one["device_id"], one["status"]) for one in after["devices"]]
    assert (1, 1) == (after["device_count"], after["max_devices"])


def test_deployment_to_an_unknown_device(state: ServerState) -> None:
    """An unknown device id is accepted as it is, and that device gets the deployment if it ever polls."""
    deployment = state.deploy("r1", ["unknown"])
    found = state.deployments.next_for("unknown", OLD)
    assert found is not None
    assert deployment is found[0]


def test_wrong_device_type_counts_before_the_installed_artifact(state: ServerState, deploy: Deploy) -> None:
    """For a device of another type there is no fitting Artifact, even if it has one of that name installed."""
    deployment = deploy("r1")
    offered(state, Poll("r1", "otherdev"))
    assert "noartifact" == deployment.status_of(DEVICE)


def test_decommissioned_device_ends_its_deployments(state: ServerState, deploy: Deploy) -> None:
    """A deployment to a device that was removed doesn't stay open for ever."""
    deployment = deploy()
    state.deployments.decommission(DEVICE)
    state.deployments.decommission("another")
    assert ("decommissioned", "finished") == (deployment.status_of(DEVICE), deployment.status)


def test_deployment_needs_an_artifact_and_a_device(state: ServerState) -> None:
    """Deploying an Artifact that doesn't exist, or to no device, is refused."""
    with pytest.raises(ServerError, match="upload an Artifact of this name first"):
        state.deploy("unknown")
    with pytest.raises(ServerError, match="accept a device first"):
        state.deploy("r1")


def test_deleted_artifact_ends_the_deployment(state: ServerState, deploy: Deploy) -> None:
    """After the Artifact was deleted there is nothing to offer."""
    deployment = deploy()
    for artifact in state.artifacts:
        state.artifacts.delete(artifact.id)
    assert (None, "noartifact") == (offered(state), deployment.status_of(DEVICE))


def test_artifacts_outlive_the_server(state: ServerState) -> None:
    """A new server in the same directory offers the same Artifacts, removes partial uploads and keeps other files."""
    state.artifacts.new_part().write_bytes(b"half")
    stranger = state.artifacts.directory / "stranger.mender"
    stranger.write_bytes(b"not an Artifact")
    again = ServerState(state.artifacts.directory)
    again.artifacts.load()
    assert sorted(one.name for one in state.artifacts) == sorted(one.name for one in again.artifacts)
    assert ([], True) == (list(again.artifacts.directory.glob("*.part")), stranger.exists())
