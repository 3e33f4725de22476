"""What a device is offered, and what becomes of what it says."""

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
    """The id of what the device is offered."""
    found = state.deployments.next_for(DEVICE, poll)
    return found[0].id if found else None


def test_oldest_unfinished_deployment_comes_first(state: ServerState, deploy: Deploy) -> None:
    """Of several deployments the oldest is offered until it ends."""
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
    """A poll that differs from the first of the deployment gets 409, and the deployment has failed."""
    deployment = deploy()
    offered(state)
    with pytest.raises(ServerError, match="conflicting request data") as caught:
        offered(state, other)
    assert (409, "failure", None) == (caught.value.status, deployment.status_of(DEVICE), offered(state, other))


def test_installed_artifact_ends_the_deployment(state: ServerState, deploy: Deploy) -> None:
    """A device that has the Artifact isn't offered it; the server ends the deployment, nothing was reported."""
    deployment = deploy("r1")
    assert offered(state, Poll("r1", "testdev")) is None
    known = deployment.devices[DEVICE]
    assert ("already-installed", []) == (known.status, known.received)


def test_forced_deployment_is_offered_in_any_case(state: ServerState, deploy: Deploy) -> None:
    """Force offers an Artifact that is installed."""
    assert deploy("r1", force=True).id == offered(state, Poll("r1", "testdev"))


def test_wrong_device_type_ends_the_deployment(state: ServerState, deploy: Deploy) -> None:
    """One poll with a device type that nothing fits is the end of the deployment."""
    deployment = deploy()
    assert [None, None] == [offered(state, Poll("old", "otherdev")), offered(state)]
    assert "noartifact" == deployment.status_of(DEVICE)


def test_aborted_deployment_refuses_statuses_and_takes_the_log(state: ServerState, deploy: Deploy) -> None:
    """After an abort every status is 409, a log is still taken."""
    deployment = deploy()
    offered(state)
    state.deployments.abort(deployment.id)
    with pytest.raises(ServerError) as caught:
        state.deployments.set_status(deployment.id, DEVICE, "installing")
    state.deployments.set_log(deployment.id, DEVICE, [{"message": "x", "timestamp": "2026-01-01T00:00:00Z"}])
    assert (409, "aborted", None) == (caught.value.status, deployment.status_of(DEVICE), offered(state))


def test_finished_device_stays_finished_after_an_abort(state: ServerState, deploy: Deploy) -> None:
    """An abort doesn't rewrite an outcome."""
    deployment = deploy()
    offered(state)
    state.deployments.set_status(deployment.id, DEVICE, "success")
    state.deployments.abort(deployment.id)
    assert "success" == deployment.status_of(DEVICE)


def test_status_needs_an_offer(state: ServerState, deploy: Deploy) -> None:
    """A deployment that the device was never offered is 404 to it."""
    deployment = deploy()
    for deployment_id in (deployment.id, "unknown"):
        with pytest.raises(ServerError) as caught:
            state.deployments.set_status(deployment_id, DEVICE, "downloading")
        assert 404 == caught.value.status


def test_statuses_are_kept_as_received(state: ServerState, deploy: Deploy) -> None:
    """Repeats are no error, any order is taken, the last word counts."""
    deployment = deploy()
    offered(state)
    for status in ("downloading", "downloading", "success", "failure"):
        state.deployments.set_status(deployment.id, DEVICE, status)
    known = deployment.devices[DEVICE]
    assert ["downloading", "downloading", "success", "failure"] == known.received
    assert ("failure", "finished") == (known.status, deployment.status)


def test_deployment_tells_how_far_it_is(state: ServerState, deploy: Deploy) -> None:
    """Pending until the first status, also after a poll; in progress after it; finished at the end."""
    deployment = deploy()
    seen = [deployment.status]
    offered(state)
    seen.append(deployment.status)
    for status in ("downloading", "success"):
        state.deployments.set_status(deployment.id, DEVICE, status)
        seen.append(deployment.status)
    assert ["pending", "pending", "inprogress", "finished"] == seen


def test_aborted_deployment_is_finished(state: ServerState, deploy: Deploy) -> None:
    """An abort finishes a deployment, whether a device has polled or not."""
    deployment = deploy()
    state.deployments.abort(deployment.id)
    assert ("finished", {}) == (deployment.status, deployment.devices)


def test_device_is_listed_once_it_has_polled(state: ServerState, deploy: Deploy) -> None:
    """A deployment lists the devices that have polled, and counts those that it is for."""
    deployment = deploy()
    before = deployment_json(deployment)
    offered(state)
    after = deployment_json(deployment)
    assert ([], 0, 1) == (before["devices"], before["device_count"], before["max_devices"])
    assert [(DEVICE, "pending")] == [(one["device_id"], one["status"]) for one in after["devices"]]
    assert (1, 1) == (after["device_count"], after["max_devices"])


def test_deployment_to_an_unknown_device(state: ServerState) -> None:
    """An unknown id is taken as it is, and the device gets the deployment if it ever polls."""
    deployment = state.deploy("r1", ["unknown"])
    found = state.deployments.next_for("unknown", OLD)
    assert found is not None
    assert deployment is found[0]


def test_wrong_device_type_counts_before_the_installed_artifact(state: ServerState, deploy: Deploy) -> None:
    """A device of another type has no fitting Artifact, even if it has one of that name."""
    deployment = deploy("r1")
    offered(state, Poll("r1", "otherdev"))
    assert "noartifact" == deployment.status_of(DEVICE)


def test_decommissioned_device_ends_its_deployments(state: ServerState, deploy: Deploy) -> None:
    """A deployment to a device that is gone doesn't stay open for ever."""
    deployment = deploy()
    state.deployments.decommission(DEVICE)
    state.deployments.decommission("another")
    assert ("decommissioned", "finished") == (deployment.status_of(DEVICE), deployment.status)


def test_deployment_needs_an_artifact_and_a_device(state: ServerState) -> None:
    """Nothing is deployed that isn't there, and nothing to nobody."""
    with pytest.raises(ServerError, match="upload an Artifact of this name first"):
        state.deploy("unknown")
    with pytest.raises(ServerError, match="accept a device first"):
        state.deploy("r1")


def test_deleted_artifact_ends_the_deployment(state: ServerState, deploy: Deploy) -> None:
    """Once the Artifact is gone there is nothing to offer."""
    deployment = deploy()
    for artifact in state.artifacts:
        state.artifacts.delete(artifact.id)
    assert (None, "noartifact") == (offered(state), deployment.status_of(DEVICE))


def test_artifacts_outlive_the_server(state: ServerState) -> None:
    """A new server in the same directory offers the same Artifacts; half uploads are removed, other files stay."""
    state.artifacts.new_part().write_bytes(b"half")
    stranger = state.artifacts.directory / "stranger.mender"
    stranger.write_bytes(b"not an Artifact")
    again = ServerState(state.artifacts.directory)
    again.artifacts.load()
    assert sorted(one.name for one in state.artifacts) == sorted(one.name for one in again.artifacts)
    assert ([], True) == (list(again.artifacts.directory.glob("*.part")), stranger.exists())
