"""``status``: what the client is doing and why, from the files on disk; also works after a crash."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from mender_client import TYPE_CHECKING, __version__
from mender_client.core.client_status import STOPPED, WAITING, Authorisation, ClientStatus, headline
from mender_client.core.holding import AHEAD
from mender_client.core.keyvalue import parse_key_value_file
from mender_client.core.machine import EXPLANATIONS, State
from mender_client.core.model import Provides
from mender_client.core.record import Record
from mender_client.core.sub_updater_state import SubUpdaterState, remedy_of_absence
from mender_client.core.text import amount, printable
from mender_client.dataclass import asdict, dataclass
from mender_client.errors import StorageError
from mender_client.system.files import DaemonLock, LockFile, read_text
from mender_client.system.snapshot import damaged_files, peek_record, read_client_status

from .command import PROGRAM, completed
from .config import Config, examine
from .config.settings import build_config
from .exitcodes import ExitCode
from .file_checks import configuration_file_problems
from .formatting import ago, for_programs, utc
from .installer import installer_reason
from .paths import Paths
from .sub_updater_process import look_at_sub_updater, stuck_sub_updater_pid
from .waiting import approval_documents, gate_document, gate_lines, hold_document

if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
"""The version of ``status --json``; incremented when something is renamed, removed or changes its meaning."""

_TIMES = frozenset(
    {
        "since",
        "at",
        "client_at",
        "started",
        "authorised_since",
        "contact",
        "polled",
        "next_poll",
        "next_inventory",
        "until",
    }
)
_FOLLOW_SECONDS = 1.0
_LONGEST_LINE = 4000


@dataclass(frozen=True)
class Status:
    """The status of the client.

    Attributes:
        version: the version of this program.
        artifact_name: the name of the installed Artifact; empty when it is not known.
        device_type: the device type; empty when it is not known.
        installer: what installs updates, and why.
        daemon_pid: the daemon's process id; None when it is not running.
        activity: what the client is doing or waiting for, for people.
        since: when that began, RFC 3339; None when it is not known.
        update: the update in progress according to the state file; None for none.
        standalone: the standalone update in progress; None for none.
        hold_of_all: the decision that holds all updates; None for none.
        approvals_of_all: the approvals for all updates.
        lock: the deployment id in the lock file; None when there is no lock.
        sub_updater_pid: the sub-updater's process id, even after the end of its deployment; None when none is found.
        unreported: the number of pending reports.
        last_outcome: the outcome of the last deployment; None for none.
        damaged_journals: the damaged state files that were renamed.
        journal_problem: why the state file can't be used; empty when it can.
        identity_change: how the device differs from the one that the server accepted; empty when it does not.
        client: the client status that the daemon wrote last, see ``core.client_status``; None when there is none.
        client_at: when the daemon wrote it, RFC 3339; empty when there is none.
        has_died: whether the daemon ended without recording that it was stopping.
        configuration_problems: the errors of the configuration files, with which the daemon does not start.
    """

    version: str
    artifact_name: str
    device_type: str
    installer: str
    daemon_pid: int | None
    activity: str
    since: str | None
    update: dict[str, Any] | None
    standalone: dict[str, str] | None
    hold_of_all: dict[str, Any] | None
    approvals_of_all: list[dict[str, Any]]
    lock: str | None
    sub_updater_pid: int | None
    unreported: int
    last_outcome: dict[str, str] | None
    damaged_journals: list[str]
    journal_problem: str
    identity_change: str
    client: ClientStatus | None
    client_at: str
    has_died: bool
    configuration_problems: list[str]


def show_status(paths: Paths, *, is_json: bool, command: str = PROGRAM) -> ExitCode:
    """Print the status.

    Args:
        paths: the device's files.
        is_json: print JSON.
        command: the command that calls the program for this device.

    Raises:
        StorageError: the state file can't be read.
    """
    status = look(paths)
    print(json.dumps(as_document(status), indent=1) if is_json else _text(status, command))
    return ExitCode.DONE


def follow_status(
    paths: Paths, *, is_json: bool, command: str = PROGRAM, sleep: Callable[[float], None] = time.sleep
) -> ExitCode:
    """Print the status repeatedly until Ctrl-C: in place on a terminal, elsewhere whenever it has changed.

    Arguments as for ``show_status``.

    Raises:
        StorageError: the state file can't be read.
    """
    is_terminal = sys.stdout.isatty() and not is_json
    last: Status | None = None
    try:
        while True:
            status = look(paths)
            if is_terminal:
                print(f"\x1b[H\x1b[2J{_text(status, command)}", flush=True)
            elif status != last:
                print(json.dumps(as_document(status)) if is_json else f"{_text(status, command)}\n", flush=True)
            last = status
            sleep(_FOLLOW_SECONDS)
    except KeyboardInterrupt:
        return ExitCode.DONE


def as_document(status: Status) -> dict[str, Any]:
    """The status as a JSON document."""
    document: dict[str, Any] = for_programs({"schema": SCHEMA, **asdict(status)}, times=_TIMES)
    if document["client"] is not None:
        document["client"]["download"]["total"] = document["client"]["download"]["total"] or None
    return {**document, "is_locked": status.lock is not None}  # a lock may name no deployment


def _text(status: Status, command: str) -> str:
    return "\n".join(render(status, now=datetime.now(timezone.utc), command=command))


def look(paths: Paths) -> Status:
    """Gather the status from disk and from the kernel.

    Raises:
        StorageError: the state file can't be read.
    """
    # without the file, a program that embeds the client may have passed the settings
    findings = examine(paths.config, paths.fallback_config, is_server_needed=os.path.exists(paths.config))
    config = build_config(findings.values)
    record, problem = peek_record(paths.journal)
    lock = LockFile(paths.update_lock).read()
    update = record.update
    daemon = DaemonLock(paths.daemon_lock).holder()
    state, pid = (None, stuck_sub_updater_pid(record, daemon)) if lock is None else look_at_sub_updater(lock, record)
    client, client_at = read_client_status(paths.status) or (None, "")
    activity, since = _activity(record, lock, state, pid, client, is_daemon_running=daemon is not None)
    last = record.outcomes[-1] if record.outcomes else None
    return Status(
        version=__version__,
        artifact_name=_artifact_name(paths, record),
        device_type=paths.given_device_type or _value(_device_type_file(config, paths), "device_type"),
        installer=installer_reason(config, paths),
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
            "total_bytes": update.remote_object.total,
            "gate": gate_document(update),
            "hold": hold_document(update.decisions),
            "approvals": approval_documents(update.decisions),
        },
        standalone=None
        if record.standalone is None
        else {
            "artifact_name": record.standalone.artifact_name,
            "position": record.standalone.position.value,
            "since": record.standalone.since,
        },
        hold_of_all=hold_document(record.decisions),
        approvals_of_all=approval_documents(record.decisions),
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
            "reason": last.reason,
        },
        damaged_journals=[str(path) for path in damaged_files(paths.journal)],
        journal_problem=problem,
        identity_change=record.identity_change,
        client=client,
        client_at=client_at,
        has_died=client is not None and daemon is None and client.doing not in (STOPPED, State.INSTALLING.value),
        configuration_problems=[str(one) for one in (*configuration_file_problems(paths), *findings.problems)],
    )


def _device_type_file(config: Config, paths: Paths) -> Path:
    return paths.below_root(config.device_type_file) if config.device_type_file else paths.device_type


def _artifact_name(paths: Paths, record: Record) -> str:
    """The name of the installed Artifact, which a read-only artifact_info may lack; empty when it isn't known."""
    return record.provides(Provides("", _value(paths.artifact_info, "artifact_name"))).artifact_name


