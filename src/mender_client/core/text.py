"""Text from outside, made fit for a log line or a terminal."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str, *, limit: int = 200) -> str:
    """One line of bounded length without anything that steers a terminal.

    Args:
        text: what came from outside.
        limit: the most characters that are kept.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else "".join(one if one.isprintable() else "?" for one in cut)


def has_control(text: str) -> bool:
    """Whether a text holds control characters, line ends or lone surrogates, which no name or path has."""
    return _CONTROL.search(text) is not None
