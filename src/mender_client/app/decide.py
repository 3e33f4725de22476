"""``pause``, ``continue``, ``approve``, ``postpone`` and ``refuse``: operators' decisions about updates.

The decision is stored in the state file, so this works without a daemon; a running daemon is signalled to act on it.
"""

from __future__ import annotations

import os
import pwd
import re
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from mender_client.client.decisions import UpdateDecisions
from mender_client.errors import Diagnostic, NothingToDecideError, StorageError
from mender_client.system.clock import SystemClock
from mender_client.system.files import AS_CLIENT, make_directory
from mender_client.system.journal import JsonJournal
from mender_client.system.locks import DaemonLock

from .exitcodes import ExitCode
from .paths import Paths

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_LONGEST = timedelta(days=366)


def decide(paths: Paths, decision: Callable[[UpdateDecisions], str]) -> ExitCode:
    """Store a decision, print it, and wake the daemon.

    Args:
        paths: the device's files.
        decision: makes and stores the decision.

    Returns:
        DONE when it is stored, NOTHING when there is no update to decide about.

    Raises:
        StorageError: it can't be stored.
    """
    try:
        print(store(paths, decision), flush=True)
    except NothingToDecideError as error:
        print(error.diagnostic, file=sys.stderr)
        return ExitCode.NOTHING
    if (problem := wake(paths)) is not None:
        print(problem, file=sys.stderr)
    return ExitCode.DONE


def store(paths: Paths, decision: Callable[[UpdateDecisions], str]) -> str:
    """Store a decision; returns what was decided.

    Args:
        paths: the device's files.
        decision: makes and stores the decision.

    Raises:
        NothingToDecideError: there is no update to decide about.
        StorageError: it can't be stored.
    """
    clock = SystemClock()
    try:
        make_directory(paths.data)
        return decision(UpdateDecisions(clock=clock, journal=JsonJournal(paths.journal)))
    except StorageError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        raise StorageError("STO15", f"cannot decide about updates: {error.text}", remedy=AS_CLIENT) from error
    finally:
        clock.close()


def wake(paths: Paths) -> Diagnostic | None:
    """Have the daemon act on a decision now; if it can't be signalled, it does so at its next update poll.

    Returns:
        Why it can't be signalled; None when it was, or isn't running.
    """
    pid = DaemonLock(paths.daemon_lock).holder()
    if pid is None:
        return None
    try:
        if paths.is_of_gateway:
            from .gateway.requests import leave_request

            with suppress(StorageError):  # without the request, every device polls
                leave_request(paths, signal.SIGUSR1)
        os.kill(pid, signal.SIGUSR1)
    except ProcessLookupError:
        return None  # it has just ended, and will read the decision when it starts
    except OSError as error:
        text = f"the daemon (pid {pid}) cannot be signalled, and acts on this at its next update poll: {error.strerror}"
        return Diagnostic("DMN07", text, "run this as the daemon's user, or as root")
    return None


def person(environment: Mapping[str, str]) -> str:
    """The user who runs this command: the one who called sudo, or else the owner of this process."""
    name = environment.get("SUDO_USER", "").strip()
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def parse_end(text: str, now: datetime) -> datetime:
    """Parse the end of a postponement.

    Args:
        text: a duration such as ``4h``, ``90m``, ``2d`` or ``1w``, a time of day such as ``22:00``, or a date and time
            such as ``2026-12-24T22:00``, in the local time zone unless it names one.
        now: the current time, timezone-aware.

    Raises:
        ValueError: it is none of these, in the past, or more than a year in the future.
    """
    if match := re.fullmatch(r"([0-9]{1,9})\s*(m|min|h|d|w)", text.strip()):
        end = now + timedelta(seconds=min(int(match[1]) * _UNITS[match[2][0]], 2 * _LONGEST.total_seconds()))
    elif match := re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text.strip()):
        end = _local(now.replace(tzinfo=None), hour=int(match[1]), minute=int(match[2]))
        if end <= now:
            end = _local(now.replace(tzinfo=None) + timedelta(days=1), hour=int(match[1]), minute=int(match[2]))
    else:
        try:
            end = datetime.fromisoformat(text.strip())
            end = end if end.tzinfo is not None else end.astimezone()
        except (ValueError, OverflowError):
            text = f"{text!r:.80} is neither a duration such as 4h or 2d nor a time such as 22:00"
            raise ValueError(text) from None
    if not now < end <= now + _LONGEST:
        raise ValueError(f"{text!r:.80} is not between now and a year from now")
    return end


def _local(day: datetime, *, hour: int, minute: int) -> datetime:
    """A time of that day in the device's time zone, with the offset that applies then."""
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0).astimezone()
