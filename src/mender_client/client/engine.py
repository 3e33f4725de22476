"""The write-ahead driver: takes an update from state to state, each stored before its effect happens.

Effects work on the stored update, so a restarted client continues without asking the server again. Every effect may run
twice; where that would do harm, ``RESUME`` avoids it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from mender_client import TYPE_CHECKING
from mender_client.core.machine import ENDS, RESUME, Event, Flow, InstallerState, State, advance, resume_held
from mender_client.core.model import Deployment, LogMessage, Status
from mender_client.core.record import Record
from mender_client.core.update import LoopError, Update
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, RefusedLogError, ServerError, StorageError

from .deployments import Deployments, Offer
from .outbox import Outbox
from .outcome import Outcomes, recording
from .status_tracker import StatusTracker

if TYPE_CHECKING:
    from typing import Protocol

    from mender_client.core.ports import ArtifactStore, Clock, DeploymentLog, DeviceData, Journal, Lock
else:
    Protocol = object

_logger = logging.getLogger(__name__)

_CONFLICT = 409


@dataclass(frozen=True)
class Wait:
    """There is nothing to do for a number of seconds."""

    seconds: float


@dataclass(frozen=True)
class Held:
    """The update waits at a gate, which is checked again with the next update poll.

    Attributes:
        seconds: the time until the gate may open by itself, which may be sooner; None if it isn't known.
    """

    seconds: float | None = None


LOCK_CHECK_SECONDS = 4.0
"""How often the lock file is checked while the sub-updater installs an update."""

AT_ONCE = Wait(0.0)
_SOON = Wait(1.0)

Effect = Callable[[Update], "Event | Wait | Held"]
"""Does the work of a state and returns what happened; may run twice for the same update."""


class Effects(Protocol):
    """The effects of one flow."""

    @property
    def effects(self) -> Mapping[State, Effect]:
        """The effect of each state."""

    @property
    def reason(self) -> str:
        """Why the last effect failed; empty if it didn't."""

    def look(self, update: Update) -> InstallerState:
        """The state of the installer, as far as it can be observed."""

    def note(self, update: Update) -> Update:
        """The update with what became known in its state; stored together with the next state."""

    def abandon(self, update: Update) -> None:
        """End the work on an update that is in a state loop."""


