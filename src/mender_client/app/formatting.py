"""Numbers and times for people."""

from __future__ import annotations

from datetime import datetime


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


def ago(moment: str, now: datetime) -> str:
    """How far a time, RFC 3339, is from now; in parentheses, behind a space; nothing when it is no time."""
    try:
        seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f" ({span(seconds)} ago)" if seconds >= 0 else f" (in {span(-seconds)})"
