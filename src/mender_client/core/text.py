"""Text from outside, made fit for a log line or a terminal."""

from __future__ import annotations


def printable(text: str, *, limit: int = 200) -> str:
    """One line of at most ``limit`` characters, without terminal control sequences."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else "".join(one if one.isprintable() else "?" for one in cut)
