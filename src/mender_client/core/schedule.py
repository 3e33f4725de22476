"""Which job is due, and when, by the monotonic clock, since the wall clock may jump."""

from __future__ import annotations

from mender_client.dataclass import dataclass, replace

from .backoff import Backoff

FIRST_RETRY_SECONDS = 60.0
"""The first interval of the back-off for the device API; a lower RetryPollIntervalSeconds caps it."""


@dataclass(frozen=True)
class Job:
    """A recurring job.

    Args:
        interval_seconds: the time between two successes.
        backoff: the back-off after failures.
        due_at: the monotonic time of the next run.
    """

    interval_seconds: float
    backoff: Backoff
    due_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether the job is due at the monotonic time ``now``."""
        return now >= self.due_at

    def after_success(self, now: float, *, random: float) -> Job:
        """The job after a success: due after its interval, plus or minus 5 %.

        Args:
            now: the monotonic time.
            random: a number in [0, 1); keeps a fleet that started together from polling in step.
        """
        delay = self.interval_seconds * (0.95 + random / 10)
        return replace(self, backoff=self.backoff.after_success(), due_at=now + delay)

    def after_failure(self, now: float, *, random: float, retry_after_seconds: float | None = None) -> Job:
        """The job after a failure: due after the back-off, or when the server has asked for it."""
        backoff = self.backoff.after_failure()
        delay = backoff.delay_seconds(random=random, retry_after_seconds=retry_after_seconds)
        return replace(self, backoff=backoff, due_at=now + delay)

    def at_once(self) -> Job:
        """The job, due immediately."""
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
        """The time until the next job is due; 0 if one is due already."""
        return max(0.0, min(self.inventory.due_at, self.poll.due_at) - now)
