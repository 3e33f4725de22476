"""Merges the lines that the client has recorded with the output of the sub-updater, in the order of their times.

Most lines of that output have no time of their own. Each was written before the next line that has one, and the last
ones before the file was changed last, so they are given these times. The lines of ``report`` have their time, and are
recorded as well, so they show where both belong together.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone

from mender_client.core.model import LogMessage
from mender_client.dataclass import dataclass

from .clock import NOT_SET

_LAST_LINES = 20
"""How many of the recorded lines may be in the output as well: ``report`` ends a deployment."""
_CLIENT_LINE = re.compile(
    rb"(?:\A|[\r\n])[ \t]*(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (?P<level>INFO|WARNING|ERROR) (?P<text>[^\r\n]*)"
)
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)
_PRECISION = timedelta(seconds=1)
"""The precision of the times in the output; what was recorded in the same second precedes."""

_Place = tuple[datetime, int]
"""The place of a recorded line: its time and its number. No other line has the number of a recorded one."""


@dataclass(frozen=True)
class _Line:
    """A line of the output.

    Attributes:
        start: its position in the output.
        place: what was recorded before this place precedes it.
        message: as it is shown.
        is_copy: whether the line with this place, which was recorded, is the same.
    """

    start: int
    place: _Place
    message: LogMessage
    is_copy: bool = False


def merge(recorded: Callable[[], Iterable[LogMessage]], output: bytes, modified: datetime) -> Iterator[LogMessage]:
    """The lines of both logs.

    Args:
        recorded: reads the recorded lines, whose times never decrease.
        output: the output of the sub-updater.
        modified: when it was changed last.
    """
    last_recorded = tuple(deque(enumerate(recorded()), maxlen=_LAST_LINES))
    rest = enumerate(recorded())
    coming = next(rest, None)
    latest = _EARLIEST
    for line, untimed in _all_lines(output, _lines_with_time(output, last_recorded), _end(last_recorded, modified)):
        is_copy = line.is_copy and not untimed
        limit = (line.place[0], line.place[1] + 1) if is_copy else line.place
        while coming is not None and (coming[1].timestamp, coming[0]) < limit:
            yield coming[1]
            latest, coming = coming[1].timestamp, next(rest, None)
        if not is_copy:
            latest = max(latest, min(line.message.timestamp, line.place[0]))
            yield LogMessage(latest, *(("info", untimed) if untimed else (line.message.level, line.message.message)))
    if coming is not None:
        yield coming[1]
        yield from (message for _, message in rest)


def _end(last_recorded: tuple[tuple[int, LogMessage], ...], modified: datetime) -> _Line:
    """Stands for the end of the output, which precedes the recorded failure unless it was written clearly later."""
    place = _after(modified)
    if last_recorded:
        number, last = last_recorded[-1]
        if last.level != "info" and modified < _after(last.timestamp)[0]:
            place = min(place, (last.timestamp, number))
    return _Line(-1, place, LogMessage(modified, "info", ""))


def _lines_with_time(output: bytes, last_recorded: tuple[tuple[int, LogMessage], ...]) -> list[_Line]:
    """The lines of the client, none of which follows a recorded line that a later one is a copy of."""
    lines = list[_Line]()
    said = [(one.message.removeprefix(NOT_SET), (one.timestamp, number)) for number, one in last_recorded]
    next_copy: _Place | None = None
    for match in reversed(list(_CLIENT_LINE.finditer(output))):
        try:
            time = datetime.fromisoformat(match["time"].decode().replace("Z", "+00:00"))
        except ValueError:
            continue  # it only looks like one
        text = match["text"].decode("utf-8", "replace").strip()
        copied = next((place for message, place in said if text.endswith(message)), None)
        place = copied or _after(time)
        place = place if next_copy is None else min(place, next_copy)
        next_copy = next_copy if copied is None else place
        message = LogMessage(time if copied is None else place[0], match["level"].decode().lower(), text)
        lines.append(_Line(match.start("time"), place, message, copied is not None))
    return lines[::-1]


def _after(moment: datetime) -> _Place:
    """The place after everything that was recorded in the same second."""
    return moment + min(_PRECISION, _LATEST - moment), -1


def _all_lines(output: bytes, timed: list[_Line], end: _Line) -> Iterator[tuple[_Line, str]]:
    """Every line, as an iterator, because there may be a million: one with a time, or the next such and the text."""
    others = iter((*timed, end))
    following = next(others)
    for match in re.finditer(rb"[^\r\n]+", output):
        if match.start() <= following.start < match.end():
            yield following, ""
            following = next(others)
        elif text := match.group().decode("utf-8", "replace").strip():
            yield following, text
