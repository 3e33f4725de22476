"""The state of the server: devices, Artifacts, deployments, storage, faults, activity log, and the clock.

This is plain synchronous code without sockets. A caller with several threads must hold ``ServerState.lock``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from mender_client.errors import ServerError
from mender_devserver.activity import ActivityLog
from mender_devserver.artifacts import Artifacts
from mender_devserver.configuration import Configurations
from mender_devserver.deployments import Deployment, Deployments
from mender_devserver.devices import Devices, KnownDevice
from mender_devserver.faults import Faults
from mender_devserver.ratelimit import RateLimit
from mender_devserver.storage import Storage


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(timezone.utc)


class ServerState:
    """The server's state, and the few rules that involve more than one part of it.

    Args:
        directory: where Artifacts are kept.
        clock: returns the current time.
    """

    def __init__(self, directory: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self.lock = threading.RLock()
        self.clock_offset_seconds = 0.0
        self.v2 = False
        self.rate_limit: RateLimit | None = None
        self.url = "http://server.invalid"
        self.storage_url = "http://storage.invalid"
        self.wake: Callable[[str], None] = lambda _: None
        """Tells a connected device to poll; can be called from any thread."""
        self._clock = clock
        self._windows: dict[str, tuple[datetime, int]] = {}
        self.activity = ActivityLog(self.now)
        self.faults = Faults(self.activity.emit)
        self.devices = Devices(self.now, self.activity.emit, self.activity.forget)
        self.artifacts = Artifacts(directory, self.activity.emit)
        self.deployments = Deployments(self.artifacts, self.now, self.activity.emit)
        self.storage = Storage(self.artifacts.exact, self.now)
        self.configurations = Configurations(self.deployments.exact, self.now)

    def now(self) -> datetime:
        """The time by the server's clock, which may deliberately be wrong."""
        return self._clock() + timedelta(seconds=self.clock_offset_seconds)

    def deploy(self, artifact_name: str, device_ids: list[str] | None = None, *, force: bool = False) -> Deployment:
        """Create a deployment for the given devices, or for all accepted ones.

        As on the real server, the existence of the given devices is not checked.

        Raises:
            ServerError: 404 for an unknown Artifact, 409 for an ambiguous id, 400 if no device is accepted.
        """
        if device_ids is None:
            chosen = tuple(one.id for one in self.devices if one.status == "accepted")
        else:
            chosen = tuple(self._full_id(one) for one in device_ids)
        return self.deployments.create(artifact_name, chosen, force=force)

    def _full_id(self, device_id: str) -> str:
        try:
            return self.devices.get(device_id).id
        except ServerError as error:
            if error.status != 404:
                raise
            return device_id

    def save_configuration(self, device_id: str, configuration: Mapping[str, Any]) -> KnownDevice:
        """Set the desired configuration of a device, without a deployment.

        Raises:
            ServerError: 404 for an unknown device, 400 for a value that isn't a string.
        """
        if not all(isinstance(value, str) for value in configuration.values()):
            raise ServerError("cannot save the configuration: each value must be a string", status=400)
        device = self.devices.get(device_id)
        device.configured = dict(configuration)
        return device

    def configure(self, device_id: str, configuration: Mapping[str, Any]) -> Deployment:
        """Deploy a configuration to a device.

        Raises:
            ServerError: 404 for an unknown device, 400 for a value that isn't a string.
        """
        device = self.save_configuration(device_id, configuration)
        deployment = self.deployments.configure(device.id, configuration)
        self.wake(device.id)
        return deployment

    def decommission(self, device_id: str) -> KnownDevice:
        """Remove a device and end its deployments."""
        device = self.devices.decommission(device_id)
        self.deployments.decommission(device.id)
        return device

    def seconds_to_wait(self, device_id: str) -> int:
        """Count one request of a device; return 0 if within the limit, otherwise the seconds for ``Retry-After``."""
        limit, now = self.rate_limit, self.now()
        if limit is None:
            return 0
        start, count = self._windows.get(device_id, (now, 0))
        over = (now - start).total_seconds()
        if not 0 <= over < limit.window_seconds:
            start, count, over = now, 0, 0.0
        self._windows[device_id] = (start, count + 1)
        return max(1, round(limit.window_seconds - over)) if count >= limit.requests else 0
