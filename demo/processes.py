"""What the demo has started, it ends: each process by its id, whoever its parent is by then.

The sub-updater outlives the client that started it. On Linux a process may ask to adopt what its descendants leave
behind; so everything that the demo set going stays below it in the tree of processes, and can be found there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 2.0
LONGEST_SECONDS = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(own: set[int]) -> None:
    """Take note of adopted processes that have ended; until then they still count as running.

    Args:
        own: the children that somebody else waits for.
    """
    for pid in _children_of(os.getpid()) - own:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def end_descendants() -> None:
    """End everything that this process has set going: first politely, then not; return when nothing is left."""
    begin = time.monotonic()
    asked: set[int] = set()
    while left := _running_descendants():
        waited = time.monotonic() - begin
        if waited > LONGEST_SECONDS:
            return
        number = signal.SIGKILL if waited > GRACE_SECONDS else signal.SIGTERM
        for pid in left if number is signal.SIGKILL else left - asked:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        asked |= left
        time.sleep(0.02)


def _running_descendants() -> set[int]:
    reap_orphans(set())
    found: set[int] = set()
    queue = [os.getpid()]
    while queue:
        children = _children_of(queue.pop())
        queue.extend(children - found)
        found |= children
    return found


def _children_of(parent: int) -> set[int]:
    return {pid for pid, its_parent in _parents() if its_parent == parent}


def _parents() -> Iterator[tuple[int, int]]:
    """Every process of this machine that can be seen, and its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # the name of the program stands in brackets and may hold anything, brackets too
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                yield int(entry.name), int(fields[1])


class StopSignals:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into KeyboardInterrupt, and passes over all that follow.

    The same Ctrl-C may come from the terminal and from make; a second one must not cut the cleaning short.
    """

    def __init__(self) -> None:
        self._is_stopping = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            raise KeyboardInterrupt

    def pass_over(self) -> None:
        """From now on there is nothing left to stop."""
        self._is_stopping = True

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Let a signal wait until something is whole that must be taken apart again."""
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
