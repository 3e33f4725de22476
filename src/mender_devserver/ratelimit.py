"""How many requests a device may make."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The most requests of one device in a time window; authentication requests don't count."""

    requests: int
    window_seconds: float
