"""Finds the processes of a shell: its session, its descendants, and orphans that this process has adopted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


class Processes:
    """The processes below this one, in ``/proc``."""

    def of_shell(self, shell: int, mark: bytes) -> set[int]:
        """The running processes of a shell.

        Args:
            shell: its pid, which is also its session ID.
            mark: a variable in its environment, with the terminating NUL byte.
        """
        parents, sessions = self._table()
        found = {pid for pid, session in sessions.items() if session == shell}
        ours = os.getpid()
        found |= {
            pid for pid, parent in parents.items() if parent == ours and pid not in found and self._has(pid, mark)
        }
        return _with_descendants(found, parents)

    def left(self, beginning: bytes) -> set[int]:
        """The running processes whose environment has such a variable, and their descendants, without our ancestors."""
        parents, _ = self._table()
        ours, pid = {os.getpid()}, os.getpid()
        while (pid := parents.get(pid, 0)) and pid not in ours:
            ours.add(pid)
        found = {pid for pid in parents if pid not in ours and self._has(pid, beginning)}
        return _with_descendants(found, parents) - ours

    def signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Send a signal; after SIGHUP, also SIGCONT, so that stopped processes can handle it."""
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
                if number == signal.SIGHUP:
                    os.kill(pid, signal.SIGCONT)

    def reap(self, but: set[int]) -> None:
        """Reap adopted orphans, but not these children."""
        for pid in self._children() - but:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def kill_children(self) -> None:
        """Kill adopted orphans that can't be attributed to a shell; call this only when no shell is running."""
        self.signal(self._children(), signal.SIGKILL)

    def _children(self) -> set[int]:
        return {pid for pid, parent in self._table(is_dead_wanted=True)[0].items() if parent == os.getpid()}

    def _table(self, *, is_dead_wanted: bool = False) -> tuple[dict[int, int], dict[int, int]]:
        """The parents and the sessions of all processes, by pid."""
        parents, sessions = {}, {}
        for name in os.listdir(_PROC):
            if name.isdigit():
                with suppress(OSError, ValueError, IndexError):
                    fields = (_PROC / name / "stat").read_bytes().rpartition(b")")[2].split()
                    if is_dead_wanted or fields[0] not in (b"Z", b"X"):
                        parents[int(name)], sessions[int(name)] = int(fields[1]), int(fields[3])
        return parents, sessions

    def _has(self, pid: int, mark: bytes) -> bool:
        """Whether a process has an environment variable that begins with the mark."""
        try:
            return b"\0" + mark in b"\0" + (_PROC / str(pid) / "environ").read_bytes()
        except OSError:
            return False


def _with_descendants(found: set[int], parents: Mapping[int, int]) -> set[int]:
    found, todo = set(found), list(found)
    while todo:
        parent = todo.pop()
        more = {pid for pid, its in parents.items() if its == parent} - found
        found |= more
        todo += more
    return found
