"""How many requests a device may make."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most so many requests of one device in a window; authorisation requests don't count."""

    requests: int
    window_seconds: float
