"""How long to wait after failures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.backoff import MAXIMUM_RETRY_AFTER_SECONDS, MINIMUM_RETRY_AFTER_SECONDS, Backoff


def after(failures: int, backoff: Backoff) -> Backoff:
    """The policy after this number of consecutive failures."""
    for _ in range(failures):
        backoff = backoff.after_failure()
    return backoff


def test_each_interval_three_times_then_doubled() -> None:
    """Each interval, from 60 s on, is used three times and then doubled, up to the cap."""
    backoff = Backoff(60, 300)
    assert [60, 60, 60, 120, 120, 120, 240, 240, 240, 300, 300] == [
        after(count, backoff).interval_seconds for count in range(1, 12)
    ]


def test_a_cap_below_the_start_holds() -> None:
    """A RetryPollIntervalSeconds shorter than the first interval also shortens the first interval."""
    assert 5 == after(1, Backoff(60, 5)).interval_seconds


def test_success_starts_anew() -> None:
    """A success resets the back-off."""
    assert Backoff(60, 300) == after(7, Backoff(60, 300)).after_success()
    assert Backoff(60, 300) == Backoff(60, 300).after_success()


def test_a_year_of_failures() -> None:
    """Years of failures neither overflow the interval nor make it exceed the cap."""
    assert 300.0 == Backoff(60, 300, failures=10**9).interval_seconds


def test_jitter_spreads_over_the_last_third() -> None:
    """Devices that lost the same server retry at random times in the last third of the interval, within the cap."""
    backoff = after(1, Backoff(60, 300))
    assert 40 == backoff.delay_seconds(random=0)
    assert 60 == pytest.approx(backoff.delay_seconds(random=0.999999), abs=0.001)


RETRY_AFTER: list[tuple[float, float]] = [
    (9, 9),
    (3600, 3600),
    (10**9, MAXIMUM_RETRY_AFTER_SECONDS),
    (0, MINIMUM_RETRY_AFTER_SECONDS),
    (-5, MINIMUM_RETRY_AFTER_SECONDS),
]


@pytest.mark.parametrize(("asked", "seconds"), RETRY_AFTER)
def test_retry_after_wins(asked: float, seconds: float) -> None:
    """The server's Retry-After takes precedence, but can neither silence a device for good nor cause a retry storm."""
    backoff = after(9, Backoff(60, 300))
    assert seconds == backoff.delay_seconds(random=0, retry_after_seconds=asked)


def test_retry_after_is_spread_later_only() -> None:
    """Devices given the same Retry-After retry at random times within an extra tenth of it, and never too early."""
    assert 110 == pytest.approx(Backoff(60, 300).delay_seconds(random=0.999999, retry_after_seconds=100), abs=0.001)


@given(
    start=st.floats(0.5, 1e6),
    cap=st.floats(0.5, 1e6),
    failures=st.integers(0, 10**6),
    random=st.floats(0, 1, exclude_max=True),
)
def test_bounds(start: float, cap: float, failures: int, random: float) -> None:
    """A delay is between two thirds of the smallest interval and the cap, and the interval never decreases."""
    backoff = Backoff(start, cap, failures=failures)
    delay = backoff.delay_seconds(random=random)
    assert min(start, cap) * 2 / 3 * 0.999 <= delay <= cap * 1.001
    assert backoff.interval_seconds <= backoff.after_failure().interval_seconds
