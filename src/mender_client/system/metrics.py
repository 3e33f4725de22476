"""The metrics of the client as a text file in the form of Prometheus, for node_exporter's textfile collector."""

from __future__ import annotations

from pathlib import Path

from mender_client.core.client_status import ClientStatus
from mender_client.core.metrics import render_metrics

from .statusfile import PublishedFile


class MetricsFile:
    """Keeps the metrics; see ``core.ports.Observer``. The collector runs as another user: everybody may read them.

    Args:
        path: the file; the collector wants its name to end with ``.prom``.
    """

    def __init__(self, path: Path) -> None:
        self._file = PublishedFile(path, mode=0o644)
        self._written = ""

    def noticed(self, client_status: ClientStatus) -> None:
        text = render_metrics(client_status)
        if text != self._written:
            self._written = text
            self._file.put(text.encode())

    def alive(self) -> None:
        """Nothing to write."""
