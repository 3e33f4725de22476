"""Collects the evidence for or against the device's clock; ``core.clocksense`` judges it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mender_client.core.clocksense import ClockEvidence, find_clock_problem

from .clock import EARLIEST_PLAUSIBLE_TIME


class ClockCheck:
    """Knows when this program was released, when it wrote its files, and what time the server has.

    Args:
        files: files that the client writes; it can't be earlier than the time of the newest.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self._files = tuple(files)
        self._heard = ""
        self._heard_at = 0.0

    def heard(self, date: str) -> None:
        """Note the ``Date`` header of a verified server; it is read only when the time is in doubt."""
        self._heard = date
        self._heard_at = _elapsed()

    def clock_problem(self, *, unverified: datetime | None = None) -> str:
        """Why the device's clock is evidently wrong; empty when nothing indicates that.

        Args:
            unverified: the time of a server that was not verified; used only without the time of a verified one.
        """
        evidence = ClockEvidence(EARLIEST_PLAUSIBLE_TIME, self._newest_file(), self.server_time() or unverified)
        return find_clock_problem(datetime.now(timezone.utc), evidence)

    def _newest_file(self) -> datetime | None:
        times = []
        for file in self._files:
            try:
                times.append(os.stat(file, follow_symlinks=False).st_mtime)
            except OSError:
                continue
        try:
            return datetime.fromtimestamp(max(times), timezone.utc) if times else None
        except (OverflowError, ValueError, OSError):
            return None  # a broken file system has times that no calendar has

    def server_time(self) -> datetime | None:
        """The time by the clock of a verified server; None when none has been heard."""
        if not self._heard:
            return None
        said = parse_date(self._heard)
        return None if said is None else said + timedelta(seconds=_elapsed() - self._heard_at)


def _elapsed() -> float:
    """Seconds that go forward also while the device is suspended: what a server told before goes on counting."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def parse_date(text: str) -> datetime | None:
    """The time of a ``Date`` header; None when it is none that can be compared."""
    from email.utils import parsedate_to_datetime

    try:
        said = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return said if said.tzinfo is not None and 1990 <= said.year <= 2200 else None
