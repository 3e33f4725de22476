"""Formats numbers and times for people, and values for programs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timezone

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def clock_time(seconds: float) -> str:
    """A duration in seconds as hours, minutes and seconds, such as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def span(seconds: float) -> str:
    """A duration in seconds, in the largest unit of which it has at least two."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def utc(moment: str) -> str:
    """An RFC 3339 time in UTC, formatted as in log lines; other text is returned unchanged."""
    try:
        return datetime.fromisoformat(moment).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return moment


def for_programs(value: Any, *, times: Collection[str]) -> Any:
    """A JSON document in which unknown values are null instead of empty, and all times have the same format.

    Args:
        value: the document.
        times: the names of the keys whose values are times.
    """
    if isinstance(value, Mapping):
        return {
            key: utc(one) if key in times and isinstance(one, str) and one else for_programs(one, times=times)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [for_programs(one, times=times) for one in value]
    return None if value == "" else value


def ago(moment: str, now: datetime) -> str:
    """The distance of an RFC 3339 time from now, in parentheses after a space; empty if it is not a time."""
    try:
        seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f" ({span(seconds)} ago)" if seconds >= 0 else f" (in {span(-seconds)})"
