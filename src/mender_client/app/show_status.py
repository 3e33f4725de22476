"""Prints the status: once or repeatedly, as lines for people or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone

from mender_client.core.client_status import STOPPED, Authorisation, ClientStatus
from mender_client.core.sub_updater_state import remedy_of_absence
from mender_client.core.text import amount, printable

from .command import PROGRAM, completed
from .exitcodes import ExitCode
from .formatting import ago, utc
from .paths import Paths
from .status import Status, as_document, look
from .waiting import gate_lines

_FOLLOW_SECONDS = 1.0
_LONGEST_LINE = 4000


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


def _text(status: Status, command: str) -> str:
    return "\n".join(render(status, now=datetime.now(timezone.utc), command=command))


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
