"""Deployments: which Artifact which device is to have, what the devices said about it, and how it ended.

The rules that a client must know are all in ``next_for`` and ``set_status``: the oldest unfinished deployment comes
first; what a device says about itself is kept from the first poll on and must not change while the deployment is
active; an Artifact that is installed already, or that isn't made for the device type, ends the deployment; a status
may overwrite any other one but ``aborted``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mender_client.errors import ServerError
from mender_devserver.artifacts import Artifact, Artifacts
from mender_devserver.devices import Emit, find
from mender_devserver.record import Exchange

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
"""What a device may report."""
SERVER_ONLY = frozenset({"pending", "noartifact", "decommissioned", "aborted"})
"""Statuses that exist but that a device may not report."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What a device says about itself when it asks for a deployment.

    Args:
        artifact_name: the Artifact that it runs.
        device_type: what it is.
        provides: all else that it provides; ``None`` (not sent) differs from an empty one.
    """

    artifact_name: str
    device_type: str
    provides: tuple[tuple[str, str], ...] | None = None


@dataclass(slots=True)
class DeviceDeployment:
    """One deployment on one device, from its first poll on.

    Args:
        poll: what the device said at the first poll.
        status: as it stands.
        received: every status that the device reported and the server took, repeats included, in order.
        log: the messages of the last log upload, if there was one.
        artifact_id: what was chosen for it.
        size_bytes: how long that is.
        first_byte: where its last download began.
        download: its last download, which counts its bytes.
    """

    poll: Poll
    status: str = "pending"
    received: list[str] = field(default_factory=list)
    log: list[dict[str, Any]] | None = None
    artifact_id: str = ""
    size_bytes: int = 0
    first_byte: int = 0
    download: Exchange | None = None

    @property
    def downloaded_bytes(self) -> int:
        """How far into the Artifact the server has come with sending it to the device."""
        return self.first_byte + self.download.bytes_sent if self.download else 0


@dataclass(slots=True)
class Deployment:
    """An Artifact name for a set of devices.

    Args:
        id: the server's name for it.
        artifact_name: what the devices are to have.
        device_ids: the devices, fixed when the deployment is made.
        created: when it was made.
        force: offer it even to a device that says it has it.
        aborted: the operator stopped it.
        devices: what is known of each device that has polled.
    """

    id: str
    artifact_name: str
    device_ids: tuple[str, ...]
    created: datetime
    force: bool = False
    aborted: bool = False
    devices: dict[str, DeviceDeployment] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``pending`` before the first poll, ``finished`` after the last end, ``inprogress`` in between."""
        open_ones = [one for one in self.device_ids if self.status_of(one) in ACTIVE]
        if not open_ones:
            return "finished"
        return "inprogress" if self.devices else "pending"

    def status_of(self, device_id: str) -> str:
        """How it stands on one device."""
        known = self.devices.get(device_id)
        if known is not None:
            return known.status
        return "aborted" if self.aborted else "pending"


