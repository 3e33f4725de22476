"""Which job is due, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.schedule import FIRST_RETRY_SECONDS, Schedule


def schedule() -> Schedule:
    """A schedule with the default intervals."""
    return Schedule.every(inventory_seconds=28800, poll_seconds=1800, retry_seconds=300)


def test_everything_is_due_at_the_start() -> None:
    """A client that starts sends its inventory and polls immediately."""
    start = schedule()
    assert (True, True, 0.0) == (start.inventory.is_due(5), start.poll.is_due(5), start.seconds_until_due(5))


def test_intervals_with_jitter() -> None:
    """A job is due again after its interval, plus or minus 5 %, so that a fleet doesn't poll in step."""
    poll = schedule().poll
    assert 1000 + 1800 * 0.95 == poll.after_success(1000, random=0).due_at
    assert 1000 + 1800 * 1.05 == pytest.approx(poll.after_success(1000, random=0.999999).due_at, abs=0.01)


def test_failures_follow_the_back_off() -> None:
    """After a failure the back-off determines when a job is due, and a success resets it."""
    poll = schedule().poll
    once = poll.after_failure(1000, random=0)
    assert 1000 + FIRST_RETRY_SECONDS * 2 / 3 == once.due_at
    assert 1 == once.backoff.failures
    assert 0 == once.after_success(2000, random=0).backoff.failures


def test_retry_after() -> None:
    """After a failure with Retry-After a job is due after the time that the server asked for."""
    assert 1009 == schedule().poll.after_failure(1000, random=0, retry_after_seconds=9).due_at


def test_at_once() -> None:
    """A job that is requested is due immediately, whatever the schedule, and its back-off is unchanged."""
    job = schedule().poll.after_failure(1000, random=0)
    assert (True, 1) == (job.at_once().is_due(1), job.at_once().backoff.failures)


def test_the_next_job_decides() -> None:
    """The wait ends when the first job is due, and is never negative."""
    start = schedule()
    later = Schedule(
        inventory=start.inventory.after_success(0, random=0.5), poll=start.poll.after_success(0, random=0.5)
    )
    assert (1800, 0) == (later.seconds_until_due(0), later.seconds_until_due(99999))


@given(now=st.floats(0, 1e9), random=st.floats(0, 1, exclude_max=True), failures=st.integers(1, 30))
def test_a_job_is_never_due_at_once_by_itself(now: float, random: float, failures: int) -> None:
    """Neither success nor failure, with or without Retry-After, makes a job due again without a pause."""
    job = schedule().poll
    for _ in range(failures):
        job = job.after_failure(now, random=random)
    assert not job.is_due(now)
    assert not job.after_success(now, random=random).is_due(now)
    assert not job.after_failure(now, random=random, retry_after_seconds=0).is_due(now)
