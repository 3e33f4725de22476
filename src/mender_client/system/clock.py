"""Wall-clock and monotonic time, and a wait that a signal handler can end immediately."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from datetime import datetime, timezone

from mender_client import RELEASED
from mender_client.errors import Interrupted

_A_WEEK_SECONDS = 7 * 86400.0
"""poll takes its timeout in milliseconds as a 31-bit number; a longer wait is split."""
_PIPE_BYTES = 65536
"""All that a pipe holds: however often a wait was woken, the next one lasts its full time."""

EARLIEST_PLAUSIBLE_TIME = datetime.fromisoformat(RELEASED).replace(tzinfo=timezone.utc)
"""The release date of this version: a wall clock that shows an earlier time is not set."""

NOT_SET = "[this device's clock is not set] "
"""The mark of what was recorded at such a time."""


def jitter() -> float:
    """A random number from 0 up to, but not including, 1, to spread the requests of many devices.

    ``random.random`` would do, but its module takes 0.2 MiB of an idle daemon.
    """
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


class SystemClock:
    """The machine's clocks, with a wait that uses no CPU time and ends when ``wake`` or ``stop`` is called.

    Args:
        alive: called at the beginning of a wait and every ``beat_seconds`` during it, for a watchdog.
        beat_seconds: the interval; 0 without a watchdog.
    """

    def __init__(self, alive: Callable[[], None] = lambda: None, *, beat_seconds: float = 0.0) -> None:
        self._alive = alive
        self._longest_wait_seconds = beat_seconds or _A_WEEK_SECONDS
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        self.is_stopping = False

    @property
    def wake_descriptor(self) -> int:
        """For ``signal.set_wakeup_fd``: a signal that arrives just before the wait blocks also ends it."""
        return self._writer

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def wait(self, seconds: float) -> None:
        """Wait for at most this many seconds; returns early when woken or stopped."""
        end = self.monotonic() + seconds
        while not self.is_stopping:
            self._alive()
            left = max(end - self.monotonic(), 0.0)
            if self._poll.poll(min(left, self._longest_wait_seconds) * 1000):
                os.read(self._reader, _PIPE_BYTES)
                return
            if left <= self._longest_wait_seconds:
                return

    def sleep(self, seconds: float) -> None:
        """As the port says; ``wake`` doesn't end it."""
        end = self.monotonic() + seconds
        while not self.is_stopping and (left := end - self.monotonic()) > 0:
            self.wait(left)
        self.raise_if_stopping()

    def raise_if_stopping(self) -> None:
        """Raise Interrupted if the client is to stop."""
        if self.is_stopping:
            raise Interrupted("the client was asked to stop")

    def wake(self) -> None:
        """End a wait now; safe in a signal handler."""
        try:
            os.write(self._writer, b"\0")
        except BlockingIOError:
            return  # the pipe is full, so the wait ends anyway

    def stop(self) -> None:
        """End this wait and all later ones."""
        self.is_stopping = True
        self.wake()

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._reader)
        os.close(self._writer)
