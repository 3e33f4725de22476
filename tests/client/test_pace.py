"""The maximum and the minimum rate of a download."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from mender_client.client.pace import Pace, PaceLimits
from mender_client.errors import NetworkError


class _Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_limit_spreads_bytes_over_time() -> None:
    """With DownloadSpeedLimit, a download takes as long as the limit implies, however fast the data arrives."""
    clock = _Clock()
    pace = Pace(clock, PaceLimits(most_bytes_per_second=1000))
    for _ in range(10):
        pace.received(500)
    assert clock.time == pytest.approx(1005.0)


def test_limit_takes_small_pieces() -> None:
    """With a limit, at most a quarter of a second's worth of data is read at once."""
    assert Pace(_Clock(), PaceLimits(most_bytes_per_second=40000)).piece_bytes == 10000


def test_no_limit_never_waits() -> None:
    """Without a limit a download never waits, and pieces may be as large as 1 MiB."""
    clock = _Clock()
    pace = Pace(clock, PaceLimits())
    pace.received(1 << 40)
    assert clock.time == 1000.0
    assert pace.piece_bytes >= 1 << 20


def test_floor_breaks_a_slow_transfer_off() -> None:
    """A transfer that is slower than DownloadMinimumRate over a window is broken off; the error gives both rates."""
    clock = _Clock()
    pace = Pace(clock, PaceLimits(least_bytes_per_second=100, window_seconds=10))
    clock.time += 9
    pace.received(10)
    clock.time += 1
    with pytest.raises(NetworkError, match=r"too slow: 2 bytes per second over 10 s, and DownloadMinimumRate is 100"):
        pace.received(10)


def test_floor_below_the_limit() -> None:
    """A download slowed down by DownloadSpeedLimit isn't too slow, but one at less than half of the limit may be."""
    clock = _Clock()
    pace = Pace(clock, PaceLimits(most_bytes_per_second=1000, least_bytes_per_second=2000, window_seconds=10))
    for _ in range(100):
        pace.received(500)
    clock.time += 40
    with pytest.raises(NetworkError, match="too slow"):
        pace.received(10)


def test_floor_is_measured_anew_in_each_window() -> None:
    """Each window is measured separately: a fast first one doesn't make up for a slow second one."""
    clock = _Clock()
    pace = Pace(clock, PaceLimits(least_bytes_per_second=100, window_seconds=10))
    clock.time += 10
    pace.received(1_000_000)
    clock.time += 10
    with pytest.raises(NetworkError, match="too slow"):
        pace.received(1)
