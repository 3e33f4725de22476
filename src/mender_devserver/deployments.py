"""Deployments: which Artifact is deployed to which device, what the devices reported, and the results.

The rules that affect a client are in ``next_for`` and ``set_status``: the oldest unfinished deployment comes first;
the data of a device's first poll must not change while the deployment is active; a deployment ends if its Artifact is
already installed or isn't compatible with the device type; a status can replace any other except ``aborted``.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mender_client.errors import ServerError
from mender_devserver.activity import Exchange
from mender_devserver.artifacts import Artifact, Artifacts
from mender_devserver.devices import Emit, find

ACTIVE = frozenset(
    {
        "pending",
        "downloading",
        "installing",
        "rebooting",
        "pause_before_installing",
        "pause_before_rebooting",
        "pause_before_committing",
    }
)
REPORTABLE = (ACTIVE - {"pending"}) | {"success", "failure", "already-installed"}
"""Statuses that a device may report."""
SERVER_ONLY = frozenset({"pending", "noartifact", "decommissioned", "aborted"})
"""Statuses that exist but that a device may not report."""
KEPT_LOG_BYTES = 16 * 1024 * 1024
"""The total size of the deployment logs kept, compressed; the oldest logs are discarded first."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What a device sends when it polls for a deployment.

    Args:
        artifact_name: the installed Artifact.
        device_type: its device type.
        provides: its other provides; ``None`` (not sent) differs from an empty mapping.
    """

    artifact_name: str
    device_type: str
    provides: tuple[tuple[str, str], ...] | None = None


@dataclass(slots=True)
class DeviceDeployment:
    """The state of a deployment on one device, from its first poll on.

    Args:
        poll: the first poll of the device.
        status: the current status.
        received: every status that the device reported and the server accepted, in order, including repetitions.
        packed_log: the messages of the last log upload, compressed; empty if there was none or it was discarded.
        artifact_id: the Artifact selected for the device.
        size_bytes: the size of that Artifact.
        first_byte: where the last download began.
        download: the exchange of the last download, which counts the bytes sent.
        requests: the number of requests for the Artifact; an adaptive download makes many.
        earlier_bytes: the number of bytes sent for all of these requests except the last.
    """

    poll: Poll
    status: str = "pending"
    received: list[str] = field(default_factory=list)
    packed_log: bytes = field(default=b"", repr=False)
    artifact_id: str = ""
    size_bytes: int = 0
    first_byte: int = 0
    download: Exchange | None = None
    requests: int = 0
    earlier_bytes: int = 0

    @property
    def log(self) -> list[dict[str, Any]] | None:
        """The messages of the last log upload, if there was one."""
        return list(json.loads(zlib.decompress(self.packed_log))) if self.packed_log else None

    @property
    def sent_bytes(self) -> int:
        """The number of bytes of the Artifact that were sent; bytes that were sent again are counted again."""
        return self.earlier_bytes + (self.download.bytes_sent if self.download else 0)

    @property
    def downloaded_bytes(self) -> int:
        """The position in the Artifact up to which the server has sent it."""
        return self.first_byte + self.download.bytes_sent if self.download else 0


@dataclass(slots=True)
class Deployment:
    """An Artifact name to be installed on a set of devices.

    Args:
        id: assigned by the server.
        artifact_name: the Artifact to install.
        device_ids: the devices, fixed when the deployment is created.
        created: the time of creation.
        force: offer the Artifact even to a device that already has it.
        configuration: the desired configuration of a configuration deployment, which has no uploaded Artifact.
        aborted: whether it was aborted.
        devices: the state on each device that has polled.
    """

    id: str
    artifact_name: str
    device_ids: tuple[str, ...]
    created: datetime
    force: bool = False
    configuration: dict[str, str] | None = None
    aborted: bool = False
    devices: dict[str, DeviceDeployment] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``pending`` before any status, ``finished`` if aborted or all devices are done, else ``inprogress``."""
        statuses = [one.status for one in self.devices.values()]
        if self.aborted or len([one for one in statuses if one not in ACTIVE]) >= len(self.device_ids):
            return "finished"
        return "pending" if all(one == "pending" for one in statuses) else "inprogress"

    def status_of(self, device_id: str) -> str:
        """The status on one device; ``pending`` also before the device has polled, unless it was aborted."""
        known = self.devices.get(device_id)
        if known is not None:
            return known.status
        return "aborted" if self.aborted else "pending"


