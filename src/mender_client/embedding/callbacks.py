"""Callbacks of the program for progress and states. Nothing depends on them: their exceptions are only logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from mender_client.client.stream import Progress
from mender_client.core.machine import State
from mender_client.core.model import Deployment, Status
from mender_client.core.record import Outcome, Record
from mender_client.core.update import Update
from mender_client.errors import Diagnostic
from mender_client.system.journal import JsonJournal

_logger = logging.getLogger(__name__)

ProgressFunction = Callable[[int, "int | None"], object]
"""Called for each piece of a few kilobytes with the number of bytes available so far and the size of the Artifact, None
if the storage doesn't announce it."""

StateFunction = Callable[[State, Deployment, str], object]
"""Called with the state that a deployment has just entered, which is already stored, the deployment, and why it failed;
empty in other states or if that isn't known."""


class ProgressCallback:
    """Passes on the progress of downloads."""

    def __init__(self, function: ProgressFunction) -> None:
        self._function = function
        self._failures = _Failures("on_progress")

    def __call__(self, progress: Progress) -> None:
        with self._failures:
            self._function(progress.done, progress.total)


class ToldJournal(JsonJournal):
    """A state file that passes on each state of an update, including its end and the state in which it resumes."""

    def __init__(self, path: Path, function: StateFunction) -> None:
        super().__init__(path)
        self._function = function
        self._failures = _Failures("on_state")
        self._told: tuple[str, State] | None = None

    def update(self, change: Callable[[Record], Record]) -> Record:
        changed_from: list[Record] = []

        def noted(record: Record) -> Record:
            changed_from.append(record)
            return change(record)

        record = super().update(noted)
        before, now = changed_from[0].update, record.update
        if before is not None and record.update_of(before.deployment_id) is None:
            outcome = record.outcome_of(before.deployment_id)
            self._tell(_end(outcome), before, "" if outcome is None else outcome.reason)
        if now is not None:
            self._tell(now.state, now)
        return record

    def _tell(self, state: State, update: Update, reason: str = "") -> None:
        if self._told != (update.deployment_id, state):
            self._told = update.deployment_id, state
            with self._failures:
                self._function(state, update.deployment, reason)


def _end(outcome: Outcome | None) -> State:
    if outcome is None:
        return State.ABORTED
    return State.SUCCEEDED if outcome.status is Status.SUCCESS else State.FAILED


class _Failures:
    """Logs and suppresses the exceptions of a callback; one that is raised repeatedly is logged once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, Exception):
            return False
        text = f"{self._name} raised {type(error).__name__}: {error}"
        if text != self._last:
            self._last = text
            _logger.warning("%s", Diagnostic("API08", text, "correct the program"), exc_info=error)
        return True
