"""The client's metrics as a text file in Prometheus format, for node_exporter's textfile collector."""

from __future__ import annotations

from pathlib import Path

from mender_client.core.client_status import ClientStatus
from mender_client.core.metrics import render_metrics

from .statusfile import PublishedFile


class MetricsFile:
    """Keeps the metrics; see ``core.ports.Observer``. The file is world-readable: the collector is another user.

    Args:
        path: the file; the collector expects its name to end with ``.prom``.
    """

    def __init__(self, path: Path) -> None:
        self._file = PublishedFile(path, mode=0o644)

    def noticed(self, client_status: ClientStatus) -> None:
        self._file.put(render_metrics(client_status).encode())

    def alive(self) -> None:
        """Do nothing."""