class Deployments:
    """All deployments, oldest first.

    Args:
        artifacts: the Artifacts that can be deployed.
        now: the server's clock.
        emit: where events go.
    """

    def __init__(self, artifacts: Artifacts, now: Callable[[], datetime], emit: Emit) -> None:
        self._artifacts = artifacts
        self._now = now
        self._emit = emit
        self._deployments: dict[str, Deployment] = {}
        self._of_device: dict[str, list[Deployment]] = {}
        self._logs: dict[tuple[str, str], DeviceDeployment] = {}  # oldest first

    def __iter__(self) -> Iterator[Deployment]:
        return iter(tuple(self._deployments.values()))

    # for the operator

    def get(self, deployment_id: str) -> Deployment:
        """The deployment with this id, or with the only id that starts with it.

        Raises:
            ServerError: 404 if there is none, 409 if there are several.
        """
        return find("deployment", self._deployments, deployment_id)

    def create(self, artifact_name: str, device_ids: tuple[str, ...], *, force: bool = False) -> Deployment:
        """Create a deployment.

        Raises:
            ServerError: 404 if there is no such Artifact, 400 without a device.
        """
        if not self._artifacts.named(artifact_name):
            raise ServerError(f"cannot deploy '{artifact_name}': upload an Artifact of this name first", status=404)
        if not device_ids:
            raise ServerError(f"cannot deploy '{artifact_name}': accept a device first", status=400)
        return self._add(Deployment(str(uuid.uuid4()), artifact_name, device_ids, self._now(), force))

    def configure(self, device_id: str, configuration: Mapping[str, str]) -> Deployment:
        """Deploy a configuration to a device."""
        deployment_id = str(uuid.uuid4())
        name = f"configuration-{deployment_id}"
        wanted = dict(configuration)
        return self._add(Deployment(deployment_id, name, (device_id,), self._now(), configuration=wanted))

    def exact(self, deployment_id: str) -> Deployment | None:
        """The deployment with exactly this id."""
        return self._deployments.get(deployment_id)

    def abort(self, deployment_id: str) -> Deployment:
        """Abort a deployment: it is no longer offered to any device, and reports of unfinished devices are refused."""
        deployment = self.get(deployment_id)
        deployment.aborted = True
        for known in deployment.devices.values():
            if known.status in ACTIVE:
                known.status = "aborted"
        self._emit("aborted", deployment_id=deployment.id)
        return deployment

    def decommission(self, device_id: str) -> None:
        """End the deployments of a decommissioned device."""
        for deployment in self._of_device.get(device_id, ()):
            if deployment.status_of(device_id) in ACTIVE:
                deployment.devices.setdefault(device_id, DeviceDeployment(Poll("", ""))).status = "decommissioned"

    # for devices

    def next_for(self, device_id: str, poll: Poll) -> tuple[Deployment, Artifact | None] | None:
        """The deployment that this device should install now, or ``None``; a configuration has no Artifact yet.

        Raises:
            ServerError: 409 if the poll differs from the first one of this deployment, which then fails.
        """
        deployment = self._oldest_for(device_id)
        if deployment is None:
            return None
        known = deployment.devices.setdefault(device_id, DeviceDeployment(poll))
        if known.poll != poll:
            self._end(deployment, device_id, "failure")
            raise ServerError("Device provided conflicting request data", status=409)
        if deployment.configuration is not None:
            self._note_offer(deployment, device_id, deployment.id + device_id)
            return deployment, None
        named = self._artifacts.named(deployment.artifact_name)
        fitting = [one for one in named if poll.device_type in one.device_types]
        if not fitting:
            self._end(deployment, device_id, "noartifact")
            return None
        if poll.artifact_name == deployment.artifact_name and not deployment.force:
            self._end(deployment, device_id, "already-installed")
            return None
        self._note_offer(deployment, device_id, fitting[-1].id)
        known.size_bytes = fitting[-1].size_bytes
        return deployment, fitting[-1]

    def set_status(self, deployment_id: str, device_id: str, status: str) -> None:
        """Accept a status report.

        Args:
            deployment_id: the deployment.
            device_id: the device.
            status: the reported status; empty if there was none.

        Raises:
            ServerError: 404 if the device was never offered this deployment, 409 if it is aborted, 500 without a
                status, as the real server answers because of a bug.
        """
        known = self._known(deployment_id, device_id)
        if known is None:
            raise ServerError("Resource not found", status=404)
        if known.status in ("aborted", "decommissioned"):
            raise ServerError("Deployment aborted", status=409)
        if not status:
            raise ServerError("internal error", status=500)
        known.received.append(status)
        known.status = status
        self._emit("status", deployment_id=deployment_id, device_id=device_id, status=status)

    def set_log(self, deployment_id: str, device_id: str, messages: list[dict[str, Any]]) -> None:
        """Store a deployment log; it replaces an earlier one.

        Raises:
            ServerError: 404 if the device was never offered this deployment, 500 for a time in the year 0, as the real
                server answers because of a bug.
        """
        known = self._known(deployment_id, device_id)
        if known is None:
            raise ServerError("Deployment not found", status=404)
        if any(one["timestamp"].startswith("0000-") for one in messages):
            raise ServerError("internal error", status=500)
        known.packed_log = zlib.compress(json.dumps(messages).encode())
        self._logs.pop((deployment_id, device_id), None)
        self._logs[deployment_id, device_id] = known
        self._forget_oldest_logs()
        self._emit("log", deployment_id=deployment_id, device_id=device_id, messages=len(messages))

    def note_download(self, first_byte: int, download: Exchange) -> None:
        """Note that a download has begun at this byte; the exchange counts the bytes sent."""
        deployment = self._oldest_for(download.device_id)
        if deployment is not None and download.device_id in deployment.devices:
            known = deployment.devices[download.device_id]
            known.earlier_bytes, known.requests = known.sent_bytes, known.requests + 1
            known.first_byte, known.download = first_byte, download

    # internal

    def _forget_oldest_logs(self) -> None:
        kept = sum(len(one.packed_log) for one in self._logs.values())
        while kept > KEPT_LOG_BYTES and len(self._logs) > 1:
            oldest = self._logs.pop(next(iter(self._logs)))
            kept -= len(oldest.packed_log)
            oldest.packed_log = b""

    def _add(self, deployment: Deployment) -> Deployment:
        self._deployments[deployment.id] = deployment
        for device_id in dict.fromkeys(deployment.device_ids):
            self._of_device.setdefault(device_id, []).append(deployment)
        name, device_ids = deployment.artifact_name, list(deployment.device_ids)
        self._emit("deployment", deployment_id=deployment.id, artifact_name=name, device_ids=device_ids)
        return deployment

    def _note_offer(self, deployment: Deployment, device_id: str, artifact_id: str) -> None:
        known = deployment.devices[device_id]
        if not known.artifact_id:
            self._emit("offered", deployment_id=deployment.id, device_id=device_id)
        known.artifact_id = artifact_id

    def _known(self, deployment_id: str, device_id: str) -> DeviceDeployment | None:
        deployment = self._deployments.get(deployment_id)
        return deployment.devices.get(device_id) if deployment else None

    def _oldest_for(self, device_id: str) -> Deployment | None:
        own = self._of_device.get(device_id, ())
        return next((one for one in own if one.status_of(device_id) in ACTIVE), None)

    def _end(self, deployment: Deployment, device_id: str, status: str) -> None:
        deployment.devices[device_id].status = status
        self._emit("status", deployment_id=deployment.id, device_id=device_id, status=status, by="server")
