"""Tracks the progress and the cost of downloads, and notifies observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.text import ROUTINE, amount
from mender_client.dataclass import dataclass

from .status_tracker import StatusTracker
from .stream import Progress

if TYPE_CHECKING:
    from mender_client.core.ports import Clock

_logger = logging.getLogger(__name__)
_PROGRESS_SECONDS = 30.0
"""The interval between log lines about the progress of a download; a shorter download logs none."""
_NOTE_BYTES = 256 * 1024
"""How often the amount received in an adaptive download is stored."""
_SPACE_CHECK_BYTES = 4 * 1024 * 1024
"""How often the free space is checked if the storage doesn't announce the size."""


@dataclass(eq=False, repr=False)
class DownloadCost:
    """The cost of a deployment's download since the client started, in bytes.

    Attributes:
        deployment_id: the deployment.
        received: received over the network.
        kept: already on disk before.
        reused: not downloaded, because the device already had the content.
        noted: the part of ``received`` that is already stored.
        total: the size of the Artifact or, if it isn't known, the furthest offset reached.
    """

    deployment_id: str = ""
    received: int = 0
    kept: int = 0
    reused: int = 0
    noted: int = 0
    total: int = 0

    def of(self, deployment_id: str) -> Mapping[str, int]:
        """The cost of a deployment that is not stored yet, as arguments of ``Update.fetched``."""
        if deployment_id != self.deployment_id:
            return {"received": 0, "kept": 0, "reused": 0}
        return {"received": self.received - self.noted, "kept": self.kept, "reused": self.reused}


@dataclass(kw_only=True, eq=False, repr=False)
class StreamProgress:
    """Tracks the progress of one stream.

    Attributes:
        shown: displays the progress.
        note: stores the bytes received and the offset of an adaptive download, in case the client is killed.
        has_gap: whether the stream has skipped bytes, so that later bytes are not found on disk after a restart.
        check_space: checks that there is space for more; None if nothing is stored.
    """

    cost: DownloadCost
    tracker: StatusTracker
    shown: Callable[[Progress], None]
    note: Callable[[int, int], None]
    has_gap: Callable[[], bool]
    check_space: Callable[[], None] | None

    def __post_init__(self) -> None:
        self._received_before = self.cost.received
        self._checked_at = self._noted_at = 0

    def __call__(self, progress: Progress) -> None:
        """Note a received piece."""
        self._check_space(progress)
        self.cost.received = self._received_before + progress.fetched
        self.cost.reused = progress.reused
        self.cost.total = progress.total or max(self.cost.total, progress.done)
        self._note(progress)
        self.cost.kept = max(0, progress.kept - self._received_before)  # the rest came since the client started
        self.tracker.downloaded(progress)
        self.shown(progress)

    def _check_space(self, progress: Progress) -> None:
        if self.check_space is None or progress.total is not None:
            return
        if progress.done - self._checked_at >= _SPACE_CHECK_BYTES:
            self.check_space()
            self._checked_at = progress.done

    def _note(self, progress: Progress) -> None:
        if not self.has_gap():
            self._noted_at = progress.fetched  # that much is found on disk after a restart
        elif progress.fetched - self._noted_at >= _NOTE_BYTES:
            received = progress.fetched - self._noted_at
            self.cost.noted += received
            self.note(received, progress.done)
            self._noted_at = progress.fetched


class ProgressLog:
    """Logs every 30 seconds how far the download is, and its rate since the last line."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()
        self._done: int | None = None

    def __call__(self, progress: Progress) -> None:
        if self._done is None:
            self._done = progress.kept  # that much was on disk
        seconds = self._clock.monotonic() - self._at
        if seconds < _PROGRESS_SECONDS:
            return
        done, total = progress.done, progress.total
        rate = amount(max(0, done - self._done) / seconds)
        of = f" of {amount(total)} ({100 * done // total} %)" if total else ""
        _logger.info("download: %s%s, %s/s", amount(done), of, rate, extra=ROUTINE)
        self._at, self._done = self._at + seconds, done