def _value(file: Path, key: str) -> str:
    """A value of a ``key=value`` file; empty when it isn't there."""
    try:
        return dict(parse_key_value_file(read_text(file))).get(key, "")
    except StorageError:
        return ""


def _activity(
    record: Record,
    lock: str | None,
    state: SubUpdaterState | None,
    pid: int | None,
    client: ClientStatus | None,
    *,
    is_daemon_running: bool,
) -> tuple[str, str | None]:
    update = record.update
    if state is SubUpdaterState.REPORTED:
        stopped = "" if is_daemon_running else "; start the client, which does both"
        return state.value + stopped, None
    if state is not None:
        process = f" (pid {pid})" if pid is not None else ""
        since = update.since if update is not None and update.deployment_id == lock else None
        return f"waiting until update.lock is removed: {state.value}{process}", since
    if update is not None:
        stopped = "" if is_daemon_running else "; continues when the daemon runs"
        what = EXPLANATIONS[update.state] if update.waiting is None else f"waiting {AHEAD[update.waiting.point]}"
        return what + stopped, update.since if update.waiting is None else update.waiting.since
    if (standalone := record.standalone) is not None:
        return standalone.text, standalone.since
    if not is_daemon_running:
        return "nothing: the daemon is not running", None
    if client is not None and client.doing == WAITING:
        return headline(client), client.since
    return "waiting for the next poll", None


