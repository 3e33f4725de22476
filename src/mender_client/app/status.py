"""``status``: what the client is doing and why, from the files on disk; also works after a crash."""

from __future__ import annotations

import os
from pathlib import Path

from mender_client import TYPE_CHECKING, __version__
from mender_client.core.client_status import STOPPED, WAITING, ClientStatus, headline
from mender_client.core.holding import AHEAD
from mender_client.core.keyvalue import parse_key_value_file
from mender_client.core.machine import EXPLANATIONS, State
from mender_client.core.model import Provides
from mender_client.core.record import Record
from mender_client.core.sub_updater_state import SubUpdaterState
from mender_client.dataclass import asdict, dataclass
from mender_client.errors import StorageError
from mender_client.system.files import read_text
from mender_client.system.locks import DaemonLock, LockFile
from mender_client.system.snapshot import damaged_files, peek_record, read_client_status

from .config import Config, examine
from .config.settings import build_config
from .file_checks import configuration_file_problems
from .formatting import for_programs
from .installer import installer_reason
from .paths import Paths
from .sub_updater_process import look_at_sub_updater, stuck_sub_updater_pid
from .waiting import approval_documents, gate_document, hold_document

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


def as_document(status: Status) -> dict[str, Any]:
    """The status as a JSON document."""
    document: dict[str, Any] = for_programs({"schema": SCHEMA, **asdict(status)}, times=_TIMES)
    if document["client"] is not None:
        document["client"]["download"]["total"] = document["client"]["download"]["total"] or None
    return {**document, "is_locked": status.lock is not None}  # a lock may name no deployment


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
        stopped = "" if is_daemon_running else "; continues once the daemon is running"
        what = EXPLANATIONS[update.state] if update.waiting is None else f"waiting {AHEAD[update.waiting.point]}"
        return what + stopped, update.since if update.waiting is None else update.waiting.since
    if (standalone := record.standalone) is not None:
        return standalone.text, standalone.since
    if not is_daemon_running:
        return "nothing: the daemon is not running", None
    if client is not None and client.doing == WAITING:
        return headline(client), client.since
    return "waiting for the next poll", None
