"""How long to wait after a failure."""

from __future__ import annotations

from mender_client.dataclass import dataclass, replace

TRIES_PER_INTERVAL = 3
"""Other Mender clients try each interval three times before they double it."""

MINIMUM_RETRY_AFTER_SECONDS = 1.0
MAXIMUM_RETRY_AFTER_SECONDS = 24 * 3600.0
"""With these bounds, a server can neither stop a device from sending requests nor make it send them without a pause."""


@dataclass(frozen=True)
class Backoff:
    """The delay after repeated failures: each interval is used several times, then doubled, up to a cap.

    Args:
        start_seconds: the first interval.
        cap_seconds: the longest interval.
        tries_per_interval: how often an interval is used before it doubles.
        failures: consecutive failures so far.
    """

    start_seconds: float
    cap_seconds: float
    tries_per_interval: int = TRIES_PER_INTERVAL
    failures: int = 0

    def after_failure(self) -> Backoff:
        """The policy after another failure."""
        return replace(self, failures=self.failures + 1)

    def after_success(self) -> Backoff:
        """The policy after a success: it starts over."""
        return replace(self, failures=0) if self.failures else self

    @property
    def interval_seconds(self) -> float:
        """The interval to wait now, without jitter."""
        # 2**60 s exceeds any cap; the bound keeps the number small after a year of failures
        doublings = min(max(self.failures - 1, 0) // self.tries_per_interval, 60)
        return min(self.start_seconds * float(2**doublings), self.cap_seconds)

    def delay_seconds(self, *, random: float, retry_after_seconds: float | None = None) -> float:
        """How long to wait before the next try.

        Args:
            random: a number in [0, 1); spreads a fleet over the last third of the interval, so that devices that
                lost the same server don't come back in step and the cap holds.
            retry_after_seconds: what the server asked for; it always takes precedence (protocol: ``Retry-After``),
                within the bounds of one second and one day.
        """
        if retry_after_seconds is not None:
            asked = min(max(retry_after_seconds, MINIMUM_RETRY_AFTER_SECONDS), MAXIMUM_RETRY_AFTER_SECONDS)
            return asked * (1 + random / 10)
        return self.interval_seconds * (2 + random) / 3
