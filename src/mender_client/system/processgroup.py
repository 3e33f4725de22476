"""Finds processes by session, process group or directory, and ends them with SIGTERM, then SIGKILL."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from mender_client.core.text import printable

_PAUSE_SECONDS = 0.05
_KILL_SECONDS = 10.0
"""How long to wait after SIGKILL: a process may hang in the kernel."""

_PROC = "/proc"
_STATE, _GROUP, _SESSION, _TERMINAL = 0, 2, 3, 4
"""The indexes of the fields after the name in ``/proc/PID/stat``."""
_LONGEST_INTERPRETER = 3
"""The words of a command line with an interpreter, its option, and the program."""

Find = Callable[[], Mapping[int, str]]
"""Finds processes; returns their names by pid."""


def members(group: int) -> dict[int, str]:
    """The processes of a process group and of the session with the same number."""
    number = b"%d" % group

    def may_belong(pid: int) -> bool:
        """A cheap check without ``/proc``, since every call of a script checks all processes."""
        try:
            return group in (os.getpgid(pid), os.getsid(pid))
        except ProcessLookupError:
            return False
        except OSError:  # denied by a security module
            return True

    return {pid: _text(name) for pid, name, fields in _running(may_belong) if number in fields[_GROUP : _SESSION + 1]}


def users_of(directory: Path) -> dict[int, str]:
    """The processes of this user or of root whose working directory is this directory or below it.

    A process with a terminal is left out: it is an interactive session.
    """
    found: dict[int, str] = {}
    for pid, name, fields in _running():
        with contextlib.suppress(OSError):  # it has exited, or belongs to another user
            place = f"{_PROC}/{pid}"
            is_inside = f"{os.readlink(f'{place}/cwd').removesuffix(' (deleted)')}/".startswith(f"{directory}/")
            is_ours = os.stat(place).st_uid in (0, os.geteuid()) and pid != os.getpid()
            if is_inside and is_ours and fields[_TERMINAL] == b"0":
                found[pid] = _text(name)
    return found


def runners_of(directory: Path) -> dict[int, str]:
    """The session leaders that run a program from this directory, and all other processes in their sessions.

    A leader with a terminal is left out: it is an interactive session.
    """
    running = list(_running())
    sessions = {
        int(fields[_SESSION])
        for pid, _, fields in running
        if pid == int(fields[_SESSION]) and fields[_TERMINAL] == b"0" and _is_from(directory, pid)
    }
    return {
        pid: _text(name) for pid, name, fields in running if int(fields[_SESSION]) in sessions and pid != os.getpid()
    }


def _is_from(directory: Path, pid: int) -> bool:
    """Whether a process of this user or of root runs a program, or a script, from the directory."""
    with contextlib.suppress(OSError):
        words = Path(f"{_PROC}/{pid}/cmdline").read_bytes().split(b"\0")[:_LONGEST_INTERPRETER]
        is_ours = os.stat(f"{_PROC}/{pid}").st_uid in (0, os.geteuid())
        return is_ours and any(Path(os.fsdecode(word)).parent == directory for word in words if word)
    return False


def _running(may_belong: Callable[[int], bool] = lambda _: True) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """Pid, name and further fields of the running processes that pass the check."""
    with contextlib.suppress(OSError):  # not mounted
        for pid in filter(str.isdigit, os.listdir(_PROC)):
            if not may_belong(int(pid)):
                continue
            # the name in parentheses may contain any character
            start, _, end = _stat(pid).rpartition(b")")
            fields = end.split(None, _TERMINAL + 1)
            if fields and fields[_STATE] not in b"ZX":
                yield int(pid), start.partition(b"(")[2], fields


def _stat(pid: str) -> bytes:
    try:
        descriptor = os.open(f"{_PROC}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:  # it has just exited
        return b""
    finally:
        os.close(descriptor)


def _text(name: bytes) -> str:
    return printable(name.decode("utf-8", "replace"))


def end_all(find: Find, *, grace_seconds: float, pause: Callable[[float], object] = time.sleep) -> bool:
    """End processes with SIGTERM, and after the grace time with SIGKILL, until none is found.

    Args:
        find: finds them; called repeatedly.
        grace_seconds: the time between SIGTERM and SIGKILL.
        pause: waits for the given number of seconds.

    Returns:
        Whether all have ended.
    """
    if not _ask_to_end(find, grace_seconds, pause):
        end = time.monotonic() + _KILL_SECONDS
        while found := find():  # including newly forked ones
            if time.monotonic() > end:
                return False
            _signal(found, signal.SIGKILL)
            pause(_PAUSE_SECONDS)
    return True


def _ask_to_end(find: Find, seconds: float, pause: Callable[[float], object]) -> bool:
    """Send SIGTERM once to each process, including those that appear meanwhile; False if any remain at the end."""
    end = time.monotonic() + seconds
    wait = 0.001
    asked = set[int]()
    while found := find():
        if time.monotonic() > end:
            return False
        _signal(found.keys() - asked, signal.SIGTERM)
        asked |= found.keys()
        pause(wait)
        wait = min(wait * 2, _PAUSE_SECONDS)
    return True


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def listed(found: Mapping[int, str]) -> str:
    """A list of processes for a message."""
    return ", ".join(f"{name} (pid {pid})" for pid, name in list(found.items())[:10])
