"""What is due, and in how many seconds; on the monotonic clock, since the wall clock may jump."""

from __future__ import annotations

from mender_client.dataclass import dataclass, replace

from .backoff import Backoff

FIRST_RETRY_SECONDS = 60.0
"""Where the back-off of the device API starts; a lower RetryPollIntervalSeconds lowers it too."""


@dataclass(frozen=True)
class Job:
    """One thing that is done again and again.

    Args:
        interval_seconds: the time between two successes.
        backoff: the waiting policy after failures.
        due_at: the monotonic time of the next run.
    """

    interval_seconds: float
    backoff: Backoff
    due_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time, at the monotonic time ``now``."""
        return now >= self.due_at

    def after_success(self, now: float, *, random: float) -> Job:
        """The job when it has been done: due after its interval, give or take a twentieth.

        Args:
            now: the monotonic time.
            random: a number in [0, 1); keeps a fleet that started together from polling in step.
        """
        delay = self.interval_seconds * (0.95 + random / 10)
        return replace(self, backoff=self.backoff.after_success(), due_at=now + delay)

    def after_failure(self, now: float, *, random: float, retry_after_seconds: float | None = None) -> Job:
        """The job when it has failed: due again as the back-off says, or as the server asked."""
        backoff = self.backoff.after_failure()
        delay = backoff.delay_seconds(random=random, retry_after_seconds=retry_after_seconds)
        return replace(self, backoff=backoff, due_at=now + delay)

    def at_once(self) -> Job:
        """The job once it was requested now."""
        return replace(self, due_at=0.0)


@dataclass(frozen=True)
class Schedule:
    """The two recurring jobs of a client."""

    inventory: Job
    poll: Job

    @classmethod
    def every(cls, *, inventory_seconds: float, poll_seconds: float, retry_seconds: float) -> Schedule:
        """A schedule with both jobs due now, at these intervals; ``retry_seconds`` caps the back-off."""
        backoff = Backoff(start_seconds=FIRST_RETRY_SECONDS, cap_seconds=retry_seconds)
        return cls(inventory=Job(inventory_seconds, backoff), poll=Job(poll_seconds, backoff))

    def seconds_until_due(self, now: float) -> float:
        """The time until the next job is due; 0 when one is."""
        return max(0.0, min(self.inventory.due_at, self.poll.due_at) - now)
