"""An event loop: one thread that waits for descriptors and timers, and takes calls from other threads."""

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
"""The number of cancelled calls that may remain in the heap."""


class Call:
    """A scheduled call; see ``protocol.ports.Timer``.

    Args:
        callback: the function to call.
        cancelled: called if the call is cancelled.
    """

    def __init__(self, callback: Callback, cancelled: Callback) -> None:
        self.callback: Callback | None = callback
        self._cancelled = cancelled

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._cancelled()


class Loop:
    """Runs callbacks when a descriptor is ready or a timer expires.

    A descriptor has one callback for both directions; it is called with the events that are ready.
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
        """Remove cancelled calls once they are the majority: many short connections would leave many of them."""
        self._cancelled_count += 1
        if self._cancelled_count > max(_FEW_CALLS, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled_count = 0

    def post(self, callback: Callback) -> None:
        """Call in the next round; safe from other threads."""
        self._posted.append(callback)
        self.wake()

    def wake(self) -> None:
        """End the wait; safe in signal handlers and from other threads."""
        try:
            os.write(self.wake_descriptor, b"\0")
        except (BlockingIOError, OSError):
            return  # the pipe is full, and the wait ends anyway; or the loop is closed

    def watch(self, file: Any, events: int, callback: Callable[[int], None]) -> None:
        """Call when a descriptor, or an object with one, is ready for ``events``; 0 stops watching."""
        key = self._selector.get_map().get(file)
        if not events:
            if key is not None:
                self._selector.unregister(file)
        elif key is None:
            self._selector.register(file, events, callback)
        elif key.events != events or key.data != callback:
            self._selector.modify(file, events, callback)

    def run(self, is_done: Callable[[], bool]) -> None:
        """Run callbacks until ``is_done`` returns true, which is checked after each round."""
        while not is_done():
            self._round()

    def run_for(self, seconds: float, is_done: Callable[[], bool]) -> None:
        """As ``run``, with a time limit."""
        over: list[bool] = []
        call = self.call_later(seconds, lambda: over.append(True))
        self.run(lambda: bool(over) or is_done())
        call.cancel()

    def close(self) -> None:
        """Close the descriptors."""
        self._selector.close()
        os.close(self._reader)
        os.close(self.wake_descriptor)

    def _round(self) -> None:
        for key, events in self._selector.select(self._seconds()):
            key.data(events)
        for _ in range(len(self._posted)):  # those that they post wait for the next round
            self._posted.popleft()()
        now = time.monotonic()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].callback is None):
            if (callback := self._pop()) is not None:
                callback()

    def _pop(self) -> Callback | None:
        """Remove the next call from the heap; returns its callback, None if it was cancelled."""
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
    """Runs blocking work in a limited number of threads, and passes the results to the loop.

    Args:
        loop: the loop that gets the results.
        most: the maximum number of threads.
    """

    def __init__(self, loop: Loop, most: int = 32) -> None:
        self._loop = loop
        self._most = most
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether the limit of threads has been reached."""
        return self._count >= self._most

    def run(self, work: Callable[[], Callback]) -> None:
        """Run a function in a thread; the loop then calls the callback it returns, or fails if the function raised."""
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
        except RuntimeError:  # too many threads, or no memory
            self._loop.call_later(_NO_THREAD_SECONDS, lambda: self._start(run))


def _fail() -> None:
    raise RuntimeError("a thread of this program has failed")
