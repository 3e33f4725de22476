"""Numbers and times for people, and values for programs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timezone

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


def clock_time(seconds: float) -> str:
    """So many seconds, as a clock shows them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def span(seconds: float) -> str:
    """So many seconds, in the largest unit that says enough."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def utc(moment: str) -> str:
    """A time, RFC 3339, in UTC, as in log lines; what is no time as it is."""
    try:
        return datetime.fromisoformat(moment).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return moment


def for_programs(value: Any, *, times: Collection[str]) -> Any:
    """A JSON document in which what is unknown is null, never empty, and all times have one format.

    Args:
        value: the document.
        times: the names of the values that are times.
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
    """How far a time, RFC 3339, is from now; in parentheses, behind a space; nothing when it is no time."""
    try:
        seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f" ({span(seconds)} ago)" if seconds >= 0 else f" (in {span(-seconds)})"