def render(status: Status, *, now: datetime, command: str = PROGRAM) -> list[str]:
    """The lines for people; ages are relative to ``now``, and ``command`` calls the program."""
    installed = status.artifact_name or "unknown Artifact"
    lines = [
        ("client", _who(status, now)),
        ("installed", f"{installed}, device type {status.device_type or 'unknown'}"),
        ("updates by", status.installer),
        ("activity", status.activity + ("" if _is_at_gate(status) else _since(status.since, now))),
    ]
    next_poll = status.client.next_poll if status.client is not None and status.daemon_pid is not None else ""
    lines += _of_configuration(status, command)
    lines += _of_update(status)
    lines += gate_lines(
        status.update, status.hold_of_all, status.approvals_of_all, now, next_poll=next_poll, command=command
    )
    lines += _of_lock(status)
    if status.client is not None:
        lines += _of_client(status.client, now, is_running=status.daemon_pid is not None)
    if status.journal_problem:
        lines.append(("state file", f"cannot be used: {status.journal_problem}; the client will rename it"))
    if status.identity_change:
        lines.append(("identity", status.identity_change))
    if status.unreported:
        reports = "1 report" if status.unreported == 1 else f"{status.unreported} reports"
        lines.append(("pending", f"{reports} that the server has not acknowledged"))
    if status.last_outcome is not None:
        lines.append(("last outcome", _outcome(status.last_outcome)))
    lines += [("set aside", f"{path}: a damaged state file; inspect or remove it") for path in status.damaged_journals]
    return [f"{word:<15}{printable(completed(text, command), limit=_LONGEST_LINE)}" for word, text in lines]


def _who(status: Status, now: datetime) -> str:
    client = status.client
    if status.daemon_pid is not None:
        running = client.version if client is not None and client.version else status.version
        other = "" if running == status.version else f" (this program is {status.version})"
        started = _since(client.started, now) if client is not None else ""
        return f"{running}{other}, pid {status.daemon_pid}{started}"
    if client is None:
        return f"{status.version}, not running"
    if status.has_died:
        how = f"it was killed, crashed or lost power after {utc(status.client_at)}{ago(status.client_at, now)}"
        return f"{status.version}, not running; {how}"
    how = "stopped" if client.doing == STOPPED else "started the sub-updater"
    return f"{status.version}, not running; it {how} at {utc(client.since)}{ago(client.since, now)}"


def _is_at_gate(status: Status) -> bool:
    """Whether the update waits at a gate, whose line shows since when."""
    return status.update is not None and status.update["gate"] is not None


