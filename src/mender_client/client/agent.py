"""The client: does what is due and says how long to wait. It never sleeps between steps, so it fits into any loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from mender_client.core.client_status import HANDED_OVER, WAITING
from mender_client.core.machine import State
from mender_client.core.ports import Clock, Installer, Journal, Transport
from mender_client.core.record import Record
from mender_client.core.schedule import Job, Schedule
from mender_client.errors import AbortedError, Interrupted, MenderError, NotAcceptedError, ServerError, StorageError

from .auth import Session
from .clockwait import ClockWait
from .engine import Engine
from .inventory import InventorySender
from .outbox import Outbox
from .status_tracker import StatusTracker

_logger = logging.getLogger(__name__)

LOCK_CHECK_SECONDS = 4.0
"""How often the lock file is looked at while an update is being installed by the sub-updater."""

LOCK_GRACE_SECONDS = 60.0
"""How long a sub-updater may take to remove the lock once the server has its report."""

REMINDER_SECONDS = 3600.0
"""How often the log says again that, and since when, the client waits for the sub-updater."""

REST_AFTER_SECONDS = 60.0
"""A wait longer than this gives the connection up: a fleet that waits must not hold a server's memory."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a client is made of; ``app.assemble`` shows how they are joined.

    Attributes:
        clock: tells the time.
        transport: told when it may rest.
        installer: says whether an update is in progress.
        journal: remembers.
        session: the standing with the server.
        inventory: collects and sends the inventory.
        outbox: tells the server what it has not heard yet.
        updater: carries deployments out.
        witness: is told how the client stands.
        random: gives numbers in [0, 1) for jitter.
    """

    clock: Clock
    transport: Transport
    installer: Installer
    journal: Journal
    session: Session
    inventory: InventorySender
    outbox: Outbox
    engine: Engine
    tracker: StatusTracker
    random: Callable[[], float]


class Agent:
    """A Mender client.

    Args:
        parts: what it is made of.
        schedule: what is to be done how often.
        sub_updater_timeout_seconds: how long the client waits for a sub-updater before it reports failure and frees
            the device; 0 waits for ever.
    """

    def __init__(self, parts: Parts, schedule: Schedule, *, sub_updater_timeout_seconds: float = 0.0) -> None:
        self._parts = parts
        self._schedule = schedule
        self._sub_updater_timeout_seconds = sub_updater_timeout_seconds
        self._has_resumed = False
        self._awaited: str | None = None
        self._awaited_since = 0.0
        self._reminded_after = 0.0
        self._reported_at: float | None = None
        self._is_poll_wanted = False
        self._is_inventory_wanted = False
        self._is_inventory_forced = False
        self._tokens_greeted = 0
        self._troubles: dict[str, tuple[str, int]] = {}
        self._clock_wait = ClockWait(parts.clock)
        self.has_handed_over = False

    def step(self) -> float:
        """Do what is due.

        Errors of the network, the server and the device are logged and waited out by the back-off.

        Returns:
            Seconds until the next step is due. When ``has_handed_over`` is set, an update is in the sub-updater's
            hands and a daemon that lives by that contract should end.

        Raises:
            Interrupted: the client was asked to stop in the middle of something long.
        """
        wait = self._step()
        self._say_how_it_stands()
        return wait

    def _step(self) -> float:
        self.has_handed_over = False
        try:
            if not self._has_resumed:
                self._parts.engine.resume()
                self._has_resumed = True
            if self._is_update_in_progress():
                return LOCK_CHECK_SECONDS
        except Interrupted:
            raise
        except MenderError as error:
            self._note_failure(error, "update")
            return LOCK_CHECK_SECONDS
        self._note_success("update")
        self._take_wishes()
        if self._clock_wait.is_set():
            self._inventory_again()
            self._schedule = replace(self._schedule, poll=self._schedule.poll.at_once())
        if self._schedule.seconds_until_due(self._parts.clock.monotonic()) <= 0:
            self._work()
            if self.has_handed_over:
                return 0.0
        if self._is_poll_wanted or self._is_inventory_wanted:
            return 0.0  # asked for while we were at work
        wait = self._schedule.seconds_until_due(self._parts.clock.monotonic())
        if wait > REST_AFTER_SECONDS:
            self._parts.transport.rest()
        return self._clock_wait.bounded(wait)

    def request_poll(self) -> None:
        """Ask for a deployment in the next step, whatever the schedule says; safe in a signal handler."""
        self._is_poll_wanted = True

    def request_inventory(self) -> None:
        """Send the inventory in the next step, also when it has not changed; safe in a signal handler."""
        self._is_inventory_wanted = True

    def _take_wishes(self) -> None:
        """What was asked for becomes due; a wish that comes from now on is for the step after this one."""
        if self._is_poll_wanted:
            self._is_poll_wanted = False
            self._schedule = replace(self._schedule, poll=self._schedule.poll.at_once())
        if self._is_inventory_wanted:
            self._is_inventory_wanted = False
            self._is_inventory_forced = True
            self._inventory_again()

    def _inventory_again(self) -> None:
        self._schedule = replace(self._schedule, inventory=self._schedule.inventory.at_once())

    # -- an update that is being installed --------------------------------------------------------------------------

    def _is_update_in_progress(self) -> bool:
        current = self._parts.installer.current_deployment()
        if current is None:
            if self._awaited is not None:
                self._lock_has_gone()
            return False
        if current != self._awaited:
            self._begin_to_wait(current)
        self._parts.engine.trim_log()
        record = self._parts.journal.load()
        if record.outcome_of(current) is not None:
            return not self._is_done_with(current, record)
        waited = self._parts.clock.monotonic() - self._awaited_since
        if 0 < self._sub_updater_timeout_seconds <= waited:
            reason = f"the sub-updater has not reported for {waited:.0f} s (SubUpdaterTimeoutSeconds)"
            self._parts.engine.give_up(current, reason)
            self._parts.installer.release()
            self._lock_has_gone()
            return False
        if waited >= self._reminded_after + REMINDER_SECONDS:
            self._reminded_after = waited
            self._say_what_is_awaited(current)
        return True

    def _begin_to_wait(self, deployment_id: str) -> None:
        self._say_what_is_awaited(deployment_id)
        self._parts.transport.rest()
        update = self._parts.journal.load().update_of(deployment_id)
        process = update.process if update is not None else None
        self._reminded_after = self._parts.installer.seconds_at_work(deployment_id, process)
        self._awaited = deployment_id
        self._awaited_since = self._parts.clock.monotonic() - self._reminded_after
        self._reported_at = None

    def _say_what_is_awaited(self, deployment_id: str) -> None:
        update = self._parts.journal.load().update_of(deployment_id)
        since = f" since {update.since}" if update is not None else ""
        which = f"deployment {deployment_id}" if deployment_id else "an unknown deployment (the lock holds no id)"
        _logger.info(
            "%s is being installed by the sub-updater%s; waiting until update.lock is removed ('mender-python-client "
            "report --failure' ends the deployment if the sub-updater will not)",
            which,
            since,
        )

    def _is_done_with(self, deployment_id: str, record: Record) -> bool:
        """The sub-updater has said how it went: see that the server hears it and that the lock goes."""
        is_ours_to_tell = any(message.deployment_id == deployment_id for message in record.outbox)
        now = self._parts.clock.monotonic()
        if is_ours_to_tell:
            if self._schedule.seconds_until_due(now) > 0 or not self._deliver():
                return False
        elif self._reported_at is None:
            self._reported_at = now
            return False
        elif now - self._reported_at < LOCK_GRACE_SECONDS:
            return False
        _logger.info("deployment %s is done; the lock is removed for the sub-updater", deployment_id)
        self._parts.installer.release()
        self._lock_has_gone()
        return True

    def _lock_has_gone(self) -> None:
        _logger.info("the lock is gone; the client goes on")
        self._parts.engine.resume()
        self._awaited = None  # not before that has succeeded
        self._inventory_again()
        self.request_poll()

    # -- what is due --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._parts.session.authorise()
            self._note_success("authorisation")
        except Interrupted:
            raise
        except MenderError as error:
            self._note_failure(error, "authorisation")
            self._postpone_everything(error)
            return
        if not self._deliver():
            return
        self._greet_again()
        now = self._parts.clock.monotonic()
        if self._schedule.inventory.is_due(now):
            job = self._run("inventory", self._schedule.inventory, self._send_inventory)
            self._schedule = replace(self._schedule, inventory=job)
        if self._schedule.poll.is_due(now):
            job = self._run("poll", self._schedule.poll, self._poll)
            self._schedule = replace(self._schedule, poll=job)

    def _greet_again(self) -> None:
        """A new token may mean that the device was forgotten and accepted anew: the server has no inventory of it."""
        tokens = self._parts.session.tokens_received
        if tokens != self._tokens_greeted:
            self._tokens_greeted = tokens
            self._inventory_again()

    def _deliver(self) -> bool:
        """Tell the server what it has not heard yet, before anything else is said; False when it can't be told."""
        try:
            self._parts.outbox.flush()
        except AbortedError as error:
            _logger.warning("%s", error)  # the next poll finds out that the deployment is no longer offered
        except Interrupted:
            raise
        except MenderError as error:
            self._note_failure(error, "reports")
            self._postpone_everything(error)
            return False
        self._note_success("reports")
        return True

    def _postpone_everything(self, error: MenderError) -> None:
        """Nothing can be done now; the jobs wait together, so that the server is asked once."""
        random = self._parts.random()
        self._schedule = Schedule(
            inventory=self._failed(self._schedule.inventory, error, random),
            poll=self._failed(self._schedule.poll, error, random),
        )

    def _run(self, name: str, job: Job, action: Callable[[], None]) -> Job:
        try:
            action()
        except Interrupted:
            raise
        except MenderError as error:
            self._note_failure(error, name)
            return self._failed(job, error, self._parts.random())
        self._note_success(name)
        self._clock_wait.succeeded()
        return job.after_success(self._parts.clock.monotonic(), random=self._parts.random())

    def _failed(self, job: Job, error: MenderError, random: float) -> Job:
        return job.after_failure(
            self._parts.clock.monotonic(),
            random=random,
            retry_after_seconds=error.retry_after_seconds if isinstance(error, ServerError) else None,
        )

    def _note_failure(self, error: MenderError, job: str) -> None:
        """Say what failed, but not every minute of an outage; that a device waits for acceptance is said elsewhere."""
        self._clock_wait.failed(error)
        if isinstance(error, NotAcceptedError):
            _logger.debug("%s", error)
            self._note_success(job)  # the server has answered
            return
        text = str(error)
        last, times = self._troubles.get(job, ("", 0))
        _logger.log(logging.WARNING if text != last else logging.DEBUG, "%s", text)
        self._troubles[job] = (text, times + 1)
        self._parts.tracker.note(lambda one, now: one.failed(job, error, now, in_a_row=times + 1))

    def _note_success(self, job: str) -> None:
        _, times = self._troubles.pop(job, ("", 0))
        if times:
            _logger.info("%s: works again after %d failure%s", job, times, "" if times == 1 else "s")
            self._parts.tracker.note(lambda one, _: one.recovered(job))

    def _say_how_it_stands(self) -> None:
        """A step is over: tell it, and what comes next."""
        tracker = self._parts.tracker
        try:
            record = self._parts.journal.load()
        except StorageError:
            record = Record()  # has been complained about where it matters
        tracker.note(lambda one, _: one.remembering(record))
        update = record.update
        name = update.artifact_name if update is not None else ""
        if self.has_handed_over and update is not None:
            tracker.does(HANDED_OVER, deployment_id=update.deployment_id, artifact_name=name)
        elif self._awaited is not None:
            tracker.does(State.INSTALLING.value, deployment_id=self._awaited, artifact_name=name)
        else:
            self._say_what_is_next()

    def _say_what_is_next(self) -> None:
        tracker, schedule = self._parts.tracker, self._schedule
        elapsed = self._parts.clock.monotonic()
        next_poll = tracker.time(in_seconds=max(0.0, schedule.poll.due_at - elapsed))
        next_inventory = tracker.time(in_seconds=max(0.0, schedule.inventory.due_at - elapsed))
        tracker.note(
            lambda one, now: one.does(WAITING, now).planned(next_poll=next_poll, next_inventory=next_inventory)
        )
        tracker.tell()

    def _send_inventory(self) -> None:
        self._parts.inventory.send(even_if_unchanged=self._is_inventory_forced)
        self._is_inventory_forced = False

    def _poll(self) -> None:
        offer = self._parts.engine.next_offer()
        if offer is None:
            return
        self.has_handed_over = self._parts.engine.carry_out(offer)
        if self.has_handed_over:
            self._has_resumed = False  # whoever steps on finds the sub-updater, or what it left, as after a restart
        self._inventory_again()
