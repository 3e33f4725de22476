"""Time windows, and the effect of clock changes on them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise, repeat
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.windows import DAYS, Window, WindowState, look, parse_window

MINUTE = timedelta(minutes=1)
DAY = 24 * 60
BERLIN = ZoneInfo("Europe/Berlin")

WRITTEN = {
    "22:00-05:00": ({0, 1, 2, 3, 4, 5, 6}, 22 * 60, 29 * 60, ""),
    "Mon-Fri 22:00-05:00 Europe/Berlin": ({0, 1, 2, 3, 4}, 22 * 60, 29 * 60, "Europe/Berlin"),
    "Sat-Sun": ({5, 6}, 0, 24 * 60, ""),
    "sat,SUN 08:00-24:00 UTC": ({5, 6}, 8 * 60, 24 * 60, "UTC"),
    "Fri-Mon": ({4, 5, 6, 0}, 0, 24 * 60, ""),
    "Mon-Tue,Thu 00:00-00:01": ({0, 1, 3}, 0, 1, ""),
    "Mon-Sun": ({0, 1, 2, 3, 4, 5, 6}, 0, 24 * 60, ""),
    "Wed  America/Argentina/Buenos_Aires": ({2}, 0, 24 * 60, "America/Argentina/Buenos_Aires"),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_can_be_written(text: str) -> None:
    """A window has days, times and a time zone; the hours after midnight belong to the day on which it opens."""
    days, start, end, zone = WRITTEN[text]
    assert Window(text, frozenset(days), start, end, zone) == parse_window(text)


WRONG = {
    "": "must contain no empty window",
    "Mo 22:00-05:00": "must have days such as Mon-Fri or Sat,Sun in place of 'Mo' in 'Mo 22:00-05:00'",
    "Mon- 22:00-05:00": "must have days such as Mon-Fri or Sat,Sun in place of 'Mon-' in 'Mon- 22:00-05:00'",
    "Europe/Berlin": "must have days such as Mon-Fri or Sat,Sun in place of 'Europe/Berlin' in 'Europe/Berlin'",
    "22-5": "must have times such as 22:00-05:00 in place of '22-5' in '22-5'",
    "Mon 22:00-25:00": "must have times such as 22:00-05:00 in place of '22:00-25:00' in 'Mon 22:00-25:00'",
    "24:00-05:00": "must have times such as 22:00-05:00 in place of '24:00-05:00' in '24:00-05:00'",
    "05:60-06:00": "must have times such as 22:00-05:00 in place of '05:60-06:00' in '05:60-06:00'",
    "05:00-05:00": "must have two different times in '05:00-05:00', or none for whole days: it never opens",
    "Mon 05:00-06:00 CET x": "must have a time zone such as Europe/Berlin, and nothing else, at the end of "
    "'Mon 05:00-06:00 CET x'",
    "Mon ../etc": "must have a time zone such as Europe/Berlin, and nothing else, at the end of 'Mon ../etc'",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot(text: str) -> None:
    """The message names the error and shows the correct syntax."""
    with pytest.raises(ValueError, match=f"^{re.escape(WRONG[text])}$"):
        parse_window(text)


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def seen(window: str, now: str) -> tuple[bool, str]:
    """Whether a window in Berlin is open, and when that changes, in UTC."""
    state = look([parse_window(window)], lambda _: BERLIN, at(now))
    return state.is_open, "never" if state.changes_at is None else f"{state.changes_at:%Y-%m-%d %H:%M}"


SEEN = {
    "before": ("Mon-Fri 22:00-05:00", "2026-11-27 20:59", (False, "2026-11-27 21:00")),
    "begins": ("Mon-Fri 22:00-05:00", "2026-11-27 21:00", (True, "2026-11-28 04:00")),
    "over midnight, on a day that is not listed": (
        "Mon-Fri 22:00-05:00", "2026-11-28 03:59", (True, "2026-11-28 04:00")
    ),
    "ends": ("Mon-Fri 22:00-05:00", "2026-11-28 04:00", (False, "2026-11-30 21:00")),
    "whole days that follow each other": ("Sat-Sun", "2026-11-28 12:00", (True, "2026-11-29 23:00")),
    "always": ("Mon-Sun", "2026-11-28 12:00", (True, "never")),
    "the night without 02:30: it begins when the clock is put forward": (
        "02:30-04:00", "2026-03-29 00:59", (False, "2026-03-29 01:00")
    ),
    "the night without 02:30: it ends when the clock is put forward": (
        "01:00-02:30", "2026-03-29 00:59", (True, "2026-03-29 01:00")
    ),
    "the night without it": ("Sun 02:10-02:50", "2026-03-29 00:00", (False, "2026-04-05 00:10")),
    "02:30 comes twice: it begins with the first": ("02:30-04:00", "2026-10-25 00:29", (False, "2026-10-25 00:30")),
    "02:30 comes twice: it ends with the first": ("01:00-02:30", "2026-10-25 00:29", (True, "2026-10-25 00:30")),
    "02:30 comes twice: it stays closed": ("01:00-02:30", "2026-10-25 01:15", (False, "2026-10-26 00:00")),
    "a longer night": ("22:00-05:00", "2026-10-24 20:00", (True, "2026-10-25 04:00")),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_open_and_closed(name: str) -> None:
    """A window is open from its first to its last time, by local time, and tells when that changes."""
    window, now, expected = SEEN[name]
    assert expected == seen(window, now)


def test_several_windows() -> None:
    """Of several windows, each in its own time zone, one open window is enough; adjacent windows form a single one."""
    windows = [parse_window(text) for text in ("08:00-10:00 Europe/Berlin", "09:00-11:00 UTC", "11:00-12:00 UTC")]
    assert WindowState(True, at("2026-11-28 12:00")) == look(windows, ZoneInfo, at("2026-11-28 08:30"))


def test_a_day_that_the_calendar_skipped() -> None:
    """A window that would end on a day that the time zone skipped ends when the clock jumps."""
    windows = [parse_window("Thu 22:00-12:00 Pacific/Apia")]
    assert WindowState(True, at("2011-12-30 10:00")) == look(windows, ZoneInfo, at("2011-12-30 09:00"))
    assert WindowState(False, at("2012-01-05 08:00")) == look(windows, ZoneInfo, at("2011-12-30 10:00"))


# -- a year, minute by minute -------------------------------------------------------------------------------------


EPOCH = datetime(2001, 1, 1)
"""A Monday."""
QUARTER = 15
"""In minutes. Clocks are changed only at a quarter of an hour in UTC, which ``wall_clock`` checks."""


def wall_clock(zone: ZoneInfo, begin: datetime, minutes: int) -> Iterator[int]:
    """The local time, in minutes since ``EPOCH``, of a clock that stops instead of being put back."""
    shown, lead = -1, begin.minute % QUARTER
    for number in range(-lead, minutes, QUARTER):
        quarter = begin + number * MINUTE, begin + (number + QUARTER - 1) * MINUTE
        first, last = ((one.astimezone(zone).replace(tzinfo=None) - EPOCH) // MINUTE for one in quarter)
        assert first + QUARTER - 1 == last, quarter
        here = range(first, last + 1)[max(-number, 0) : minutes - number]
        yield from here if first > shown else (max(shown, minute) for minute in here)
        shown = max(shown, here[-1])


def week_of(windows: Sequence[Window]) -> list[bool]:
    """For each minute of a week whether that clock shows a time within a window; uses nothing but a calendar."""
    return [
        any(
            (minute // DAY in one.days and one.start <= minute % DAY < one.end)
            or ((minute // DAY - 1) % 7 in one.days and minute % DAY < one.end - DAY)
            for one in windows
        )
        for minute in range(7 * DAY)
    ]


def foretold(windows: Sequence[Window], zone: ZoneInfo, begin: datetime, minutes: int) -> Iterator[WindowState]:
    """The predicted state of each minute, from a new query only at each change."""
    state, number = look(windows, lambda _: zone, begin), 0
    while True:
        end = minutes if state.changes_at is None else min(minutes, (state.changes_at - begin) // MINUTE)
        yield from repeat(state, end - number)
        if end == minutes or state.changes_at is None:
            return
        assert begin + number * MINUTE < state.changes_at == begin + end * MINUTE
        before, state, number = state, look(windows, lambda _: zone, state.changes_at), end
        assert before.is_open is not state.is_open, state


def walk(texts: Sequence[str], zone: ZoneInfo, begin: datetime, minutes: int, *, step: int) -> int:
    """Compare each minute with the prediction, and query anew every ``step`` minutes; returns the number of changes."""
    windows = [parse_window(text) for text in texts]
    states = list(foretold(windows, zone, begin, minutes))
    week = week_of(windows)
    wall = [week[shown % len(week)] for shown in wall_clock(zone, begin, minutes)]
    told = [state.is_open for state in states]
    if wall != told:
        wrong = [number for number in range(minutes) if wall[number] is not told[number]]
        pytest.fail(f"{len(wrong)} minutes are wrong; the first is {begin + wrong[0] * MINUTE}")
    for number in range(0, minutes, step):
        assert states[number] == look(windows, lambda _: zone, begin + number * MINUTE)
    return sum(before is not after for before, after in pairwise(states))


YEAR = 365 * 24 * 60
YEARS = {
    "Europe/Berlin": ["Mon-Fri 22:00-05:00", "Sat,Sun 02:30-02:45", "Sun 12:00-24:00"],
    "America/New_York": ["Fri-Mon 01:15-02:15", "Wed", "02:45-03:30"],
    "Australia/Lord_Howe": ["01:50-02:20", "Sun 02:05-01:40", "Tue-Thu 23:59-00:01"],
}


@pytest.mark.parametrize(
    "zone",
    ["Australia/Lord_Howe", *(pytest.param(zone, marks=pytest.mark.nightly) for zone in YEARS if "Lord" not in zone)],
)
def test_a_year_minute_by_minute(zone: str) -> None:
    """In every minute of a year, both clock changes included, the prediction agrees with the local time."""
    assert walk(YEARS[zone], ZoneInfo(zone), at("2026-01-01 00:00"), YEAR, step=1999) > 700


CHANGES = {
    "Europe/Berlin": ["2026-03-29 01:00", "2026-10-25 01:00"],
    "America/New_York": ["2026-03-08 07:00", "2026-11-01 06:00"],
    "Australia/Lord_Howe": ["2026-10-03 15:30", "2026-04-04 15:00"],
    "America/Havana": ["2026-03-08 05:00", "2026-11-01 05:00"],
    "Pacific/Apia": ["2011-12-30 10:00"],
}
"""When clocks are put forward or back: by an hour, by half an hour, at midnight, over a day."""


def _random_windows(random: random.Random) -> list[str]:
    def time(most: int) -> str:
        hour = random.choice((0, 1, 1, 2, 2, 3, random.randint(0, 23)))
        return (
            f"{hour:02}:{random.choice((0, 15, 30, random.randint(0, 59))):02}"
            if random.random() < 0.9 or most
            else "24:00"
        )

    texts = []
    for _ in range(random.randint(1, 3)):
        first, last = time(1), time(0)
        days = ",".join(random.sample(DAYS, random.randint(1, 7)))
        texts.append(f"{days} {first}-{last}" if first != last else days)
    return texts


def search(seed: int, *, rounds: int) -> None:
    """Check random windows on the days around clock changes."""
    chance = random.Random(seed)
    for _ in range(rounds):
        name = chance.choice([*CHANGES])
        middle = at(chance.choice(CHANGES[name]))
        texts = _random_windows(chance)
        begin = middle - chance.randint(1, 2000) * MINUTE
        walk(texts, ZoneInfo(name), begin, 4000, step=chance.randint(11, 97))


def test_random_windows_around_the_changes() -> None:
    """Whatever the windows and the clock changes, the prediction agrees with the local time."""
    search(17, rounds=15)


@pytest.mark.nightly
def test_many_random_windows_around_the_changes() -> None:
    """The same with many more windows."""
    search(18, rounds=1500)


@given(st.text(alphabet="MonTueSat0123456789:-, /UTC", max_size=24))
def test_any_text(text: str) -> None:
    """Any text is a window that opens sooner or later, or an error."""
    try:
        window = parse_window(text)
    except ValueError:
        return
    state = look([window], lambda _: BERLIN, at("2026-11-28 12:00"))
    assert state.is_open or state.changes_at is not None
