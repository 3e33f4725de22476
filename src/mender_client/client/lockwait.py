"""The wait for the sub-updater: while the lock file exists, the client does nothing but deliver pending reports."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.record import Record
from mender_client.core.sub_updater_state import SubUpdaterState, remedy_of_absence, sub_updater_state
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic

from .engine import Engine

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, DeploymentLog, Journal, Lock, SubUpdater, Transport

_logger = logging.getLogger(__name__)

LOCK_GRACE_SECONDS = 60.0
"""How long the sub-updater may take to remove the lock once its report has been delivered."""

STOP_GRACE_SECONDS = 60.0
"""How long a sub-updater that was asked to stop may take to exit before it is killed."""

REMINDER_SECONDS = 3600.0
"""How often the client logs again that it is waiting for the sub-updater, and since when."""


@dataclass(kw_only=True, eq=False, repr=False)
class LockWait:
    """Waits for the sub-updater.

    Attributes:
        sub_updater: None if this process installs updates itself.
        timeout_seconds: how long the sub-updater may take before it is stopped, the deployment failed and the lock
            removed; 0 means no limit.
        deliver: sends the pending reports if that is due; returns False if they are still pending.
        resumed: called when the wait is over.
        awaited: the deployment that the client waits for; empty if the lock names none, None if there is no lock.
    """

    clock: Clock
    transport: Transport
    lock: Lock
    sub_updater: SubUpdater | None
    log: DeploymentLog
    journal: Journal
    engine: Engine
    timeout_seconds: float
    deliver: Callable[[], bool]
    resumed: Callable[[], None]

    def __post_init__(self) -> None:
        self.awaited: str | None = None
        self._awaited_since = 0.0
        self._reminded_after = 0.0
        self._reported_at: float | None = None
        self._stopping_since: float | None = None
        self._is_at_work = False

    def is_update_in_progress(self) -> bool:
        """Do what is due while waiting for the sub-updater; return whether the wait continues.

        Raises:
            MenderError: the lock or the state file can't be read or written.
        """
        current = self.lock.read()
        if current is None:
            if self.awaited is not None:
                self._lock_removed()
            return False
        if current != self.awaited:
            self._begin_to_wait(current)
        self.log.trim()
        record = self.journal.load()
        if record.outcome_of(current) is not None:
            return not self._is_done_with(current, record)
        waited = self.clock.monotonic() - self._awaited_since
        if 0 < self.timeout_seconds <= waited and self._is_at_gate(current, record):
            self._awaited_since, self._reminded_after, waited = self.clock.monotonic(), 0.0, 0.0
        if 0 < self.timeout_seconds <= waited:
            reason = f"the sub-updater has not reported for {waited:.0f} s (SubUpdaterTimeoutSeconds)"
            return not self._has_given_up(current, record, reason)
        if waited >= self._reminded_after + REMINDER_SECONDS or self._has_just_died(current, record):
            self._reminded_after = waited
            self._log_wait(current)
        return True

    def _is_at_gate(self, deployment_id: str, record: Record) -> bool:
        """Whether a sub-updater waits at a gate, in which case the time limit starts again."""
        update = record.update_of(deployment_id)
        is_waiting = update is not None and update.waiting is not None
        return is_waiting and self._look(deployment_id, record) is SubUpdaterState.AT_WORK

    def _has_just_died(self, deployment_id: str, record: Record) -> bool:
        update = record.update_of(deployment_id)
        is_watched = self._is_at_work and update is not None and update.process is not None
        return is_watched and self._look(deployment_id, record) is SubUpdaterState.DIED

    def _look(self, deployment_id: str, record: Record) -> SubUpdaterState | None:
        """The state of the sub-updater; None if this process installs updates itself."""
        if self.sub_updater is None:
            return None
        update = record.update_of(deployment_id)
        process = update.process if update is not None else None
        return sub_updater_state(
            has_reported=record.outcome_of(deployment_id) is not None,
            is_found=self.sub_updater.find_process(deployment_id, process) is not None,
            was_started_in_this_boot=self.sub_updater.seconds_at_work(deployment_id, process) > 0,
        )

    def _has_given_up(self, deployment_id: str, record: Record, reason: str) -> bool:
        """Stop the sub-updater, by force if necessary, and then fail the deployment; return whether that is done.

        The sub-updater is stopped first, so that no two of them ever run at once. A process that was killed but still
        exists executes no more code: it waits in the kernel, for a device for instance.
        """
        update = record.update_of(deployment_id)
        process = update.process if update is not None else None
        now = self.clock.monotonic()
        stopping_for = 0.0 if self._stopping_since is None else now - self._stopping_since
        sub_updater = self.sub_updater if deployment_id else None
        if sub_updater and sub_updater.stop(deployment_id, process, is_forced=stopping_for >= STOP_GRACE_SECONDS):
            found = sub_updater.find_process(deployment_id, process)
            which = f"process {found.pid}" if found is not None else "its process group"
            if self._stopping_since is None:
                self._stopping_since = now
                text = (
                    f"deployment {deployment_id}: the sub-updater has taken longer than SubUpdaterTimeoutSeconds; "
                    f"stopping {which}"
                )
                _logger.warning("%s", Diagnostic("UPD10", text))
            if stopping_for < 2 * STOP_GRACE_SECONDS:
                return False
            text = (
                f"cannot stop the sub-updater of deployment {deployment_id}: {which} was killed, but is still running"
            )
            _logger.error(
                "%s", Diagnostic("UPD11", text, "check the kernel log for what it is waiting for, and reboot")
            )
            reason += f", and {which} was killed, but is still running"
        self.engine.give_up(deployment_id, reason)
        self._lock_removed()
        return True

    def _begin_to_wait(self, deployment_id: str) -> None:
        self._log_wait(deployment_id)
        self.transport.rest()
        update = self.journal.load().update_of(deployment_id)
        process = update.process if update is not None else None
        sub_updater = self.sub_updater
        self._reminded_after = 0.0 if sub_updater is None else sub_updater.seconds_at_work(deployment_id, process)
        self.awaited = deployment_id
        self._awaited_since = self.clock.monotonic() - self._reminded_after
        self._reported_at = None
        self._stopping_since = None

    def _log_wait(self, deployment_id: str) -> None:
        record = self.journal.load()
        update = record.update_of(deployment_id)
        which = f"deployment {deployment_id}" if deployment_id else "an unknown deployment (update.lock names none)"
        since = f" since {update.since.replace('+00:00', 'Z')}" if update is not None else ""
        state = self._look(deployment_id, record)
        self._is_at_work = state is SubUpdaterState.AT_WORK
        if state in (SubUpdaterState.DIED, SubUpdaterState.ABSENT):
            text = f"{which} has been waiting{since} for update.lock to be removed: {state.value}"
            _logger.warning("%s", Diagnostic("UPD12", text, remedy=remedy_of_absence(is_known=update is not None)))
        elif state is SubUpdaterState.REPORTED:
            _logger.info("%s: %s", which, state.value)
        else:
            installs = f"has been installing {which}{since}" if since else f"is installing {which}"
            _logger.info("the sub-updater %s; waiting until update.lock is removed", installs)

    def _is_done_with(self, deployment_id: str, record: Record) -> bool:
        """After the sub-updater's report: deliver it, then remove the lock if the sub-updater does not."""
        is_ours_to_tell = any(message.deployment_id == deployment_id for message in record.outbox)
        now = self.clock.monotonic()
        if is_ours_to_tell:
            if not self.deliver():
                return False
        elif self._reported_at is None:
            self._reported_at = now
            return False
        elif now - self._reported_at < LOCK_GRACE_SECONDS:
            return False
        _logger.info("deployment %s: reported; removing update.lock for the sub-updater", deployment_id)
        self.lock.remove()
        self._lock_removed()
        return True

    def _lock_removed(self) -> None:
        _logger.info("update.lock removed, resuming")
        self.engine.resume()
        self.awaited = None  # only after that has succeeded
        self.resumed()
