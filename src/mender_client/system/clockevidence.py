"""Gathers what speaks for or against the device's clock; the rule is in ``core.clocksense``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mender_client.core.clocksense import ClockEvidence, find_clock_problem

from .clock import EARLIEST_PLAUSIBLE_TIME


class ClockCheck:
    """Knows when this program was made, what it wrote last, and what time the server had.

    Args:
        files: files that the client writes; those that are there say how late it must be at least.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self._files = tuple(files)
        self._heard = ""
        self._heard_at = 0.0

    def heard(self, date: str) -> None:
        """Note the ``Date`` header of an answer; read only when the time is in doubt.

        Args:
            date: the header's text, from a server that was verified to be the right one.
        """
        self._heard = date
        self._heard_at = time.monotonic()

    def clock_problem(self, *, unverified: datetime | None = None) -> str:
        """Why the device's clock is evidently wrong; empty when nothing speaks against it.

        Args:
            unverified: what a server says the time is that was not verified to be the right one; counts only where
                no verified one was heard.
        """
        evidence = ClockEvidence(EARLIEST_PLAUSIBLE_TIME, self._newest_file(), self._server_time() or unverified)
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

    def _server_time(self) -> datetime | None:
        if not self._heard:
            return None
        said = parse_date(self._heard)
        return None if said is None else said + timedelta(seconds=time.monotonic() - self._heard_at)


def parse_date(text: str) -> datetime | None:
    """The time of a ``Date`` header; None when it is none that can be compared."""
    from email.utils import parsedate_to_datetime

    try:
        said = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return said if said.tzinfo is not None and 1990 <= said.year <= 2200 else None
