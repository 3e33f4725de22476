"""A small pool of threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]


class Workers:
    """Threads that are started on demand and end after they have been idle for a while.

    The thread that became idle last gets the next task. So a process with little to do has few threads, and needs few
    of the connections and little of the memory that each of them uses.

    Args:
        most: the maximum number of threads.
        name: their name, for debuggers.
        idle_seconds: how long an idle thread waits before it ends.
    """

    def __init__(self, most: int, name: str, *, idle_seconds: float = 60.0) -> None:
        self._most = most
        self._name = name
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._waiting: deque[Work] = deque()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._is_closed = False

    def submit(self, work: Work) -> None:
        """Run a task, which must not raise, as soon as a thread is free. After ``close`` it is discarded."""
        with self._lock:
            if self._is_closed:
                return
            if self._idle:
                self._idle.pop().give(work)
            elif len(self._all) < self._most:
                worker = _Worker(self, work, self._name)
                self._all.add(worker)
                worker.start()
            else:
                self._waiting.append(work)

    def close(self) -> None:
        """Discard the tasks that have not begun, and wait for the others."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            while self._idle:
                self._idle.pop().give(None)
            left = list(self._all)
        for worker in left:
            worker.join()

    def next_for(self, worker: _Worker) -> Work | None:
        """Return the next task of a worker, which has finished the previous one; None: it must end."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._is_closed:
                return None
            self._idle.append(worker)
        if not worker.given.acquire(timeout=self._idle_seconds):
            with self._lock:
                if worker in self._idle:
                    self._idle.remove(worker)
                    self._all.discard(worker)
                    return None
            worker.given.acquire()  # it was given a task at the last moment
        return worker.work


class _Worker(threading.Thread):
    """One thread and its current task."""

    def __init__(self, workers: Workers, work: Work, name: str) -> None:
        super().__init__(name=name)
        self._workers = workers
        self.work: Work | None = work
        self.given = threading.Lock()
        self.given.acquire()

    def give(self, work: Work | None) -> None:
        """Wake the thread to run a task, or to end."""
        self.work = work
        self.given.release()

    def run(self) -> None:
        """Run the tasks given until the thread is to end."""
        work = self.work
        while work is not None:
            work()
            work = self.work = None  # keep no reference to the task while idle
            work = self._workers.next_for(self)
