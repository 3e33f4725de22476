"""Is this device's clock right? A certificate that seems out of date may only look so from a wrong time.

A verdict never loosens a check. It names the cause, and lets the client look at the clock instead of asking the
server again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)
"""A smaller difference is no evidence: clocks are set back a little, and answers take their time."""

LONGEST_LIFE = timedelta(days=30 * 365)
"""A clock that is so far behind the making of this program counts from the wrong beginning."""

MOVED_SECONDS = 5.0
"""A clock that has gone so much more or less than the time that passed was set."""

FIRST_LOOK_SECONDS = 2.0
LONGEST_LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ClockEvidence:
    """What is known about the time without asking the clock; all aware and in UTC.

    Attributes:
        released: when this version was made.
        newest_file: the newest time of a file that the client has written.
        server: what the time is now by the word of a server.
    """

    released: datetime
    newest_file: datetime | None = None
    server: datetime | None = None


def find_clock_problem(now: datetime, evidence: ClockEvidence) -> str:
    """Why the clock is evidently wrong, as words behind "it shows"; empty when nothing speaks against it.

    Args:
        now: what the clock shows.
        evidence: what is known besides.
    """
    shown = f"it shows {now:%Y-%m-%d %H:%M} UTC, but "
    if now < evidence.released - timedelta(days=1):
        return f"{shown}this program was made on {evidence.released:%Y-%m-%d}"
    if evidence.newest_file is not None and now < evidence.newest_file - TOLERANCE:
        return f"{shown}the client wrote a file at {evidence.newest_file:%Y-%m-%d %H:%M} UTC"
    if evidence.server is not None and abs(now - evidence.server) > TOLERANCE:
        return f"{shown}the server says that it is {evidence.server:%Y-%m-%d %H:%M} UTC"
    if now > evidence.released + LONGEST_LIFE:
        return f"{shown}this program was made on {evidence.released:%Y-%m-%d}, and nothing lasts that long"
    return ""


@dataclass(frozen=True, slots=True)
class ClockLook:
    """A look at both clocks, and how long to wait until the next one.

    Attributes:
        now: what the wall clock showed.
        monotonic: the seconds that only go forward, at the same moment.
        wait_seconds: until the next look.
    """

    now: datetime
    monotonic: float
    wait_seconds: float = FIRST_LOOK_SECONDS

    def has_been_set(self, now: datetime, monotonic: float) -> bool:
        """Whether somebody has set the wall clock since."""
        return abs((now - self.now).total_seconds() - (monotonic - self.monotonic)) > MOVED_SECONDS

    def later(self) -> ClockLook:
        """The same look with a longer patience, up to a minute."""
        return ClockLook(self.now, self.monotonic, min(self.wait_seconds * 2, LONGEST_LOOK_SECONDS))