@dataclass(kw_only=True, eq=False, repr=False)
class Engine:
    """Carries out deployments.

    Attributes:
        effects_of: returns the effects of a flow; called only when they are needed, to save memory in an idle client.
        choose_flow: chooses the flow of a new deployment.
        boot_id: returns an identifier of this boot.
    """

    clock: Clock
    device: DeviceData
    journal: Journal
    outbox: Outbox
    deployments: Deployments
    store: ArtifactStore
    lock: Lock
    log: DeploymentLog
    outcomes: Outcomes
    effects_of: Callable[[Flow], Effects]
    tracker: StatusTracker
    choose_flow: Callable[[Deployment], Flow] = lambda _: Flow.HANDOVER
    boot_id: Callable[[], str] = lambda: ""

    def __post_init__(self) -> None:
        self._is_tidy = False

    # -- a new deployment ---------------------------------------------------------------------------------------

    def ask(self) -> Offer | None:
        """Poll for a deployment; an update in progress that is no longer offered ends here.

        Returns:
            The deployment to carry out, new or in progress; None if there is none.

        Raises:
            MenderError: the server can't be reached or answers with an error.
        """
        update = self.journal.load().update
        try:
            if update is None:
                provides = self.journal.load().provides(self.device.provides())
                self.tracker.note(lambda one, _: one.asks_with(provides.artifact_name))
                offer = self.deployments.next(provides)
            else:
                # the request carries the same data until the end of the deployment, even if the device's have changed
                offer = self.deployments.next(update.provides, update.form)
        except ServerError as error:
            if update is not None and error.status == _CONFLICT:
                self._drop(update)
            raise
        self.tracker.note(lambda one, now: one.answered(now))
        if update is not None and (offer is None or offer.deployment.id != update.deployment_id):
            self._drop(update)
        if offer is None:
            _logger.debug("no deployment")
            self._is_tidy = self._is_tidy or self.outcomes.tidy()
        return offer

    def _drop(self, update: Update) -> None:
        _logger.warning("deployment %s: the server no longer offers it: aborted by the server", update.deployment_id)
        self._end(update, Event.ABORT)

    def begin(self, offer: Offer) -> bool:
        """Store an offered deployment as the update in progress.

        A deployment with a known outcome is never installed again: the known outcome is reported.

        Returns:
            Whether there is an update to continue now.

        Raises:
            MenderError: the known outcome, or the failure to begin, can't be reported.
        """
        self._is_tidy = False
        deployment = offer.deployment
        known = self.journal.load().outcome_of(deployment.id)
        if known is not None:
            _logger.warning(
                "deployment %s is offered again, but its outcome is known: %s", deployment.id, known.status.value
            )
            self.outbox.tell(deployment.id, known.status)
            return False
        with recording(self.log, deployment.id):
            _logger.info("deployment %s: update to %s", deployment.id, deployment.artifact_name)
            try:
                self.journal.update(
                    lambda record: record.begun(
                        deployment, offer.provides, offer.form, now=self._now(), flow=self.choose_flow(deployment)
                    )
                )
            except StorageError as error:
                _logger.error("deployment %s failed: %s", deployment.id, error)
                self._refuse(deployment.id, error)
                return False
        return True

    def _refuse(self, deployment_id: str, error: StorageError) -> None:
        """Fail a deployment that can't be stored, and therefore can't be carried out safely."""
        try:
            self.outcomes.conclude(deployment_id, Event.FAULT, reason=str(error))
        except StorageError:
            with suppress(RefusedLogError):
                self.deployments.send_log(deployment_id, [LogMessage(self.clock.now(), "error", str(error))])
            self.deployments.send_status(deployment_id, Status.FAILURE)
        else:
            self.outbox.flush()

    # -- from state to state ------------------------------------------------------------------------------------

    def run(self) -> Wait | Held | None:
        """Continue the update until there is nothing to do for a while, or until it is over.

        Returns:
            How long to wait before the next call, or that the update is held; None if none is in progress any more.

        Raises:
            MenderError: the server can't be reached or the disk can't be written now; try again later.
        """
        update = self.journal.load().update
        if update is None:
            return None
        with recording(self.log, update.deployment_id):
            while (wait := self.step()) == AT_ONCE:
                pass
        if wait is None:
            self.outbox.flush()
        return wait

    def step(self) -> Wait | Held | None:
        """Run the effect of the update's state and store the state that follows.

        Returns:
            How long to wait before the next step, or that it is held; None if no update is in progress any more.

        Raises:
            MenderError: as ``run``.
        """
        update = self.journal.load().update
        if update is None:
            return None
        effects = self.effects_of(update.flow)
        self.tracker.does(update.state.value, deployment_id=update.deployment_id, artifact_name=update.artifact_name)
        result = effects.effects[update.state](update)
        if isinstance(result, Held):
            return result
        if isinstance(result, Wait):
            return self._waited(update, result)
        return self._move(update, result)

    def _waited(self, update: Update, wait: Wait) -> Wait:
        """If what the state waits for has happened in the meantime, resume the update as after a restart."""
        state = RESUME[update.flow][update.state][self._look(update)]
        if state is update.state:
            return wait
        self._enter(update, state)
        return AT_ONCE

    def _move(self, update: Update, event: Event) -> Wait:
        deployment_id, note = update.deployment_id, self.effects_of(update.flow).note
        if advance(update.flow, update.state, event) in ENDS:
            self._end(update, event, self.effects_of(update.flow).reason)
            return AT_ONCE
        try:
            self._store_state(update, lambda record: record.moved(deployment_id, event, now=self._now(), note=note))
        except StorageError as error:
            if event is not Event.STARTED or self._look(update) is InstallerState.NO_LOCK:
                raise
            # the installer has begun anyway; the state that was stored before is enough to detect this
            text = f"cannot record that deployment {deployment_id} is being installed: {error.text}"
            _logger.warning("%s", Diagnostic("UPD05", text, remedy=error.remedy))
            return _SOON
        return AT_ONCE

    def _store_state(self, update: Update, change: Callable[[Record], Record]) -> None:
        try:
            self.journal.update(change)
        except LoopError as error:
            text = f"deployment {update.deployment_id} failed: state loop detected: {error}"
            _logger.error("%s", Diagnostic("UPD06", text, remedy="check the log for why the client exited each time"))
            effects = self.effects_of(update.flow)
            effects.abandon(update)
            self._end(update, Event.LOOP, f"state loop detected: {error}")

    def _end(self, update: Update, event: Event, reason: str = "") -> None:
        self.outcomes.conclude(update.deployment_id, event, note=self.effects_of(update.flow).note, reason=reason)

    def _look(self, update: Update) -> InstallerState:
        return self.effects_of(update.flow).look(update)

    def _now(self) -> str:
        return self.clock.now().isoformat(timespec="seconds")

    def give_up(self, deployment_id: str, reason: str) -> None:
        """Fail a deployment whose sub-updater never reports, and remove the lock.

        Args:
            deployment_id: the deployment that the lock file names; empty if it names none.
            reason: why, for the log.

        Raises:
            StorageError: the state file or the lock can't be written.
        """
        if deployment_id:
            with recording(self.log, deployment_id):
                _logger.error("%s", Diagnostic("UPD08", f"deployment {deployment_id} failed: {reason}"))
            self.outcomes.conclude(deployment_id, Event.FAULT, reason=reason)
        else:
            _logger.error("%s", Diagnostic("UPD09", f"update.lock names no deployment and is removed: {reason}"))
        self.lock.remove()

    # -- after a restart ----------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Determine, after a restart or when the lock was removed, in which state to resume.

        Raises:
            StorageError: the state file can't be written, or what is installed can't be determined.
        """
        self._is_tidy = False
        record = self.journal.load()
        self._end_unread(record)
        update = record.update
        if update is None:
            self._is_tidy = self.outcomes.tidy()
            return
        found = self._look(update)
        state = self._resumed(update, found)
        seen = f"; found {found.value}" if update.is_handed_over else ""
        _logger.info(
            "deployment %s: resuming in state %s (was %s)%s",
            update.deployment_id,
            state.value,
            update.state.value,
            seen,
        )
        is_ours = self.lock.read() == update.deployment_id
        if is_ours and found is not InstallerState.AT_WORK and state is State.DOWNLOADING:
            self.lock.remove()
        with recording(self.log, update.deployment_id):
            self._enter(update, state)
            if state is State.RECONCILING:  # what is installed is known without the server
                self.step()

    def _resumed(self, update: Update, found: InstallerState) -> State:
        if update.waiting is None or not update.is_held or update.is_handed_over or update.state is State.DOWNLOADING:
            return RESUME[update.flow][update.state][found]
        is_same_boot = self.boot_id() == update.waiting.boot_id != ""
        return resume_held(update.state, update.reboot, is_same_boot=is_same_boot)

    def _enter(self, update: Update, state: State) -> None:
        bytes_on_disk = self.store.partial_size()
        self._store_state(update, lambda record: record.resumed(state, bytes_on_disk=bytes_on_disk, now=self._now()))

    def _end_unread(self, record: Record) -> None:
        """Fail an update that another version began and this one can't read, unless it is still being installed.

        While the lock exists, the sub-updater may still report the outcome; without a lock, nothing else would ever
        end the deployment.
        """
        deployment_id = record.unread.deployment_id
        if not deployment_id or self.lock.read() in (deployment_id, ""):
            return
        with recording(self.log, deployment_id):
            reason = "another version of the client began it, and this one cannot "
            reason += f"continue {record.unread.summary}"
            text = f"deployment {deployment_id} failed: {reason}"
            _logger.error("%s", Diagnostic("UPD07", text, remedy="deploy again"))
        self.outcomes.conclude(deployment_id, Event.FAULT, reason=reason)
