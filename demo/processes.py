"""Stops all processes that the demo has started, by their ids, even if their parent has changed.

The sub-updater outlives the client that started it. On Linux, a process can become the subreaper of its descendants.
Thus all processes that the demo has started stay below it in the process tree, and can be found there.
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
    """Become the subreaper, the new parent of every descendant whose parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(own: set[int]) -> None:
    """Reap adopted processes that have ended, which otherwise still count as running.

    Args:
        own: the children that are waited for elsewhere.
    """
    for pid in _children_of(os.getpid()) - own:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def end_descendants() -> None:
    """Stop all descendants of this process by SIGTERM, then SIGKILL; return when none is left or at a time limit."""
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
    """Every visible process of this machine, and its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # the name of the program is in brackets and may contain any characters, including brackets
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                yield int(entry.name), int(fields[1])


class StopSignals:
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into KeyboardInterrupt, and ignores all later ones.

    The same Ctrl-C can arrive from the terminal and from make; the second one must not interrupt the cleanup.
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
        """Ignore all further signals."""
        self._is_stopping = True

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Delay signals until an object that needs cleanup has been created completely."""
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
