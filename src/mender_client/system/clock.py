"""Wall and monotonic time, and a wait that a signal handler can end at once."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from datetime import datetime, timezone

from mender_client import RELEASED
from mender_client.errors import Interrupted

_A_WEEK_SECONDS = 7 * 86400.0
"""poll takes milliseconds in 31 bits; whoever waits for longer is woken in between."""

EARLIEST_PLAUSIBLE_TIME = datetime.fromisoformat(RELEASED).replace(tzinfo=timezone.utc)
"""When this version was made: a wall clock that shows an earlier time is not set."""


class SystemClock:
    """The machine's clocks, with a wait that costs nothing and ends when somebody calls ``wake`` or ``stop``.

    Args:
        alive: called when a wait begins and every ``beat_seconds`` of it, for a watchdog.
        beat_seconds: 0 when nobody wants to know.
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
        """For ``signal.set_wakeup_fd``: a signal that arrives just before the wait blocks ends it, too."""
        return self._writer

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def wait(self, seconds: float) -> None:
        """Wait up to so many seconds; returns early when woken or stopped."""
        end = self.monotonic() + seconds
        while not self.is_stopping:
            self._alive()
            left = max(end - self.monotonic(), 0.0)
            if self._poll.poll(min(left, self._longest_wait_seconds) * 1000):
                os.read(self._reader, 4096)
                return
            if left <= self._longest_wait_seconds:
                return

    def sleep(self, seconds: float) -> None:
        """As the port says, whatever wakes."""
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
            return  # the pipe is full: the wait ends anyway

    def stop(self) -> None:
        """End this and every further wait."""
        self.is_stopping = True
        self.wake()

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reader)
        os.close(self._writer)
