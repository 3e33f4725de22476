"""The agent: does what is due and returns how long to wait. It never sleeps between steps, so it fits into any loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mender_client import TYPE_CHECKING
from mender_client.core.client_status import WAITING
from mender_client.core.machine import State
from mender_client.core.record import Record
from mender_client.core.schedule import Job, Schedule
from mender_client.core.standalone import StandaloneUpdate
from mender_client.core.update import Update
from mender_client.dataclass import dataclass, replace
from mender_client.errors import (
    AbortedError,
    BusyError,
    DeviceError,
    Diagnostic,
    MenderError,
    NotAcceptedError,
    ServerError,
    StorageError,
)

from .auth import Session
from .clockwait import ClockWait
from .engine import LOCK_CHECK_SECONDS, Engine, Held, Wait
from .inventory import InventorySender
from .lockwait import LockWait
from .outbox import Outbox
from .status_tracker import StatusTracker

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, DeploymentLog, Journal, Lock, SubUpdater, Transport

    from .sync_scripts import SyncScripts

_logger = logging.getLogger(__name__)

BUSY_SECONDS = 2.0
"""Delay before the next attempt while another process of this client sends the pending reports."""

REST_AFTER_SECONDS = 60.0
"""The connection is closed before a longer wait: an idle fleet must not occupy the server's memory."""


class _Requests:
    """The requests to an agent; with more than 29 attributes, the agent itself would take five times the memory."""

    __slots__ = ("is_heeded", "is_inventory_forced", "is_inventory_wanted", "is_poll_wanted", "is_put_off")

    def __init__(self) -> None:
        self.is_poll_wanted = self.is_inventory_wanted = self.is_inventory_forced = False
        self.is_heeded = self.is_put_off = False


