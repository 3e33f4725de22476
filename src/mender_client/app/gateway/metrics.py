"""The metrics of all devices of a gateway in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mender_client.core.metrics import render_metrics_of
from mender_client.system.statusfile import PublishedFile

from .device import GatewayDevice

EVERY_SECONDS = 60.0
"""The minimum time between two writes: for a thousand devices, the file has several megabytes."""


class DevicesMetrics:
    """Writes the metrics file.

    Args:
        path: the path of the file.
        monotonic: a monotonic clock, in seconds.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        self._file = PublishedFile(path, mode=0o644)
        self._monotonic = monotonic
        self._written_at: float | None = None

    def put(self, devices: Mapping[str, GatewayDevice]) -> None:
        """Write the file, unless it was written less than ``EVERY_SECONDS`` ago."""
        now = self._monotonic()
        if self._written_at is None or now - self._written_at >= EVERY_SECONDS:
            self._written_at = now
            text = render_metrics_of({name: device.client_status for name, device in devices.items()})
            self._file.put(text.encode())
