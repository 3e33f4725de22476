"""Limits of the download speed by time of day: a list of strings, such as ``Mon-Fri 08:00-18:00 65536``.

Each consists of a window and the rate that applies in it: bytes per second, ``unlimited`` or ``stop``. A rate without a
window always applies. The first rate that applies is used; if none applies, nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from mender_client.dataclass import dataclass

from .windows import Window, ZoneOf, look, parse_window

_RATE = re.compile(r"[1-9][0-9]{0,14}")


@dataclass(frozen=True)
class Speed:
    """A rate.

    Attributes:
        is_stopped: whether nothing is downloaded.
        bytes_per_second: the limit; 0 for none.
    """

    is_stopped: bool = False
    bytes_per_second: int = 0


STOPPED = Speed(is_stopped=True)


@dataclass(frozen=True)
class SpeedRule:
    """A rate, and the window in which it applies; None for always."""

    window: Window | None
    speed: Speed


def parse_speeds(texts: Sequence[str]) -> tuple[SpeedRule, ...]:
    """Parse the rates.

    Raises:
        ValueError: one of them is invalid; the message says which and why.
    """
    rules = tuple(_rule(text) for text in texts)
    if rules and all(rule.speed.is_stopped for rule in rules):
        raise ValueError('must contain a rate besides "stop": nothing would ever be downloaded')
    return rules


def _rule(text: str) -> SpeedRule:
    window, _, rate = text.rstrip(" ").rpartition(" ")
    word = rate.lower()
    if word == "stop":
        speed = STOPPED
    elif word == "unlimited" or _RATE.fullmatch(word):
        speed = Speed(bytes_per_second=0 if word == "unlimited" else int(word))
    else:
        raise ValueError(f"must have bytes per second, unlimited or stop at the end of {text!r:.80}")
    return SpeedRule(parse_window(window) if window else None, speed)


def find_speed(rules: Sequence[SpeedRule], zone_of: ZoneOf, now: datetime) -> tuple[Speed, datetime | None]:
    """The rate that applies now.

    Args:
        rules: the rates.
        zone_of: looks up the time zones of the windows; its exceptions propagate.
        now: the current time, aware.

    Returns:
        The rate, and the time until which it applies at least (aware, UTC); None for always.
    """
    changes = list[datetime]()
    for rule in rules:
        if rule.window is None:
            return rule.speed, min(changes, default=None)
        state = look([rule.window], zone_of, now)
        if state.changes_at is not None:
            changes.append(state.changes_at)
        if state.is_open:
            return rule.speed, min(changes, default=None)
    return STOPPED, min(changes, default=None)
