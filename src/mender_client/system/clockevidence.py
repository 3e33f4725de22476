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
    """Compares the clock with the release date, the times of the client's files and the time of the server.

    Args:
        files: files that the client writes; the time can't be earlier than that of the newest one.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self._files = tuple(files)
        self._heard = ""
        self._heard_at = 0.0

    def heard(self, date: str) -> None:
        """Note the ``Date`` header of a verified server; it is parsed only when needed."""
        self._heard = date
        self._heard_at = _elapsed()

    def clock_problem(self, *, unverified: datetime | None = None) -> str:
        """Why the device's clock is evidently wrong; empty if nothing indicates that.

        Args:
            unverified: the time of an unverified server; used only if the time of a verified one is unknown.
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
            return None  # a damaged file system may have timestamps out of range

    def server_time(self) -> datetime | None:
        """The current time by the clock of a verified server; None if unknown."""
        if not self._heard:
            return None
        said = parse_date(self._heard)
        return None if said is None else said + timedelta(seconds=_elapsed() - self._heard_at)


def _elapsed() -> float:
    """Monotonic seconds that include suspend, so that the time of the server remains correct after it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def parse_date(text: str) -> datetime | None:
    """The time in a ``Date`` header; None if it is invalid, has no time zone or is implausible."""
    from email.utils import parsedate_to_datetime

    try:
        said = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return said if said.tzinfo is not None and 1990 <= said.year <= 2200 else None