@dataclass(kw_only=True, eq=False, repr=False)
class Agent:
    """A Mender client.

    Attributes:
        sub_updater: None if this process installs updates itself.
        sub_updater_timeout_seconds: how long the client waits for the sub-updater before it reports failure and
            removes the lock; 0 waits indefinitely.
        sync_scripts: the state scripts around polls; None if no update module installs updates.
        report_configuration: sends the configuration that an update module has stored, if it has changed.
        may_update: called before an update is begun or continued; False postpones it, and an offer is not stored.
    """

    clock: Clock
    transport: Transport
    lock: Lock
    sub_updater: SubUpdater | None
    log: DeploymentLog
    journal: Journal
    session: Session
    inventory: InventorySender
    outbox: Outbox
    engine: Engine
    tracker: StatusTracker
    random: Callable[[], float]
    schedule: Schedule
    sub_updater_timeout_seconds: float = 0.0
    sync_scripts: SyncScripts | None = None
    report_configuration: Callable[[], object] = lambda: None
    may_update: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self._has_resumed = False
        self._requests = _Requests()
        self._tokens_seen = 0
        self._failures: dict[str, tuple[str, int]] = {}
        self._clock_wait = ClockWait(self.clock)
        self._lock_wait = LockWait(
            clock=self.clock,
            transport=self.transport,
            lock=self.lock,
            sub_updater=self.sub_updater,
            log=self.log,
            journal=self.journal,
            engine=self.engine,
            timeout_seconds=self.sub_updater_timeout_seconds,
            deliver=self._deliver_when_due,
            resumed=self._resume_polling,
        )
        self._wait: Wait | None = None
        self._asks_gate_at: float | None = None
        self._is_held = False
        self._standalone_name: str | None = None

    @property
    def has_handed_over(self) -> bool:
        """Whether the last step has started an installation; a daemon that the sub-updater restarts should exit."""
        return self._wait is not None

    @property
    def is_put_off(self) -> bool:
        """Whether the last poll has found an update that waits for its turn, and no other poll was requested since."""
        return self._requests.is_put_off

    @property
    def is_updating(self) -> bool:
        """Whether an update is in progress, other than one that waits at a gate, or the lock file exists.

        Raises:
            StorageError: the disk can't be read.
        """
        is_under_way = self.journal.load().update is not None and not self._is_held
        return is_under_way or self.lock.read() is not None

    def resume(self) -> None:
        """Determine where the previous process left off; the first ``step`` does so if it has not been done yet.

        Raises:
            StorageError: as ``Engine.resume``.
        """
        if not self._has_resumed:
            self.engine.resume()
            self._has_resumed = True

    def step(self) -> float:
        """Do what is due.

        Errors of the network, the server and the device are logged and retried with back-off.

        Returns:
            Seconds until the next step is due.

        Raises:
            Interrupted: the client was asked to stop.
        """
        wait = self._step()
        with suppress(MemoryError):
            if self._requests.is_heeded:
                self._requests.is_heeded = False
                self.tracker.note(lambda one, _: one.heeded())
            self._tell_status()
        return wait

    def _step(self) -> float:
        self._wait = None
        try:
            with _within_memory("continue"):
                self.resume()
                if self._lock_wait.is_update_in_progress():
                    return LOCK_CHECK_SECONDS
        except MenderError as error:
            self._note_failure(error, "update")
            return LOCK_CHECK_SECONDS
        self._note_success("update")
        self._take_requests()
        if self._clock_wait.is_set():
            self._inventory_again()
            self.schedule = replace(self.schedule, poll=self.schedule.poll.at_once())
        if self.schedule.seconds_until_due(self.clock.monotonic()) <= 0:
            self._work_in_sync()
            if self._wait is not None:
                return self._wait.seconds
        if self._requests.is_poll_wanted or self._requests.is_inventory_wanted:
            return 0.0  # requested during this step
        wait = self.schedule.seconds_until_due(self.clock.monotonic())
        if wait > REST_AFTER_SECONDS:
            self.transport.rest()
        return self._clock_wait.bounded(wait)

    def request_poll(self) -> None:
        """Poll for a deployment in the next step, regardless of the schedule; safe in a signal handler."""
        self._requests.is_poll_wanted = True

    def request_inventory(self) -> None:
        """Send the inventory in the next step, even if it has not changed; safe in a signal handler."""
        self._requests.is_inventory_wanted = True

    def _take_requests(self) -> None:
        """Make the requested jobs due; later requests are left for the next step."""
        requests = self._requests
        requests.is_heeded = False
        if requests.is_poll_wanted:
            requests.is_poll_wanted, requests.is_heeded, requests.is_put_off = False, True, False
            self.schedule = replace(self.schedule, poll=self.schedule.poll.at_once())
        if requests.is_inventory_wanted:
            requests.is_inventory_wanted, requests.is_heeded = False, True
            requests.is_inventory_forced = True
            self._inventory_again()

    def _resume_polling(self) -> None:
        self._inventory_again()
        self.request_poll()

    def _inventory_again(self) -> None:
        self.schedule = replace(self.schedule, inventory=self.schedule.inventory.at_once())

    # -- what is due --------------------------------------------------------------------------------------------

    def _work_in_sync(self) -> None:
        """Continue an update, or run the jobs that are due between the Sync state scripts."""
        if self._is_installing() and self.schedule.poll.is_due(self.clock.monotonic()):
            # before anything else: the device may have been rebooted into software that can't reach the server
            job = self._run("update", self.schedule.poll, self._poll)
            self.schedule = replace(self.schedule, poll=job)  # as it is now: the update may have changed it
            return
        if self.sync_scripts is None:
            self._work()
            return
        try:
            self.sync_scripts.begin()
            self._work()
            self.sync_scripts.leave()
        except MenderError as error:
            self._note_failure(error, "scripts")
            self._postpone_everything(error)
        else:
            self._note_success("scripts")
        self.sync_scripts.idle()

    def _work(self) -> None:
        try:
            with _within_memory("authorise this device"):
                self.session.authorise()
            self._note_success("authorisation")
        except MenderError as error:
            self._note_failure(error, "authorisation")
            self._postpone_everything(error)
            return
        if not self._deliver():
            return
        if self._tokens_seen != self.session.tokens_received:
            # the device may have been accepted again, in which case the server has no inventory of it
            self._tokens_seen = self.session.tokens_received
            self._inventory_again()
        now = self.clock.monotonic()
        if self.schedule.inventory.is_due(now):
            job = self._run("inventory", self.schedule.inventory, self._send_inventory)
            self.schedule = replace(self.schedule, inventory=job)
        if self.schedule.poll.is_due(now):
            job = self._run("poll", self.schedule.poll, self._poll)
            self.schedule = replace(self.schedule, poll=job)

    def _deliver_when_due(self) -> bool:
        return self.schedule.seconds_until_due(self.clock.monotonic()) <= 0 and self._deliver()

    def _deliver(self) -> bool:
        """Send the pending reports; return False if they can't be sent."""
        try:
            with _within_memory("report"):
                self.outbox.flush()
        except AbortedError as error:
            _logger.warning("%s", error)  # the update notices when it continues
        except MenderError as error:
            self._note_failure(error, "reports")
            self._postpone_everything(error)
            return False
        self._note_success("reports")
        return True

    def _postpone_everything(self, error: MenderError) -> None:
        """Postpone all jobs to the same time, so that the server is contacted once."""
        if self.sync_scripts is not None:
            self.sync_scripts.failed()
        random = self.random()
        self.schedule = Schedule(
            inventory=self._failed(self.schedule.inventory, error, random),
            poll=self._failed(self.schedule.poll, error, random),
        )

    def _run(self, name: str, job: Job, action: Callable[[], None]) -> Job:
        try:
            with _within_memory(f"finish the {name}"):
                action()
        except MenderError as error:
            self._note_failure(error, name)
            if self.sync_scripts is not None:
                self.sync_scripts.failed()
            return self._failed(job, error, self.random())
        self._note_success(name)
        self._clock_wait.succeeded()
        job = job.after_success(self.clock.monotonic(), random=self.random())
        if name == "inventory" or self._asks_gate_at is None:
            return job
        return replace(job, due_at=min(job.due_at, self._asks_gate_at))

    def _failed(self, job: Job, error: MenderError, random: float) -> Job:
        if isinstance(error, BusyError):
            return replace(job, due_at=max(job.due_at, self.clock.monotonic() + BUSY_SECONDS))
        return job.after_failure(
            self.clock.monotonic(),
            random=random,
            retry_after_seconds=error.retry_after_seconds if isinstance(error, ServerError) else None,
        )

    def _note_failure(self, error: MenderError, job: str) -> None:
        """Log a failure, as a warning only if it differs from the last one; pending acceptance is logged elsewhere."""
        if isinstance(error, BusyError):
            _logger.debug("%s", error)  # another process, such as ``report``, does the work
            return
        self._clock_wait.failed(error)
        if isinstance(error, NotAcceptedError):
            _logger.debug("%s", error)
            self._note_success(job)  # the server has answered
            return
        text = str(error)
        last, times = self._failures.get(job, ("", 0))
        _logger.log(logging.WARNING if text != last else logging.DEBUG, "%s", text)
        self._failures[job] = (text, times + 1)
        self.tracker.note(lambda one, now: one.failed(job, error, now, in_a_row=times + 1))

    def _note_success(self, job: str) -> None:
        _, times = self._failures.pop(job, ("", 0))
        if times:
            _logger.info("%s: succeeded after %d failure%s", job, times, "" if times == 1 else "s")
            self.tracker.note(lambda one, _: one.recovered(job))

    def _tell_status(self) -> None:
        """Tell the observers, after a step, what the client is doing and what is scheduled next."""
        tracker = self.tracker
        try:
            record = self.journal.load()
        except StorageError:
            record = Record()  # already logged where it matters
        tracker.note(lambda one, _: one.remembering(record))
        update = record.update
        installing = update.deployment_id if self._wait is not None and update is not None else self._lock_wait.awaited
        if installing is not None:
            name = update.artifact_name if update is not None else ""
            tracker.does(State.INSTALLING.value, deployment_id=installing, artifact_name=name)
        else:
            self._tell_plan(update if update is not None and update.is_held else None)

    def _tell_plan(self, held: Update | None) -> None:
        tracker, schedule = self.tracker, self.schedule
        elapsed = self.clock.monotonic()
        next_poll = tracker.time(in_seconds=max(0.0, schedule.poll.due_at - elapsed))
        next_inventory = tracker.time(in_seconds=max(0.0, schedule.inventory.due_at - elapsed))
        if held is None:
            tracker.note(lambda one, now: one.does(WAITING, now))
        else:
            work, deployment_id, name = held.state.value, held.deployment_id, held.artifact_name
            tracker.note(lambda one, now: one.does(work, now, deployment_id=deployment_id, artifact_name=name))
        tracker.note(lambda one, _: one.planned(next_poll=next_poll, next_inventory=next_inventory))
        tracker.tell()

    def _send_inventory(self) -> None:
        self.inventory.send(even_if_unchanged=self._requests.is_inventory_forced)
        self._requests.is_inventory_forced = False
        self.report_configuration()

    def _poll(self) -> None:
        engine = self.engine
        self._asks_gate_at, self._is_held, self._requests.is_put_off = None, False, False
        record = self.journal.load()
        is_continued = record.update is not None
        if not is_continued:
            if self._is_kept_by(record.standalone):
                return
            offer = engine.ask()
            if self.sync_scripts is not None:
                self.sync_scripts.leave()
            if offer is None or self._put_off() or not engine.begin(offer):
                return
        elif self._put_off():
            return
        try:
            waits = engine.run()
        except (MenderError, MemoryError) as error:
            # the client would wait forever for a lock without a sub-updater, and must not repeat a state of an update
            # module whose completion can't be stored; continue as after a restart
            is_unstored = isinstance(error, StorageError | MemoryError) and self._is_installing()
            self._has_resumed = not (is_unstored or self._may_be_locked())
            raise
        self._is_held = isinstance(waits, Held)
        if isinstance(waits, Held):
            self._asks_gate_at = None if waits.seconds is None else self.clock.monotonic() + waits.seconds
            return
        self._wait = waits
        if self._wait is not None:
            self._has_resumed = False  # as after a restart, the next step looks for the sub-updater or its traces
        elif is_continued:
            self.request_poll()  # the server has not been asked for a deployment yet
        self._inventory_again()

    def _put_off(self) -> bool:
        """Whether the update must wait for its turn; a requested poll counts as done only when the turn has come."""
        if self.may_update():
            return False
        self._requests.is_heeded, self._requests.is_put_off = False, True
        return True

    def _is_kept_by(self, standalone: StandaloneUpdate | None) -> bool:
        """Whether a standalone update is in progress, during which no deployment may begin; logged once."""
        name = None if standalone is None else standalone.artifact_name
        if name is not None and name != self._standalone_name:
            text = f"no update poll: {name} is being installed in standalone mode"
            remedy = "finish it with 'mender-python-client commit', 'rollback' or 'resume'"
            _logger.warning("%s", Diagnostic("UPD28", text, remedy))
        self._standalone_name = name
        return name is not None

    def _is_installing(self) -> bool:
        """Whether an update that update modules install is in progress."""
        try:
            update = self.journal.load().update
        except StorageError:
            return False
        return update is not None and not update.is_handed_over

    def _may_be_locked(self) -> bool:
        try:
            return self.lock.read() is not None
        except StorageError:
            return True


@contextmanager
def _within_memory(action: str) -> Iterator[None]:
    """Turn a lack of memory into a failure of the action, which is retried, so that it doesn't end the client."""
    try:
        yield
    except MemoryError as error:
        text = f"cannot {action}: this device has too little memory"
        raise DeviceError("DMN05", text, remedy="free some memory, or raise the limit of the service") from error
