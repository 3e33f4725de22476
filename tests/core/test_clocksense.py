"""When a clock is evidently wrong."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

import mender_client
from mender_client.core.clocksense import LONGEST_LOOK_SECONDS, ClockEvidence, ClockLook, find_clock_problem

MADE = datetime(2026, 11, 20, tzinfo=timezone.utc)
LATER = MADE + timedelta(days=100)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def test_release_date() -> None:
    """The release date of this version isn't in the future, so a correct clock is never doubted because of it."""
    assert date.fromisoformat(mender_client.RELEASED) <= datetime.now(timezone.utc).date()


RIGHT = {
    "without other evidence": (LATER, ClockEvidence(MADE)),
    "on the day before the release": (MADE - DAY, ClockEvidence(MADE)),
    "a little before the newest file": (LATER, ClockEvidence(MADE, newest_file=LATER + 4 * MINUTE)),
    "long after the newest file": (LATER, ClockEvidence(MADE, newest_file=MADE)),
    "with the server": (LATER, ClockEvidence(MADE, server=LATER - 4 * MINUTE)),
}
WRONG = {
    "not set": (
        datetime(1970, 1, 1, tzinfo=timezone.utc),
        ClockEvidence(MADE),
        "it shows 1970-01-01 00:00 UTC, but this version was released on 2026-11-20",
    ),
    "before the newest file": (
        LATER,
        ClockEvidence(MADE, newest_file=LATER + 6 * MINUTE),
        "it shows 2027-02-28 00:00 UTC, but the client wrote a file at 2027-02-28 00:06 UTC",
    ),
    "behind the server": (
        LATER,
        ClockEvidence(MADE, server=LATER + DAY),
        "it shows 2027-02-28 00:00 UTC, but the server says that it is 2027-03-01 00:00 UTC",
    ),
    "ahead of the server": (
        LATER,
        ClockEvidence(MADE, newest_file=MADE, server=LATER - DAY),
        "it shows 2027-02-28 00:00 UTC, but the server says that it is 2027-02-27 00:00 UTC",
    ),
    "of another age": (
        datetime(2099, 1, 1, tzinfo=timezone.utc),
        ClockEvidence(MADE),
        "it shows 2099-01-01 00:00 UTC, but this version was released on 2026-11-20, too long before",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str) -> None:
    """A clock is not doubted without evidence."""
    assert "" == find_clock_problem(*RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    """If the clock contradicts the release date, a file or the server, the message gives both times."""
    now, evidence, said = WRONG[name]
    assert said == find_clock_problem(now, evidence)


@pytest.mark.parametrize(
    ("shown", "passed", "is_set"),
    [(60.0, 60.0, False), (62.0, 60.0, False), (66.0, 60.0, True), (-60.0, 60.0, True), (1e9, 60.0, True)],
)
def test_set(shown: float, passed: float, *, is_set: bool) -> None:
    """The clock has been set if it advanced by anything but the time that elapsed."""
    assert is_set == ClockLook(MADE, 100.0).has_been_set(MADE + timedelta(seconds=shown), 100.0 + passed)


def test_patience_grows() -> None:
    """The clock is checked after two seconds at first, then at doubling intervals of up to a minute."""
    look, waits = ClockLook(MADE, 0.0), []
    for _ in range(7):
        waits.append(look.wait_seconds)
        look = look.later()
    assert [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_LOOK_SECONDS, LONGEST_LOOK_SECONDS] == waits
