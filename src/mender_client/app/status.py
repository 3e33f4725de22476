"""``status``: what the client is doing and why, from what is on disk; it disturbs nobody and works after a crash."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mender_client import __version__
from mender_client.core.machine import State
from mender_client.core.record import Record, Update
from mender_client.core.wire import printable
from mender_client.system.files import DaemonLock, LockFile
from mender_client.system.journal import JsonJournal
from mender_client.system.process import SystemProcesses

from .exitcodes import ExitCode
from .paths import Paths

_LONGEST_LINE = 4000
_EXPLANATIONS = {
    State.DOWNLOADING: "the Artifact is being fetched and proven",
    State.PROVEN: "the Artifact is proven; the server is asked whether the update is still wanted",
    State.HANDING_OVER: "the Artifact is being handed to the sub-updater",
    State.IN_HANDS: "the sub-updater has the Artifact; the client waits for its report and for the lock to go",
    State.SETTLING: "the lock is gone without a report; artifact_info tells how it went",
}


@dataclass(frozen=True, slots=True)
class Status:
    """What is to be seen of the client.

    Attributes:
        version: of this program.
        daemon_pid: the running daemon's process id, None when none runs.
        activity: what the client is doing, and for what it waits, in words.
        since: since when, RFC 3339; None when that is not known.
        update: the update under way as the journal has it, None for none.
        lock: the deployment id in the lock file, None when there is no lock.
        sub_updater_pid: the process that works on it, None when none is to be seen.
        unreported: how many messages the server has not acknowledged.
        last_outcome: the last deployment that ended here, None for none.
        damaged_journals: documents that could not be used and were set aside.
        journal_problem: why the present one can't be used; empty when it can.
        identity_change: how the device asks as something else than what the server accepted; empty when it doesn't.
    """

    version: str
    daemon_pid: int | None
    activity: str
    since: str | None
    update: dict[str, Any] | None
    lock: str | None
    sub_updater_pid: int | None
    unreported: int
    last_outcome: dict[str, str] | None
    damaged_journals: list[str]
    journal_problem: str
    identity_change: str


def show_status(paths: Paths, *, is_json: bool) -> ExitCode:
    """Print the status.

    Args:
        paths: where everything lies.
        is_json: for programs.

    Raises:
        StorageError: the journal can't be read.
    """
    status = look(paths)
    print(json.dumps(asdict(status), indent=1) if is_json else "\n".join(render(status)))
    return ExitCode.DONE


def look(paths: Paths) -> Status:
    """Gather the status from disk and from the kernel.

    Raises:
        StorageError: the journal can't be read.
    """
    journal = JsonJournal(paths.journal)
    record, problem = journal.peek()
    lock = LockFile(paths.update_lock).read()
    update = record.update
    pid = _sub_updater_pid(lock, update)
    daemon = DaemonLock(paths.daemon_lock).holder()
    activity, since = _activity(record, lock, pid, is_daemon_running=daemon is not None)
    last = record.outcomes[-1] if record.outcomes else None
    return Status(
        version=__version__,
        daemon_pid=daemon,
        activity=activity,
        since=since,
        update=None
        if update is None
        else {
            "deployment_id": update.deployment_id,
            "artifact_name": update.artifact_name,
            "state": update.state.value,
            "since": update.since,
            "total_bytes": update.promise.total,
        },
        lock=lock,
        sub_updater_pid=pid,
        unreported=len(record.outbox),
        last_outcome=None
        if last is None
        else {
            "deployment_id": last.deployment_id,
            "artifact_name": last.artifact_name,
            "status": last.status.value,
            "at": last.at,
        },
        damaged_journals=[str(path) for path in journal.set_aside()],
        journal_problem=problem,
        identity_change=record.identity_change,
    )


def _sub_updater_pid(lock: str | None, update: Update | None) -> int | None:
    if not lock:
        return None
    processes = SystemProcesses(Path("/dev/null"))
    noted = update.hands if update is not None and update.deployment_id == lock else None
    if noted is not None and processes.is_alive(noted):
        return noted.pid
    found = processes.find("MENDER_DEPLOYMENT_ID", lock)
    return None if found is None else found.pid


def _activity(record: Record, lock: str | None, pid: int | None, *, is_daemon_running: bool) -> tuple[str, str | None]:
    update = record.update
    if lock is not None and record.outcome_of(lock) is not None:
        return "the sub-updater has reported; the server must hear it and the lock must go", None
    if lock is not None:
        hands = (
            f"it runs (pid {pid})" if pid is not None else "no process of it is to be seen: between two boots, or dead"
        )
        since = update.since if update is not None and update.deployment_id == lock else None
        return f"waiting for the sub-updater to report and to remove the lock; {hands}", since
    if update is not None:
        stopped = "" if is_daemon_running else "; goes on when the daemon runs"
        return _EXPLANATIONS[update.state] + stopped, update.since
    return "waiting for the next poll" if is_daemon_running else "nothing: the daemon does not run", None


def render(status: Status) -> list[str]:
    """The lines for a person."""
    lines = [
        f"client         {status.version}, "
        + ("not running" if status.daemon_pid is None else f"pid {status.daemon_pid}"),
        f"doing          {status.activity}" + (f", since {status.since}" if status.since else ""),
    ]
    if status.update is not None:
        lines.append(
            f"update         {status.update['artifact_name']} (deployment {status.update['deployment_id']}), "
            f"{status.update['state']}"
        )
    if status.lock is not None:
        lines.append(f"lock           {status.lock or 'update.lock holds no deployment id'}")
        if status.sub_updater_pid is None:
            lines.append(
                "               if nothing will come any more: 'mender-python-client report --failure' ends it"
            )
    if status.journal_problem:
        lines.append(f"journal        can't be used: {status.journal_problem}; the client will set it aside")
    if status.identity_change:
        lines.append(f"identity       {status.identity_change}")
    if status.unreported:
        lines.append(f"unreported     {status.unreported} message(s) that the server has not acknowledged")
    if status.last_outcome is not None:
        last = status.last_outcome
        what = (
            f"{last['artifact_name']} (deployment {last['deployment_id']})"
            if last["artifact_name"]
            else last["deployment_id"]
        )
        lines.append(f"last outcome   {last['status']} of {what} at {last['at']}")
    lines += [
        f"set aside      {path}: a damaged journal, for you to look at or remove" for path in status.damaged_journals
    ]
    return [printable(line, limit=_LONGEST_LINE) for line in lines]
