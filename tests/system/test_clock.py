"""Clocks, and a wait that a signal handler can end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from mender_client.errors import Interrupted
from mender_client.system.clock import SystemClock, jitter
from waiting import NEVER_S, PATIENCE_S


@pytest.fixture
def clock() -> Iterator[SystemClock]:
    """A clock whose descriptors are closed after the test."""
    clock = SystemClock()
    yield clock
    clock.close()


def waited(clock: SystemClock, seconds: float) -> float:
    """The duration of a wait, in seconds."""
    began = time.monotonic()
    clock.wait(seconds)
    return time.monotonic() - began


def test_time(clock: SystemClock) -> None:
    """Wall-clock time is timezone-aware, in UTC and correct, and monotonic time doesn't go back."""
    assert timezone.utc is clock.now().tzinfo
    assert abs((clock.now() - datetime.now(timezone.utc)).total_seconds()) < PATIENCE_S
    assert clock.monotonic() <= clock.monotonic()


def test_wait(clock: SystemClock) -> None:
    """A wait lasts at least as long as requested, and a negative one ends immediately."""
    assert 0.1 <= waited(clock, 0.1)
    assert waited(clock, -NEVER_S) < PATIENCE_S


def test_wake(clock: SystemClock) -> None:
    """A wake ends a wait that begins later, but even a hundred thousand wakes end no more than one wait."""
    for _ in range(100_000):
        clock.wake()
    assert waited(clock, NEVER_S) < PATIENCE_S
    assert waited(clock, 0.05) >= 0.05


@pytest.mark.parametrize("seconds", [NEVER_S, 1e12, float("inf")])
def test_wake_from_a_signal_handler(clock: SystemClock, seconds: float) -> None:
    """A wake from a signal handler ends a wait of any length."""
    previous = signal.signal(signal.SIGALRM, lambda *_: clock.wake())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert waited(clock, seconds) < PATIENCE_S
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_signal_that_interrupts_nothing(clock: SystemClock) -> None:
    """The wake-up descriptor ends a wait even if the signal interrupts no system call, as just before it blocks."""
    previous = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.set_wakeup_fd(clock.wake_descriptor, warn_on_full_buffer=False)
    # another thread receives the signal, so that the main thread's system call isn't interrupted
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGALRM))
    try:
        timer.start()
        assert waited(clock, NEVER_S) < PATIENCE_S
    finally:
        timer.join()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, previous)


def test_sleep(clock: SystemClock) -> None:
    """A sleep lasts its full time, even if it is woken."""
    timer = threading.Timer(0.05, clock.wake)
    timer.start()
    began = time.monotonic()
    clock.sleep(0.2)
    timer.join()
    assert time.monotonic() - began >= 0.2


def test_stop(clock: SystemClock) -> None:
    """A stop ends the current sleep and all later ones with Interrupted, and ends all later waits immediately."""
    timer = threading.Timer(0.1, clock.stop)
    timer.start()
    with pytest.raises(Interrupted):
        clock.sleep(NEVER_S)
    timer.join()
    assert clock.is_stopping
    assert waited(clock, NEVER_S) < PATIENCE_S
    with pytest.raises(Interrupted):
        clock.sleep(NEVER_S)


def test_jitter() -> None:
    """Jitter is spread over the interval from 0 up to, but not including, 1."""
    numbers = [jitter() for _ in range(1000)]
    assert 0 <= min(numbers) < 0.1
    assert 0.9 < max(numbers) < 1
