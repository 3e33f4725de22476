"""A small pool of threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]


class Workers:
    """Threads that are started when there is something to do, and end when there was nothing for a while.

    Who has waited for the shortest time is given what comes next. So a process that has little to do has few threads,
    and few of the connections and the memory that each of them needs.

    Args:
        most: how many there are at once at most.
        name: what they are called, for debuggers.
        idle_seconds: how long a thread waits for more to do before it ends.
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
        """Have it done, as soon as one is free; it raises nothing. After ``close`` it is forgotten."""
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
        """Forget what hasn't begun, and wait for the rest."""
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            while self._idle:
                self._idle.pop().give(None)
            left = list(self._all)
        for worker in left:
            worker.join()

    def next_for(self, worker: _Worker) -> Work | None:
        """What a worker does next; None to end. Called by the worker, which has done what it was given."""
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
            worker.given.acquire()  # it was given something at the last moment
        return worker.work


class _Worker(threading.Thread):
    """One thread, and what it is given."""

    def __init__(self, workers: Workers, work: Work, name: str) -> None:
        super().__init__(name=name)
        self._workers = workers
        self.work: Work | None = work
        self.given = threading.Lock()
        self.given.acquire()

    def give(self, work: Work | None) -> None:
        """Wake it to do this, or to end."""
        self.work = work
        self.given.release()

    def run(self) -> None:
        """Do what it is given until it is to end."""
        work = self.work
        while work is not None:
            work()
            work = self.work = None  # nothing of it is kept while there is nothing to do
            work = self._workers.next_for(self)
