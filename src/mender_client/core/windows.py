"""Time windows, such as ``Mon-Fri 22:00-05:00 Europe/Berlin``: whether one is open, and when that changes.

A window begins and ends at local times. If a local time occurs twice, the first occurrence counts; if a local time is
skipped because clocks go forward, the moment of the change counts. So consecutive windows neither overlap nor leave a
gap.

Time zones are passed as ``tzinfo``: looking them up is left to the device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, time, timedelta, timezone, tzinfo

from mender_client.dataclass import dataclass

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = 24 * 60
_DAYS_AHEAD = 17
"""How many days to look ahead: a window that is skipped because clocks go forward opens a week later, and closes before
these days are over."""

_DAY_NAME = f"(?:{'|'.join(DAYS)})"
_DAY_LIST = re.compile(rf"{_DAY_NAME}(?:-{_DAY_NAME})?(?:,{_DAY_NAME}(?:-{_DAY_NAME})?)*", re.IGNORECASE)
_TIMES = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")

ZoneOf = Callable[[str], tzinfo]
"""Looks up a time zone by its name; the empty name means the time zone of the device."""


@dataclass(frozen=True)
class Window:
    """Hours of some days of the week.

    Attributes:
        text: the window as it was written.
        days: the days on which it begins; Monday is 0.
        start: when it begins, in minutes after midnight.
        end: when it ends, in minutes after the midnight before ``start``.
        zone: the name of the time zone; empty for the device's.
    """

    text: str
    days: frozenset[int]
    start: int
    end: int
    zone: str = ""


@dataclass(frozen=True)
class WindowState:
    """The state of some windows at a moment.

    Attributes:
        is_open: whether a window is open.
        changes_at: when that changes, aware, UTC; None if it never does.
    """

    is_open: bool
    changes_at: datetime | None


def parse_window(text: str) -> Window:
    """Parse a window: days, times and time zone, each of them optional, except that days or times must be given.

    Raises:
        ValueError: it is invalid; the message says why.
    """
    words = text.split(" ")
    words = [word for word in words if word]
    days, start, end = frozenset(range(len(DAYS))), 0, _DAY
    has_days = bool(words and not words[0][0].isdigit())
    if has_days:
        days = _days(words.pop(0), text)
    if words and words[0][0].isdigit():
        start, end = _times(words.pop(0), text)
    elif not has_days:
        raise ValueError("must contain no empty window")
    zone = words.pop(0) if words else ""
    if words or (zone and not _ZONE.fullmatch(zone)):
        raise ValueError(f"must have a time zone such as Europe/Berlin, and nothing else, at the end of {text!r:.80}")
    return Window(text, days, start, end, zone)


def _days(word: str, text: str) -> frozenset[int]:
    if not _DAY_LIST.fullmatch(word):
        raise ValueError(f"must have days such as Mon-Fri or Sat,Sun in place of {word!r:.80} in {text!r:.80}")
    days = set[int]()
    for part in word.split(","):
        first, _, last = part.partition("-")
        number, end = DAYS.index(first.title()), DAYS.index((last or first).title())
        days.add(number)
        while number != end:
            number = (number + 1) % len(DAYS)
            days.add(number)
    return frozenset(days)


def _times(word: str, text: str) -> tuple[int, int]:
    found = _TIMES.fullmatch(word)
    numbers = [int(number) for number in found.groups()] if found else [99] * 4
    start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if start >= _DAY or end > _DAY or numbers[1] > 59 or numbers[3] > 59:
        raise ValueError(f"must have times such as 22:00-05:00 in place of {word!r:.80} in {text!r:.80}")
    if start == end:
        raise ValueError(f"must have two different times in {text!r:.80}, or none for whole days: it never opens")
    return start, end if end > start else end + _DAY


def look(windows: Sequence[Window], zone_of: ZoneOf, now: datetime) -> WindowState:
    """Whether any of several windows is open.

    Args:
        windows: the windows, at least one.
        zone_of: looks up their time zones; its exceptions propagate.
        now: the current time, aware.
    """
    now = now.astimezone(timezone.utc)
    reached = now
    for start, end in sorted(span for window in windows for span in _spans(window, zone_of(window.zone), now)):
        if start > reached:
            return WindowState(reached > now, reached if reached > now else start)
        reached = max(reached, end)
    return WindowState(reached > now, None)


def _spans(window: Window, zone: tzinfo, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The current and the next periods in which a window is open, UTC."""
    today = datetime.combine(now.astimezone(zone), time())
    for number in range(-2, _DAYS_AHEAD):  # it may have begun yesterday, and the calendar may have skipped a day
        day = today + timedelta(days=number)
        if day.weekday() not in window.days:
            continue
        start, end = (_first_shown(day + timedelta(minutes=at), zone) for at in (window.start, window.end))
        if start < end > now:
            yield start, end


def _first_shown(local: datetime, zone: tzinfo) -> datetime:
    """When a local time first occurs, UTC; if it is skipped, when the clock is put forward."""
    at = local.replace(tzinfo=zone).astimezone(timezone.utc)
    if at.astimezone(zone).replace(tzinfo=None) == local:
        return at
    before = local.replace(tzinfo=zone, fold=1).astimezone(timezone.utc)
    while at - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(at - before) // timedelta(seconds=2))
        if middle.astimezone(zone).replace(tzinfo=None) < local:
            before = middle
        else:
            at = middle
    return at
