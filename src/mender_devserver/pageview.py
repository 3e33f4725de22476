"""The state that the page shows: counts and a part of each long list, so that a large fleet doesn't slow the page down.

A browser that displays a thousand devices is slow, and so is a feed that sends all of them. Therefore the feed sends
only the part of each list that is displayed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs

from mender_devserver import artifacts, faults
from mender_devserver.activity import Event
from mender_devserver.deployments import ACTIVE, Deployment, DeviceDeployment
from mender_devserver.devices import KnownDevice
from mender_devserver.settings import read_settings
from mender_devserver.state import ServerState
from mender_devserver.views import event_json, on_device_json

T = TypeVar("T")

PART_LENGTH = 50
"""The number of objects of a list that are shown at once."""
_BAD = frozenset({"failure", "noartifact", "aborted"})
_DOWNLOAD_SHARE, _INSTALL_SHARE = 0.9, 0.95

Snapshot = dict[str, dict[str, Any]]
"""The collections that the page shows, each with its objects by key."""


@dataclass(frozen=True, slots=True)
class View:
    """The search and the parts of the lists that a page displays.

    Args:
        search: words, all of which must occur in identity, id, device type or Artifact of a device; empty for all.
        status: the status of the devices; empty for all.
        parts: the number of the part shown of each list, from 1; the lists are ``devices`` and each deployment's id.
    """

    search: str = ""
    status: str = ""
    parts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_query(cls, query: str) -> View:
        """Parse the view in a query; invalid parameters are ignored."""
        given = {name: values[0] for name, values in parse_qs(query).items()}
        parts = {name: int(value) for name, value in given.items() if value.isdecimal() and len(value) < 10}
        return cls(given.get("search", ""), given.get("status", ""), parts)

    def part(self, name: str, things: Sequence[T]) -> tuple[Sequence[T], dict[str, int]]:
        """The part of a list that is shown, and its position."""
        count = max(1, -(-len(things) // PART_LENGTH))
        number = min(max(1, self.parts.get(name, 1)), count)
        start = (number - 1) * PART_LENGTH
        shown = things[start : start + PART_LENGTH]
        return shown, {
            "part": number,
            "parts": count,
            "first": start + 1,
            "last": start + len(shown),
            "of": len(things),
        }


def snapshot(state: ServerState, view: View) -> Snapshot:
    """The current content of the page; the caller holds the lock."""
    devices = tuple(state.devices)
    shown, place = view.part("devices", matching(devices, view))
    fresh = sum(one.status == "pending" for one in devices)
    about = {**place, "ids": [one.id for one in shown], "counts": counts(devices), "new": fresh}
    return {
        "devices": {one.id: device_card(one) for one in shown},
        "lists": {"devices": about},
        "artifacts": {one.id: artifacts.as_json(one) for one in state.artifacts},
        "deployments": {one.id: deployment_card(state, one, view) for one in state.deployments},
        "faults": {"list": [faults.as_json(one) for one in state.faults.listed()]},
        "settings": read_settings(state),
    }


def matching(devices: Iterable[KnownDevice], view: View) -> list[KnownDevice]:
    """The devices that match the search of a view."""
    words = view.search.lower().split()
    found = (one for one in devices if not view.status or view.status in _statuses(one))
    return [one for one in found if not words or all(word in _text(one) for word in words)]


def counts(devices: Iterable[KnownDevice]) -> dict[str, int]:
    """The number of devices by status; a device with another, pending key also counts as pending."""
    counted: Counter[str] = Counter()
    for one in devices:
        counted.update(_statuses(one))
        counted["all"] += 1
    return dict(sorted(counted.items()))


def _statuses(device: KnownDevice) -> set[str]:
    waiting = {"pending"} if any(one.status == "pending" for one in device.auth_sets) else set()
    return {device.status, *waiting}


def _text(device: KnownDevice) -> str:
    identity = (f"{name}={value}" for name, value in device.identity.items())
    runs = (device.inventory.get(name, "") for name in ("device_type", "artifact_name"))
    return " ".join(map(str, (*identity, device.id, *runs))).lower()


def device_card(device: KnownDevice) -> dict[str, Any]:
    """A device in the list; the page requests its inventory when the device is opened."""
    return {
        "device_id": device.id,
        "status": device.status,
        "identity": device.identity,
        "connected": device.is_connected,
        "reported_time": device.reported_time.isoformat() if device.reported_time else None,
        "last_seen": device.last_seen.isoformat() if device.last_seen else None,
        "keys": [one.status for one in device.auth_sets],
        "device_type": device.inventory.get("device_type"),
        "artifact_name": device.inventory.get("artifact_name"),
        "inventory_time": device.inventory_time.isoformat() if device.inventory_time else None,
    }


def deployment_card(state: ServerState, deployment: Deployment, view: View) -> dict[str, Any]:
    """A deployment with counts by status, its progress, and some of its devices, failed ones first."""
    known = deployment.devices
    failed = [one for one in known.items() if one[1].status in _BAD]
    others = [one for one in known.items() if one[1].status not in _BAD] if len(failed) < len(known) else []
    shown, place = view.part(deployment.id, [*failed, *others])
    return {
        "deployment_id": deployment.id,
        "artifact_name": deployment.artifact_name,
        "status": deployment.status,
        "created": deployment.created.isoformat(),
        "max_devices": len(deployment.device_ids),
        "counts": dict(Counter(one.status for one in known.values())),
        "share": sum(map(_share, known.values())) / len(deployment.device_ids),
        "devices": [{**on_device_json(*one), "identity": _identity(state, one[0])} for one in shown],
        "list": place,
    }


def _share(known: DeviceDeployment) -> float:
    """The progress of a device, estimated: the download is assumed to be most of the update."""
    if known.status not in ACTIVE:
        return 1.0
    if known.status == "downloading":
        return _DOWNLOAD_SHARE * min(1.0, known.downloaded_bytes / known.size_bytes) if known.size_bytes else 0.0
    return 0.0 if known.status == "pending" else _INSTALL_SHARE


def _identity(state: ServerState, device_id: str) -> dict[str, Any] | None:
    device = state.devices.exact(device_id)
    return device.identity if device else None


def event_line(state: ServerState, event: Event) -> dict[str, Any]:
    """An event with the identity of its device, and without long lists."""
    data = {name: value for name, value in event.data.items() if name != "device_ids"}
    if "device_ids" in event.data:
        data["devices"] = len(event.data["device_ids"])
    if "device_id" in data and "identity" not in data:
        data["identity"] = _identity(state, data["device_id"])
    return {**event_json(event), "data": data}
