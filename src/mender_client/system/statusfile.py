"""Files that are published for others to read: the client status as JSON, and the metrics.

Nothing depends on such a file. So it is written without fsync, which reduces flash wear, and a failure to write it
doesn't stop the client.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from mender_client.core.client_status import ClientStatus
from mender_client.core.text import ROUTINE
from mender_client.dataclass import asdict
from mender_client.errors import StorageError

from .files import write_atomic

_logger = logging.getLogger(__name__)

ROUTINE_SECONDS = 60.0
"""The shortest time between two writes of routine changes."""


class PublishedFile:
    """A file that others read; it is replaced atomically, and written by one process only."""

    def __init__(self, path: Path, *, mode: int) -> None:
        self._path = path
        self._mode = mode
        self._failure = ""
        self._written: int | None = None  # only a hash, since there may be many files

    def put(self, data: bytes) -> None:
        """Replace the content, unless it is what was written last; a failure is logged once."""
        if hash(data) == self._written:
            return
        try:
            write_atomic(self._path, data, mode=self._mode, is_durable=False)
        except StorageError as error:
            failure = str(error)
            level = logging.WARNING if failure != self._failure else logging.DEBUG
            _logger.log(level, "%s", failure, extra=ROUTINE)  # it doesn't concern a deployment
            self._failure = failure
        else:
            self._failure, self._written = "", hash(data)


class StatusFile:
    """Keeps the client status for the ``status`` command; see ``core.ports.Observer``.

    News is written immediately. Routine changes are written at most once per ``routine_seconds``.

    Args:
        path: the file.
        monotonic: the clock.
        routine_seconds: the shortest time between two writes of routine changes.
        indent: as for ``JsonJournal``.
    """

    def __init__(
        self,
        path: Path,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        routine_seconds: float = ROUTINE_SECONDS,
        indent: int | None = 1,
    ) -> None:
        self._indent = indent
        self._file = PublishedFile(path, mode=0o600)
        self._routine_seconds = routine_seconds
        self._monotonic = monotonic
        self._news: int | None = None  # only a hash, as there may be many clients
        self._written_at = 0.0

    def noticed(self, client_status: ClientStatus) -> None:
        now, news = self._monotonic(), hash(client_status.news)
        if news == self._news and now - self._written_at < self._routine_seconds:
            return
        self._news, self._written_at = news, now
        self._file.put(json.dumps(asdict(client_status), indent=self._indent).encode() + b"\n")

    def alive(self) -> None:
        """Do nothing."""
