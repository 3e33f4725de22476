"""One thread that waits for descriptors and timers at once, and takes calls from other threads."""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

Callback = Callable[[], None]

_NO_THREAD_SECONDS = 1.0
_FEW_CALLS = 64
"""So many calls that were cancelled may wait for their time."""


class Call:
    """A call that is due at some time; see ``protocol.ports.Timer``.

    Args:
        callback: what is called.
        cancelled: is told when it isn't called any more.
    """

    def __init__(self, callback: Callback, cancelled: Callback) -> None:
        self.callback: Callback | None = callback
        self._cancelled = cancelled

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._cancelled()


class Loop:
    """Calls back when a descriptor is ready or a time has come.

    A descriptor has one callback for both directions; it is called with what is ready.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._heap: list[tuple[float, int, Call]] = []
        self._cancelled_count = 0
        self._numbers = itertools.count()
        self._posted: deque[Callback] = deque()
        self._reader, self.wake_descriptor = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._reader, READ, lambda _: self._drain())
        self._is_ending = False

    def now(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callback) -> Call:
        call = Call(callback, self._cancelled)
        heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._numbers), call))
        return call

    def _cancelled(self) -> None:
        """Forget the calls that were cancelled when they are most: who begins and ends a lot makes a lot of them."""
        self._cancelled_count += 1
        if self._cancelled_count > max(_FEW_CALLS, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled_count = 0

    def post(self, callback: Callback) -> None:
        """Call soon; safe in another thread."""
        self._posted.append(callback)
        self.wake()

    def wake(self) -> None:
        """End the wait; safe in a signal handler and in another thread."""
        try:
            os.write(self.wake_descriptor, b"\0")
        except (BlockingIOError, OSError):
            return  # the pipe is full, and the wait ends anyway; or the loop is closed

    def watch(self, file: Any, events: int, callback: Callable[[int], None]) -> None:
        """Call when a descriptor, or an object that has one, is ready for ``events``; for 0 never."""
        key = self._selector.get_map().get(file)
        if not events:
            if key is not None:
                self._selector.unregister(file)
        elif key is None:
            self._selector.register(file, events, callback)
        elif key.events != events or key.data != callback:
            self._selector.modify(file, events, callback)

    def run(self, is_done: Callable[[], bool]) -> None:
        """Wait and call until it is done, which is asked after each round."""
        while not is_done():
            self._round()

    def run_for(self, seconds: float, is_done: Callable[[], bool]) -> None:
        """The same, for some time at most."""
        over: list[bool] = []
        call = self.call_later(seconds, lambda: over.append(True))
        self.run(lambda: bool(over) or is_done())
        call.cancel()

    def close(self) -> None:
        """Give the descriptors back."""
        self._selector.close()
        os.close(self._reader)
        os.close(self.wake_descriptor)

    def _round(self) -> None:
        for key, events in self._selector.select(self._seconds()):
            key.data(events)
        for _ in range(len(self._posted)):  # what they post is for the next round
            self._posted.popleft()()
        now = time.monotonic()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].callback is None):
            if (callback := self._pop()) is not None:
                callback()

    def _pop(self) -> Callback | None:
        """Take the next call from the heap: what it calls, None where it was cancelled."""
        call = heapq.heappop(self._heap)[2]
        callback, call.callback = call.callback, None
        if callback is None:
            self._cancelled_count -= 1
        return callback

    def _seconds(self) -> float | None:
        while self._heap and self._heap[0][2].callback is None:
            self._pop()
        if self._posted:
            return 0
        return max(self._heap[0][0] - time.monotonic(), 0) if self._heap else None

    def _drain(self) -> None:
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            return


class Background:
    """Does what would block the loop in threads, few at once, and tells the loop of the results.

    Args:
        loop: is told.
        most: how many at once.
    """

    def __init__(self, loop: Loop, most: int = 32) -> None:
        self._loop = loop
        self._most = most
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether no more can be begun now."""
        return self._count >= self._most

    def run(self, work: Callable[[], Callback]) -> None:
        """Do some work in a thread; the loop then calls what it returns, and fails when the thread has failed."""
        self._count += 1

        def done(callback: Callback) -> None:
            self._count -= 1
            callback()

        def run() -> None:
            callback = _fail
            try:
                callback = work()
            finally:
                self._loop.post(lambda: done(callback))

        self._start(run)

    def _start(self, run: Callback) -> None:
        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:  # the system has none left, or no memory for one
            self._loop.call_later(_NO_THREAD_SECONDS, lambda: self._start(run))


def _fail() -> None:
    raise RuntimeError("a thread of this program has failed")
