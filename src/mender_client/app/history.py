"""``history``: the outcomes of the last deployments, from the state file."""

from __future__ import annotations

import json
from datetime import datetime

from mender_client import TYPE_CHECKING
from mender_client.core.record import Outcome
from mender_client.core.text import amount, printable
from mender_client.system.snapshot import peek_record

from .exitcodes import ExitCode
from .formatting import clock_time, for_programs, utc
from .paths import Paths

if TYPE_CHECKING:
    from typing import Any


_SCHEMA = 1
"""The version of ``history --json``; incremented when something is renamed, removed or changes its meaning."""


def show_history(paths: Paths, *, is_json: bool) -> ExitCode:
    """Print the last deployments, oldest first.

    Raises:
        StorageError: the state file can't be read.
    """
    record, problem = peek_record(paths.journal)
    if is_json:
        deployments = [as_document(one) for one in record.outcomes]
        document = {"schema": _SCHEMA, "deployments": deployments, "journal_problem": problem}
        print(json.dumps(for_programs(document, times=("began", "ended")), indent=1))
        return ExitCode.DONE
    if problem:
        print(f"cannot use the state file: {problem}")
    elif not record.outcomes:
        print("no deployment has finished on this device")
    for outcome in record.outcomes:
        print(printable("  ".join(render(outcome)), limit=2000))
    return ExitCode.DONE


def as_document(outcome: Outcome) -> dict[str, Any]:
    """An outcome for programs."""
    return {
        "deployment_id": outcome.deployment_id,
        "artifact_name": outcome.artifact_name,
        "status": outcome.status.value,
        "began": outcome.began,
        "ended": outcome.at,
        "duration_seconds": duration_seconds(outcome),
        "fetched_bytes": outcome.fetched_bytes,
        "resumed_bytes": outcome.resumed_bytes,
        "reused_bytes": outcome.reused_bytes,
        "reason": outcome.reason,
    }


def duration_seconds(outcome: Outcome) -> float | None:
    """Seconds of wall-clock time from the offer to the outcome; None if unknown, or if the clock was set back."""
    try:
        seconds = (datetime.fromisoformat(outcome.at) - datetime.fromisoformat(outcome.began)).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds >= 0 else None


def render(outcome: Outcome) -> list[str]:
    """The columns of an outcome, for people."""
    seconds = duration_seconds(outcome)
    resumed = f", {amount(outcome.resumed_bytes)} resumed" if outcome.resumed_bytes else ""
    reused = f", {amount(outcome.reused_bytes)} reused" if outcome.reused_bytes else ""
    columns = [
        utc(outcome.at),
        f"{outcome.status.value:<7}",
        outcome.artifact_name or "(unknown Artifact)",
        f"deployment {outcome.deployment_id}",
        f"began {utc(outcome.began)}" if outcome.began else "",
        f"took {clock_time(seconds)}" if seconds is not None else "",
        f"{amount(outcome.fetched_bytes)} fetched{resumed}{reused}"
        if outcome.fetched_bytes or resumed or reused
        else "",
        f"reason: {outcome.reason}" if outcome.reason else "",
    ]
    return [column for column in columns if column]
