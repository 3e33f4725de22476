"""Detects a wrong clock of the device, with which a valid certificate seems to have expired or not to be valid yet.

No check is relaxed because of this: it only explains an error, and tells when a retry makes sense.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mender_client.dataclass import dataclass

TOLERANCE = timedelta(minutes=5)
"""Smaller differences are normal: clocks are adjusted a little, and replies take time."""

LONGEST_LIFE = timedelta(days=30 * 365)
"""A clock that is further ahead of the release date of this version is wrong."""

MOVED_SECONDS = 5.0
"""A wall clock that deviates from the elapsed time by more than this has been set."""

FIRST_LOOK_SECONDS = 2.0
LONGEST_LOOK_SECONDS = 60.0


@dataclass(frozen=True)
class ClockEvidence:
    """What is known about the time independently of the clock; all aware and in UTC.

    Attributes:
        released: the release date of this version.
        newest_file: the time stamp of the newest file that the client wrote.
        server: the current time according to a server.
    """

    released: datetime
    newest_file: datetime | None = None
    server: datetime | None = None


def find_clock_problem(now: datetime, evidence: ClockEvidence) -> str:
    """Why the clock must be wrong, as a clause that starts with "it shows"; empty when it may be right."""
    shown = f"it shows {now:%Y-%m-%d %H:%M} UTC, but "
    if now < evidence.released - timedelta(days=1):
        return f"{shown}this version was released on {evidence.released:%Y-%m-%d}"
    if evidence.newest_file is not None and now < evidence.newest_file - TOLERANCE:
        return f"{shown}the client wrote a file at {evidence.newest_file:%Y-%m-%d %H:%M} UTC"
    if evidence.server is not None and abs(now - evidence.server) > TOLERANCE:
        return f"{shown}the server says that it is {evidence.server:%Y-%m-%d %H:%M} UTC"
    if now > evidence.released + LONGEST_LIFE:
        return f"{shown}this version was released on {evidence.released:%Y-%m-%d}, too long before"
    return ""


@dataclass(frozen=True)
class ClockLook:
    """Both clocks at one moment, and how long to wait before looking again.

    Attributes:
        now: the wall clock.
        monotonic: the monotonic clock, in seconds.
        wait_seconds: the time until the next look.
    """

    now: datetime
    monotonic: float
    wait_seconds: float = FIRST_LOOK_SECONDS

    def has_been_set(self, now: datetime, monotonic: float) -> bool:
        """Whether the wall clock has been set since."""
        return abs((now - self.now).total_seconds() - (monotonic - self.monotonic)) > MOVED_SECONDS

    def later(self) -> ClockLook:
        """The same moment with twice the wait, up to a minute."""
        return ClockLook(self.now, self.monotonic, min(self.wait_seconds * 2, LONGEST_LOOK_SECONDS))
