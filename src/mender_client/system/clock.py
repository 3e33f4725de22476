"""Wall and monotonic time, and a wait that a signal handler can end at once."""

from __future__ import annotations

import os
import select
import time
from datetime import datetime, timezone

from mender_client import RELEASED
from mender_client.errors import Interrupted

EARLIEST_PLAUSIBLE_TIME = datetime.fromisoformat(RELEASED).replace(tzinfo=timezone.utc)
"""When this version was made: a wall clock that shows an earlier time is not set."""


class SystemClock:
    """The machine's clocks, with a wait that costs nothing and ends when somebody calls ``wake`` or ``stop``."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        self.is_stopping = False

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return datetime.now(timezone.utc)

    def wait(self, seconds: float) -> None:
        """Wait up to so many seconds; returns early when woken or stopped."""
        if self.is_stopping:
            return
        # poll takes milliseconds in 31 bits; whoever waits for longer simply looks again after a week
        if self._poll.poll(min(max(seconds, 0.0), 7 * 86400.0) * 1000):
            os.read(self._reader, 4096)

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds, whatever wakes.

        Raises:
            Interrupted: the client is to stop.
        """
        end = self.monotonic() + seconds
        while not self.is_stopping and (left := end - self.monotonic()) > 0:
            self.wait(left)
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
