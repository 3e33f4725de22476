"""Text for log lines and terminals: foreign text made safe to print, exit codes, and numbers of bytes."""

from __future__ import annotations

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from json import JSONDecodeError

ROUTINE = {"is_routine": True}
"""The ``extra`` of a log line that is repeated often, or concerns no deployment: the deployment is not named in it."""

_MOST = 1 << 80
"""The largest number of bytes: one from a damaged file may be too large to divide."""


def printable(text: str, *, limit: int = 200) -> str:
    """One line of at most ``limit`` characters, without terminal control sequences."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else "".join(one if one.isprintable() else "?" for one in cut)


def json_fault(error: JSONDecodeError) -> str:
    """Where a text is not JSON, and why."""
    return f"line {error.lineno}, column {error.colno}: {error.msg.lower()}"


def ending(code: int) -> str:
    """How a program failed, by its exit code, or by the negated number of the signal that ended it."""
    return f"failed with exit code {code}" if code > 0 else f"was killed by signal {-code}"


def amount(count: float) -> str:
    """A number of bytes, with its unit."""
    count = min(count, _MOST)
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
