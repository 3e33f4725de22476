"""Finds processes by where they belong, and ends them: first asked, then forced."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from mender_client.core.text import printable
from mender_client.dataclass import dataclass

_PAUSE_SECONDS = 0.05
_KILL_SECONDS = 10.0
"""How long SIGKILL is given: a process that hangs in the kernel is left there."""

Find = Callable[[], Mapping[int, str]]
"""Finds processes: their names by pid."""


@dataclass(frozen=True)
class _Status:
    """What the kernel says of a process in ``/proc/PID/stat``."""

    name: str
    group: int
    session: int
    has_terminal: bool


def members(group: int, proc: Path = Path("/proc")) -> dict[int, str]:
    """The processes of a process group and of the session of the same number."""
    return {pid: one.name for pid, one in _running(proc) if group in (one.group, one.session)}


def users_of(directory: Path, proc: Path = Path("/proc")) -> dict[int, str]:
    """The processes, of this user or of root, that work in this directory or below.

    One with a terminal is left out: it is somebody who has a look.
    """
    found: dict[int, str] = {}
    for pid, one in _running(proc):
        with contextlib.suppress(OSError):  # it has exited, or belongs to another user
            place = proc / str(pid)
            is_inside = Path(os.readlink(place / "cwd").removesuffix(" (deleted)")).is_relative_to(directory)
            is_ours = place.stat().st_uid in (0, os.geteuid()) and pid != os.getpid()
            if is_inside and is_ours and not one.has_terminal:
                found[pid] = one.name
    return found


def _running(proc: Path) -> Iterator[tuple[int, _Status]]:
    with contextlib.suppress(OSError):  # not mounted
        for name in os.listdir(proc):
            if name.isdigit() and (status := _status(proc / name / "stat")):
                yield int(name), status


def _status(path: Path) -> _Status | None:
    try:
        # the name in parentheses may hold anything; the fields after it are plain
        start, _, end = path.read_text("utf-8", "replace").rpartition(")")
    except OSError:
        return None
    state, _, group, session, terminal = end.split()[:5]
    name = printable(start.partition("(")[2])
    return None if state in "ZX" else _Status(name, int(group), int(session), terminal != "0")


def end_all(find: Find, *, grace_seconds: float, pause: Callable[[float], object] = time.sleep) -> bool:
    """End processes by SIGTERM, and by SIGKILL what is still there after a while, until none is found any more.

    Args:
        find: finds them; asked again and again.
        grace_seconds: from SIGTERM to SIGKILL.
        pause: waits for so many seconds.

    Returns:
        Whether none is left.
    """
    if not _ask_to_end(find, grace_seconds, pause):
        end = time.monotonic() + _KILL_SECONDS
        while found := find():  # what is forking meanwhile, too
            if time.monotonic() > end:
                return False
            _signal(found, signal.SIGKILL)
            pause(_PAUSE_SECONDS)
    return True


def _ask_to_end(find: Find, seconds: float, pause: Callable[[float], object]) -> bool:
    """Send SIGTERM to each process once, to those that appear meanwhile, too; False when some are left in the end."""
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
    """Processes for a message."""
    return ", ".join(f"{name} (pid {pid})" for pid, name in list(found.items())[:10])
