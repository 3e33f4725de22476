"""The progress and cost of a download, and who is notified."""

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
"""How often the log says how far a download is; one that is shorter leaves no such line."""
_NOTE_BYTES = 256 * 1024
"""How often it is stored how much of an adaptive download has come."""
_SPACE_CHECK_BYTES = 4 * 1024 * 1024
"""How often the free space is checked where the storage doesn't say how much will come."""


@dataclass(eq=False, repr=False)
class DownloadCost:
    """What the download of a deployment has cost since the client started, in bytes.

    Attributes:
        deployment_id: which deployment.
        received: what came over the network.
        kept: what was on disk already.
        reused: what did not have to come, since the device had its content.
        noted: what of ``received`` is stored already.
        total: the size of the Artifact; as much of it as has come at once if it isn't known.
    """

    deployment_id: str = ""
    received: int = 0
    kept: int = 0
    reused: int = 0
    noted: int = 0
    total: int = 0

    def of(self, deployment_id: str) -> Mapping[str, int]:
        """What is not stored yet of the cost of a deployment; arguments of ``Update.fetched``."""
        if deployment_id != self.deployment_id:
            return {"received": 0, "kept": 0, "reused": 0}
        return {"received": self.received - self.noted, "kept": self.kept, "reused": self.reused}


@dataclass(kw_only=True, eq=False, repr=False)
class StreamProgress:
    """Follows one stream.

    Attributes:
        shown: shows the progress to people.
        note: stores, for a client that is killed, how much of an adaptive download has come, and how far it is.
        has_gap: whether the stream has passed over bytes, so that what comes is not where it is found after a restart.
        check_space: makes sure that there is room for more; None where nothing is stored.
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
        """A piece has come."""
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
            self._noted_at = progress.fetched  # that much is on disk, where it is found after a restart
        elif progress.fetched - self._noted_at >= _NOTE_BYTES:
            received = progress.fetched - self._noted_at
            self.cost.noted += received
            self.note(received, progress.done)
            self._noted_at = progress.fetched


class ProgressLog:
    """A log line every half a minute: how far the download is, and how fast since the last one."""

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
