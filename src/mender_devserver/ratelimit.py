"""The limit on the number of requests of a device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The maximum number of requests of one device in a time window; authentication requests don't count."""

    requests: int
    window_seconds: float
