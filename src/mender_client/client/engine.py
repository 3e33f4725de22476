"""One deployment from the offer to its end: a walk through the states, each written down before its effect."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client.core.machine import ENDS, RESUME, Event, InstallerState, State, advance
from mender_client.core.model import Link, LogMessage, Status
from mender_client.core.ports import ArtifactStore, Clock, DeploymentLog, Device, Installer, Journal
from mender_client.core.record import LoopError, ProcessRef, Record, Update
from mender_client.errors import (
    AbortedError,
    ArtifactError,
    DownloadError,
    InstallError,
    MenderError,
    ServerError,
    StorageError,
)

from .deployments import Deployments, Offer
from .download import Downloader
from .outbox import Outbox
from .status_tracker import StatusTracker

_logger = logging.getLogger(__name__)

_CONFLICT = 409

_FAULTS = (ArtifactError, DownloadError, InstallError, StorageError)
"""Errors that fail a deployment; every other one is waited out, and the deployment goes on where it stood."""


class Engine:
    """Carries deployments out.

    Args:
        clock: dates what happens, for people.
        device: says what is installed.
        journal: remembers where the update stands.
        outbox: tells the server.
        deployments: asks the server for a fresh link.
        downloader: brings Artifacts onto the device.
        store: holds the Artifact.
        installer: takes it over.
        log: records what happens, for the server.
        witness: is told what the client does.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        device: Device,
        journal: Journal,
        outbox: Outbox,
        deployments: Deployments,
        downloader: Downloader,
        store: ArtifactStore,
        installer: Installer,
        log: DeploymentLog,
        tracker: StatusTracker,
    ) -> None:
        self._clock = clock
        self._device = device
        self._journal = journal
        self._outbox = outbox
        self._deployments = deployments
        self._downloader = downloader
        self._store = store
        self._installer = installer
        self._log = log
        self._is_unreconciled = False
        self._tracker = tracker

    def next_offer(self) -> Offer | None:
        """Ask the server for a deployment; one that was under way and is no longer offered ends here.

        Returns:
            The deployment that is to be carried out, new or under way; None when there is nothing to do.

        Raises:
            MenderError: the server can't be asked or answers with an error.
        """
        self._reconcile_at_once()
        update = self._journal.load().update
        try:
            if update is None:
                offer = self._deployments.next(self._device.provides())
            else:
                # a deployment is asked for with the same data until its end, whatever the device would say now
                offer = self._deployments.next(update.provides, update.form)
        except ServerError as error:
            if update is not None and error.status == _CONFLICT:
                self._drop(update)
            raise
        self._tracker.note(lambda one, now: one.answered(now))
        if update is not None and (offer is None or offer.deployment.id != update.deployment_id):
            self._drop(update)
        if offer is None:
            _logger.debug("no deployment")
            self.tidy()
        return offer

    def carry_out(self, offer: Offer) -> bool:
        """Download, verify and hand over.

        A deployment whose outcome is known is answered from memory and never installed twice.

        Returns:
            Whether it was handed over.

        Raises:
            MenderError: the server can't be reached now; the update goes on when it is offered again.
        """
        deployment = offer.deployment
        known = self._journal.load().outcome_of(deployment.id)
        if known is not None:
            _logger.warning(
                "deployment %s is offered again, but its outcome is known: %s", deployment.id, known.status.value
            )
            self._outbox.tell(deployment.id, known.status)
            return False
        with _recording(self._log, deployment.id):
            is_handed = self._begin(offer) and self._walk(offer)
            if is_handed and self._is_installing(deployment.id):
                return True
        self._is_unreconciled = is_handed and self._journal.load().update_of(deployment.id) is not None
        self._reconcile_at_once()
        self._outbox.flush()
        return False

    def _reconcile_at_once(self) -> None:
        """A sub-updater that was done in an instant found this client running and won't start it again: go on here."""
        if self._is_unreconciled:
            self.resume()
            self._is_unreconciled = False  # not before that has succeeded

    def _begin(self, offer: Offer) -> bool:
        """Note the new update; without a memory it can't be carried out safely, and the server is told so at once."""
        deployment = offer.deployment
        _logger.info("deployment %s: update to %s", deployment.id, deployment.artifact_name)
        try:
            self._journal.update(lambda record: record.begun(deployment, offer.provides, offer.form, now=self._now()))
        except StorageError as error:
            _logger.error("deployment %s failed: %s", deployment.id, error)
            self._deployments.send_log(deployment.id, [LogMessage(self._clock.now(), "error", str(error))])
            self._deployments.send_status(deployment.id, Status.FAILURE)
            return False
        return True

    def _walk(self, offer: Offer) -> bool:
        """Go from state to state; returns whether the walk ended being installed by the sub-updater."""
        effects: dict[State, Callable[[Offer], tuple[Event, ProcessRef | None]]] = {
            State.DOWNLOADING: self._fetch,
            State.VERIFIED: self._ask_once_more,
            State.HANDING_OVER: self._hand_over,
        }
        deployment_id = offer.deployment.id
        while (update := self._journal.load().update_of(deployment_id)) and update.state in effects:
            self._tracker.does(update.state.value, deployment_id=deployment_id, artifact_name=update.artifact_name)
            try:
                event, process = effects[update.state](offer)
            except AbortedError as error:
                _logger.warning("deployment %s: %s", deployment_id, error)
                event, process = Event.ABORT, None
            except _FAULTS as error:
                _logger.error("deployment %s failed: %s", deployment_id, error)
                event, process = Event.FAULT, None
                self._note_fault(error)
                self._discard()  # first of all: the journal may need the room
            if event is Event.STARTED:
                self._note_process(deployment_id, process)
                return True
            self._move(deployment_id, event)
        return False

    def _note_fault(self, error: MenderError) -> None:
        self._tracker.note(lambda one, now: one.failed("update", error, now, in_a_row=0))

    def _note_process(self, deployment_id: str, process: ProcessRef | None) -> None:
        """Note who is at work; what was noted before does in need, and the sub-updater has begun in any case."""
        try:
            self._move(deployment_id, Event.STARTED, process)
        except StorageError as error:
            _logger.warning("deployment %s: the sub-updater's process is not noted: %s", deployment_id, error)

    def _is_installing(self, deployment_id: str) -> bool:
        is_known = self._journal.load().outcome_of(deployment_id) is not None
        return self._installer.current_deployment() == deployment_id and not is_known

    def _fetch(self, offer: Offer) -> tuple[Event, None]:
        self._outbox.tell(offer.deployment.id, Status.DOWNLOADING)
        self._installer.check()  # before the gigabyte, not after it
        self._downloader.fetch(offer.deployment, offer.provides, lambda: self._fresh_link(offer))
        return Event.FETCHED, None

    def _fresh_link(self, offer: Offer) -> Link:
        again = self._deployments.next(offer.provides, offer.form)
        if again is None or again.deployment.id != offer.deployment.id:
            raise AbortedError("cannot go on with the deployment: the server no longer offers it", status=204)
        return again.deployment.link

    def _ask_once_more(self, offer: Offer) -> tuple[Event, None]:
        """Say that it is being installed, which also asks whether it is still wanted; then claim the device."""
        self._outbox.tell(offer.deployment.id, Status.INSTALLING)
        self._installer.claim(offer.deployment.id)
        return Event.CONFIRMED, None

    def _hand_over(self, offer: Offer) -> tuple[Event, ProcessRef]:
        deployment = offer.deployment
        process = self._installer.install(deployment, self._store.artifact)
        _logger.info("deployment %s: %s is handed over to the sub-updater", deployment.id, self._store.artifact)
        return Event.STARTED, process

    def _move(self, deployment_id: str, event: Event, process: ProcessRef | None = None) -> None:
        """Write the next state down; an end tidies up."""
        received, kept = self._downloader.taken_of(deployment_id)

        def change(record: Record) -> Record:
            update = record.update_of(deployment_id)
            if update is None:
                return record  # the sub-updater was faster: its report has ended it
            if update.state is State.DOWNLOADING:
                record = record.fetched(deployment_id, received=received, kept=kept)
            if advance(update.state, event) in ENDS:
                return record.concluded(deployment_id, event, now=self._now())
            return record.moved(deployment_id, event, now=self._now(), process=process)

        record = self._journal.update(change)
        if record.update_of(deployment_id) is None and event is not Event.STARTED:
            self._discard()
            if self._installer.current_deployment() == deployment_id:
                self._installer.release()

    def trim_log(self) -> None:
        """See that a sub-updater that never stops writing doesn't fill the disk."""
        self._log.trim()

    def tidy(self) -> None:
        """Remove an Artifact that nobody needs any more: it only takes room."""
        if self._journal.load().update is None and self._installer.current_deployment() is None:
            self._discard()

    def _discard(self) -> None:
        try:
            self._store.discard()
        except StorageError as error:
            _logger.error("%s", error)

    def resume(self) -> None:
        """Find out, after a restart or when the lock has gone, in which state the update goes on.

        Raises:
            StorageError: the journal can't be written, or nobody can tell what is installed.
        """
        update = self._journal.load().update
        if update is None:
            self.tidy()
            return
        sight = self._look(update)
        state = RESUME[update.state][sight]
        _logger.info(
            "deployment %s: found %s with %s; goes on %s",
            update.deployment_id,
            update.state.value,
            sight.value,
            state.value,
        )
        is_ours = self._installer.current_deployment() == update.deployment_id
        if is_ours and sight is not InstallerState.AT_WORK and state is State.DOWNLOADING:
            self._installer.release()
        with _recording(self._log, update.deployment_id):
            self._enter(update, state)
        if state is State.RECONCILING:
            self._reconcile(update)

    def _look(self, update: Update) -> InstallerState:
        if update.process is None and not self._installer.has_begun():
            return InstallerState.NOT_BEGUN
        # a lock that names nobody may well be this deployment's; only no lock, or another's, says that it is done
        if self._installer.current_deployment() not in (update.deployment_id, ""):
            return InstallerState.NO_LOCK
        if self._installer.find_process(update.deployment_id, update.process) is not None:
            return InstallerState.AT_WORK
        return InstallerState.LOCK_ALONE

    def _enter(self, update: Update, state: State) -> None:
        bytes_on_disk = self._store.partial_size()
        try:
            self._journal.update(lambda record: record.resumed(state, bytes_on_disk=bytes_on_disk, now=self._now()))
        except LoopError as error:
            _logger.error("deployment %s failed: it goes in circles: %s", update.deployment_id, error)
            self._move(update.deployment_id, Event.FAULT)

    def _reconcile(self, update: Update) -> None:
        """The lock is gone and nobody reported: what is installed tells how it went."""
        with _recording(self._log, update.deployment_id):
            installed = self._device.provides().artifact_name
            is_installed = installed == update.artifact_name
            _logger.warning(
                "deployment %s: the sub-updater removed the lock without a report; artifact_info says %r, so it %s",
                update.deployment_id,
                installed,
                "succeeded" if is_installed else "failed",
            )
            self._move(update.deployment_id, Event.SUCCESS if is_installed else Event.FAILURE)

    def _drop(self, update: Update) -> None:
        """The server no longer offers the update under way: it is over.

        Raises:
            StorageError: the journal can't be written.
        """
        _logger.warning("deployment %s: the server no longer offers it; it ends here", update.deployment_id)
        self._move(update.deployment_id, Event.ABORT)

    def give_up(self, deployment_id: str, reason: str) -> None:
        """Fail a deployment whose sub-updater does not come back, and free the device.

        Raises:
            StorageError: the journal or the lock can't be written.
        """
        if not deployment_id:
            _logger.error("the lock of an unknown deployment is removed: %s", reason)
            return
        with _recording(self._log, deployment_id):
            _logger.error("deployment %s failed: %s", deployment_id, reason)
            self._journal.update(lambda record: record.concluded(deployment_id, Event.FAULT, now=self._now()))
        self._discard()

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds")


class _recording:
    """Records log lines for the server while the deployment is worked on."""

    def __init__(self, log: DeploymentLog, deployment_id: str) -> None:
        self._log = log
        self._deployment_id = deployment_id

    def __enter__(self) -> None:
        self._log.begin(self._deployment_id)

    def __exit__(self, *_: object) -> None:
        self._log.end()