def _since(moment: str | None, now: datetime) -> str:
    return f", since {utc(moment)}{ago(moment, now)}" if moment else ""


def _of_configuration(status: Status, command: str) -> list[tuple[str, str]]:
    """The first error; further ones are only counted."""
    if not status.configuration_problems:
        return []
    first, *others = status.configuration_problems
    more = f"; and {len(others)} more, see '{command} config check'" if others else ""
    return [("configuration", first + more)]


def _of_update(status: Status) -> list[tuple[str, str]]:
    update, client = status.update, status.client
    if update is None:
        return []
    lines = [("update", f"{update['artifact_name']} (deployment {update['deployment_id']}), {update['state']}")]
    if client is not None and client.deployment_id == update["deployment_id"] and client.download.done:
        download = client.download
        total = f" of {amount(download.total)} ({100 * download.done // download.total} %)" if download.total else ""
        kept = f", {amount(download.kept)} of it resumed" if download.kept else ""
        reused = f", {amount(download.reused)} of it reused" if download.reused else ""
        rate = f", {amount(download.bytes_per_second)}/s" if download.bytes_per_second else ""
        lines.append(("download", f"{amount(download.done)}{total}{rate}{kept}{reused}"))
    return lines


def _of_lock(status: Status) -> list[tuple[str, str]]:
    if status.lock is None:
        if status.sub_updater_pid is None:
            return []
        return [("sub-updater", f"still running (pid {status.sub_updater_pid}), although its deployment is over")]
    lines = [("lock", status.lock or "update.lock names no deployment")]
    has_reported = status.last_outcome is not None and status.last_outcome["deployment_id"] == status.lock
    if status.sub_updater_pid is None and not has_reported:
        is_known = status.update is not None and status.update["deployment_id"] == status.lock
        lines.append(("", remedy_of_absence(is_known=is_known)))
    return lines


def _when(moment: str, now: datetime) -> str:
    """When something is due, according to a file that may be a minute old."""
    distance = ago(moment, now)
    return "now" if distance.endswith(" ago)") else f"at {utc(moment)}{distance}"


def _of_client(client: ClientStatus, now: datetime, *, is_running: bool) -> list[tuple[str, str]]:
    """The lines about the client status that the daemon wrote."""
    lines = []
    if is_running and client.next_poll:
        lines.append(("next", f"poll {_when(client.next_poll, now)}, inventory {_when(client.next_inventory, now)}"))
    if client.contact:
        lines.append(("server", f"{client.server_url}, last answer at {utc(client.contact)}{ago(client.contact, now)}"))
    else:
        lines.append(("server", "no answer yet"))
    lines.append(("authorisation", _AUTHORISATIONS[client.authorisation] + _since(client.authorised_since, now)))
    failure = client.failure
    if failure.job:
        when = f"at {utc(failure.at)}{ago(failure.at, now)}"
        if failure.in_a_row > 1:
            often = f" {failure.in_a_row} times in a row ({failure.kind}) since {utc(failure.since)}, last {when}"
        elif failure.in_a_row or failure.job == "update":
            often = f" ({failure.kind}) {when}"
        else:
            often = f" ({failure.kind}) {when}, but succeeded later"
        lines.append(("last failure", f"{failure.job} failed{often}: {failure.text}"))
    return lines


_AUTHORISATIONS = {
    Authorisation.UNKNOWN: "unknown",
    Authorisation.ACCEPTED: "accepted",
    Authorisation.WAITING: "pending acceptance, or rejected: the server does not tell which",
}


def _outcome(last: dict[str, str]) -> str:
    name, deployment = last["artifact_name"], last["deployment_id"]
    what = f"{name} (deployment {deployment})" if name else deployment
    because = f": {last['reason']}" if last["reason"] else ""
    return f"{last['status']} of {what} at {utc(last['at'])}{because}"
