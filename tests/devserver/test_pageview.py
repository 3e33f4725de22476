"""What the page shows of many devices: counts, search results, and one part of each list."""

from __future__ import annotations

from pathlib import Path

import pytest

from devserver.caller import make_artifact, new_key, public_pem
from mender_devserver.deployments import KEPT_LOG_BYTES, Poll
from mender_devserver.devices import KnownDevice
from mender_devserver.pageview import PART_LENGTH, View, event_line, snapshot
from mender_devserver.state import ServerState

DEVICES = 2 * PART_LENGTH + 20


@pytest.fixture
def state(tmp_path: Path) -> ServerState:
    """A server without a socket that knows many devices, all of them accepted, and an Artifact for them."""
    state = ServerState(tmp_path / "artifacts")
    key = public_pem(new_key("ed25519"))
    for number in range(DEVICES):
        device = state.devices.preauthorize({"serial": f"SN-{number:04}"}, key)
        state.devices.accept(device.id)
        device.inventory = {"device_type": "testdev", "artifact_name": f"release-{number % 2}"}
    part = make_artifact(tmp_path / "release-2.mender", "release-2")
    state.artifacts.add(state.artifacts.keep(part))
    return state


def shown(state: ServerState, view: View) -> list[str]:
    """The serial numbers of the devices that a view shows."""
    return [one["identity"]["serial"] for one in snapshot(state, view)["devices"].values()]


def devices(state: ServerState) -> list[KnownDevice]:
    """All devices."""
    return list(state.devices)


@pytest.mark.parametrize(
    ("part", "first", "last"), [(0, 0, 49), (1, 0, 49), (2, 50, 99), (3, 100, 119), (99, 100, 119)]
)
def test_list_is_shown_in_parts(state: ServerState, part: int, first: int, last: int) -> None:
    """A view shows one part of the list of devices; for a number out of range, the nearest part."""
    expected = [f"SN-{number:04}" for number in range(first, last + 1)]
    view = View(parts={"devices": part})
    assert expected == shown(state, view)
    place = snapshot(state, view)["lists"]["devices"]
    assert (first + 1, last + 1, DEVICES, 3) == (place["first"], place["last"], place["of"], place["parts"])


@pytest.mark.parametrize(
    ("search", "count"),
    [("SN-0007", 1), ("sn-0007", 1), ("release-1 sn-000", 5), ("testdev", DEVICES), ("serial=SN-011", 10), ("no", 0)],
)
def test_every_word_is_looked_for(state: ServerState, search: str, count: int) -> None:
    """Each word must occur in the identity, id, device type or Artifact, regardless of case."""
    assert count == snapshot(state, View(search=search))["lists"]["devices"]["of"]


def test_devices_are_counted_by_status(state: ServerState) -> None:
    """All devices are counted, not only those shown; a device with a new key counts as pending, but not as new."""
    first, second, *_ = devices(state)
    state.devices.reject(first.id)
    second.auth_sets[0].status = "pending"
    about = snapshot(state, View(status="rejected"))["lists"]["devices"]
    assert {"accepted": DEVICES - 2, "all": DEVICES, "pending": 1, "rejected": 1} == about["counts"]
    assert (1, 1) == (about["of"], about["new"])
    assert ["SN-0000"] == shown(state, View(status="rejected"))


def test_query_that_is_not_understood_shows_the_beginning() -> None:
    """A part that isn't a number means the first one."""
    assert View("a b", "accepted", {"devices": 2}) == View.of_query("search=a+b&status=accepted&devices=2&other=x")


def test_deployment_shows_what_failed_first(state: ServerState) -> None:
    """A deployment has counts and its progress, and shows a part of its devices, the failed ones first."""
    deployment = state.deploy("release-2")
    *_, last = devices(state)
    for one in devices(state)[1:]:
        state.deployments.next_for(one.id, Poll("release-1", "testdev"))
    state.deployments.set_status(deployment.id, last.id, "failure")
    card = snapshot(state, View())["deployments"][deployment.id]
    assert {"failure": 1, "pending": DEVICES - 2} == card["counts"]
    assert ["SN-0119", "SN-0001"] == [one["identity"]["serial"] for one in card["devices"][:2]]
    assert (PART_LENGTH, DEVICES - 1, 1 / DEVICES) == (len(card["devices"]), card["list"]["of"], card["share"])
    third = snapshot(state, View(parts={deployment.id: 3}))["deployments"][deployment.id]
    assert (101, DEVICES - 1) == (third["list"]["first"], third["list"]["last"])


def test_event_names_its_device(state: ServerState) -> None:
    """An event has the identity of its device, which the page may not show, and no long list of devices."""
    deployment = state.deploy("release-2")
    state.deployments.next_for(devices(state)[0].id, Poll("release-1", "testdev"))
    made, offered = (event_line(state, one)["data"] for one in state.activity.events()[-2:])
    assert {"deployment_id": deployment.id, "artifact_name": "release-2", "devices": DEVICES} == made
    assert {"serial": "SN-0000"} == offered["identity"]


def test_oldest_logs_are_forgotten(state: ServerState) -> None:
    """Of the logs of a fleet the newest are kept, however long they are."""
    deployment = state.deploy("release-2")
    for one in devices(state)[:3]:
        state.deployments.next_for(one.id, Poll("release-1", "testdev"))
        state.deployments.set_log(deployment.id, one.id, [{"level": "info", "message": one.id, "timestamp": ""}])
        deployment.devices[one.id].packed_log += bytes(KEPT_LOG_BYTES // 2)
    assert [False, True, True] == [bool(one.packed_log) for one in deployment.devices.values()]
    assert devices(state)[1].id in str(deployment.devices[devices(state)[1].id].log)
