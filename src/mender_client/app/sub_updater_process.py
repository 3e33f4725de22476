"""The process and the state of the sub-updater, as seen from outside."""

from __future__ import annotations

from mender_client.core.model import Status
from mender_client.core.record import Record
from mender_client.core.sub_updater_state import SubUpdaterState, sub_updater_state
from mender_client.system.process_table import ProcessTable


def look_at_sub_updater(deployment_id: str, record: Record) -> tuple[SubUpdaterState, int | None]:
    """The state of the sub-updater of a deployment, and its process id, None when no process is found."""
    pid = sub_updater_pid(deployment_id, record)
    update = record.update_of(deployment_id)
    noted = update.process if update is not None else None
    state = sub_updater_state(
        has_reported=record.outcome_of(deployment_id) is not None,
        is_found=pid is not None,
        was_started_in_this_boot=noted is not None and ProcessTable().age_seconds(noted) > 0,
    )
    return state, pid


def stuck_sub_updater_pid(record: Record, daemon_pid: int | None) -> int | None:
    """The process id of the sub-updater that still runs although its deployment, the last one, has failed."""
    last = record.outcomes[-1] if record.outcomes else None
    if last is None or last.status is not Status.FAILURE:
        return None
    pid = sub_updater_pid(last.deployment_id, record)
    return None if pid == daemon_pid else pid


def sub_updater_pid(deployment_id: str | None, record: Record) -> int | None:
    """The process id of the sub-updater of a deployment; None when no process is found."""
    if not deployment_id:
        return None
    processes = ProcessTable()
    update = record.update_of(deployment_id)
    noted = update.process if update is not None else None
    if noted is not None and processes.is_alive(noted):
        return noted.pid
    found = processes.find("MENDER_DEPLOYMENT_ID", deployment_id)
    return None if found is None else found.pid