class Deployments:
    """All deployments of the server, the oldest first.

    Args:
        artifacts: what can be deployed.
        now: the server's clock.
        emit: where events go.
    """

    def __init__(self, artifacts: Artifacts, now: Callable[[], datetime], emit: Emit) -> None:
        self._artifacts = artifacts
        self._now = now
        self._emit = emit
        self._deployments: dict[str, Deployment] = {}

    def __iter__(self) -> Iterator[Deployment]:
        return iter(tuple(self._deployments.values()))

    # What the operator decides

    def get(self, deployment_id: str) -> Deployment:
        """The deployment with this id or its only prefix.

        Raises:
            ServerError: 404, 409.
        """
        return find("deployment", self._deployments, deployment_id)

    def create(self, artifact_name: str, device_ids: tuple[str, ...], *, force: bool = False) -> Deployment:
        """Make a deployment.

        Raises:
            ServerError: 404 when there is no such Artifact, 400 without a device.
        """
        if not self._artifacts.named(artifact_name):
            raise ServerError(f"cannot deploy '{artifact_name}': upload an Artifact of this name first", status=404)
        if not device_ids:
            raise ServerError(f"cannot deploy '{artifact_name}': accept a device first", status=400)
        deployment = Deployment(str(uuid.uuid4()), artifact_name, device_ids, self._now(), force)
        self._deployments[deployment.id] = deployment
        self._emit("deployment", deployment_id=deployment.id, artifact_name=artifact_name, device_ids=list(device_ids))
        return deployment

    def abort(self, deployment_id: str) -> Deployment:
        """Stop a deployment: no device is offered it again, and every status of an unfinished one is refused."""
        deployment = self.get(deployment_id)
        deployment.aborted = True
        for known in deployment.devices.values():
            if known.status in ACTIVE:
                known.status = "aborted"
        self._emit("aborted", deployment_id=deployment.id)
        return deployment

    def decommission(self, device_id: str) -> None:
        """End what a decommissioned device was doing."""
        for deployment in self._deployments.values():
            if device_id in deployment.device_ids and deployment.status_of(device_id) in ACTIVE:
                deployment.devices.setdefault(device_id, DeviceDeployment(Poll("", ""))).status = "decommissioned"

    # What devices ask and say

    def next_for(self, device_id: str, poll: Poll) -> tuple[Deployment, Artifact] | None:
        """What this device is to install now; ``None`` for nothing.

        Raises:
            ServerError: 409 when the device says something else than at the first poll of this deployment, which
                also fails the deployment.
        """
        deployment = self._oldest_for(device_id)
        if deployment is None:
            return None
        known = deployment.devices.setdefault(device_id, DeviceDeployment(poll))
        if known.poll != poll:
            self._end(deployment, device_id, "failure")
            raise ServerError("Device provided conflicting request data", status=409)
        if poll.artifact_name == deployment.artifact_name and not deployment.force:
            self._end(deployment, device_id, "already-installed")
            return None
        named = self._artifacts.named(deployment.artifact_name)
        fitting = [one for one in named if poll.device_type in one.device_types]
        if not fitting:
            self._end(deployment, device_id, "noartifact")
            return None
        if not known.artifact_id:
            self._emit("offered", deployment_id=deployment.id, device_id=device_id)
        known.artifact_id, known.size_bytes = fitting[-1].id, fitting[-1].size_bytes
        return deployment, fitting[-1]

    def set_status(self, deployment_id: str, device_id: str, status: str) -> None:
        """Take a device's report.

        Raises:
            ServerError: 404 when the device was never offered this deployment, 409 when it is aborted.
        """
        known = self._known(deployment_id, device_id)
        if known is None:
            raise ServerError("Resource not found", status=404)
        if known.status in ("aborted", "decommissioned"):
            raise ServerError("Deployment aborted", status=409)
        known.received.append(status)
        known.status = status
        self._emit("status", deployment_id=deployment_id, device_id=device_id, status=status)

    def set_log(self, deployment_id: str, device_id: str, messages: list[dict[str, Any]]) -> None:
        """Keep a device's log; a second one replaces the first.

        Raises:
            ServerError: 404 when the device was never offered this deployment.
        """
        known = self._known(deployment_id, device_id)
        if known is None:
            raise ServerError("Deployment not found", status=404)
        known.log = messages
        self._emit("log", deployment_id=deployment_id, device_id=device_id, messages=len(messages))

    def note_download(self, first_byte: int, download: Exchange) -> None:
        """A device has begun to download, from this byte on; the exchange counts the bytes while they are sent."""
        deployment = self._oldest_for(download.device_id)
        if deployment is not None and download.device_id in deployment.devices:
            known = deployment.devices[download.device_id]
            known.first_byte, known.download = first_byte, download

    # The parts

    def _known(self, deployment_id: str, device_id: str) -> DeviceDeployment | None:
        deployment = self._deployments.get(deployment_id)
        return deployment.devices.get(device_id) if deployment else None

    def _oldest_for(self, device_id: str) -> Deployment | None:
        waiting = (
            one
            for one in self._deployments.values()
            if device_id in one.device_ids and one.status_of(device_id) in ACTIVE
        )
        return next(waiting, None)

    def _end(self, deployment: Deployment, device_id: str, status: str) -> None:
        deployment.devices[device_id].status = status
        self._emit("status", deployment_id=deployment.id, device_id=device_id, status=status, by="server")
