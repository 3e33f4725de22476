"""The effects of the flow HANDOVER: download, confirm, hand the Artifact over, wait, compare what is installed.

Each works on the stored update alone, so a restarted client continues from the state file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.gates import GatePoint
from mender_client.core.machine import Event, InstallerState, State
from mender_client.core.model import CONFIGURATION, Status
from mender_client.core.update import ProcessRef, Update
from mender_client.dataclass import dataclass, replace
from mender_client.errors import (
    AbortedError,
    ArtifactError,
    Diagnostic,
    DownloadError,
    InstallError,
    MenderError,
    StorageError,
)

from .deployments import Deployments
from .download import Downloader
from .engine import LOCK_CHECK_SECONDS, Effect, Held, Wait
from .gates import GateKeeper
from .outbox import Outbox
from .pace import AGAIN_SECONDS, SuspendedError
from .status_tracker import StatusTracker

if TYPE_CHECKING:
    from mender_client.core.artifact import Header
    from mender_client.core.ports import ArtifactStore, DeviceData, Installer, Lock, SubUpdater

_logger = logging.getLogger(__name__)

_FAULTS = (ArtifactError, DownloadError, InstallError, StorageError)
"""Errors that fail a deployment before it is installed; after any other error the effect is retried later."""


@dataclass(kw_only=True, eq=False, repr=False)
class HandOver:
    """The effects of the flow HANDOVER; see ``client.engine.Effects``.

    Attributes:
        sub_updater: None if this process installs updates itself.
    """

    outbox: Outbox
    deployments: Deployments
    downloader: Downloader
    store: ArtifactStore
    device: DeviceData
    lock: Lock
    installer: Installer
    sub_updater: SubUpdater | None
    tracker: StatusTracker
    gates: GateKeeper

    def __post_init__(self) -> None:
        self.reason = ""
        self._started = ""
        self._not_started = ""
        self._process: ProcessRef | None = None
        self.effects: Mapping[State, Effect] = {
            State.DOWNLOADING: self._failing(self._download),
            State.VERIFIED: self._failing(self._confirm),
            State.HANDING_OVER: self._failing(self._hand_over),
            State.INSTALLING: self._wait,
            State.RECONCILING: self._reconcile,
        }

    def look(self, update: Update) -> InstallerState:
        has_begun = self._not_started != update.deployment_id and self.installer.has_begun()
        if update.process is None and not has_begun:
            return InstallerState.NOT_BEGUN
        # a lock that names no deployment may belong to this one; only a missing or another's lock means that it is done
        if self.lock.read() not in (update.deployment_id, ""):
            return InstallerState.NO_LOCK
        if self.sub_updater is not None and self.sub_updater.find_process(update.deployment_id, update.process):
            return InstallerState.AT_WORK
        return InstallerState.LOCK_ALONE

    def note(self, update: Update) -> Update:
        """As ``Effects.note``: the process, or the cost of the download."""
        if update.state is State.DOWNLOADING:
            noted = update.fetched(**self.downloader.taken_of(update.deployment_id))
            return replace(noted, payload_type=self.downloader.payload_type, software=self.downloader.software)
        return replace(update, process=self._process) if update.state is State.HANDING_OVER else update

    def abandon(self, update: Update) -> None:
        """As ``Effects.abandon``: there is nothing to do."""

    def _failing(self, effect: Effect) -> Effect:
        """Turn the errors of an effect into events: before the installation, an error can end the deployment."""

        def guarded(update: Update) -> Event | Wait | Held:
            self.reason = ""
            try:
                return effect(update)
            except AbortedError as error:
                _logger.warning("deployment %s: %s", update.deployment_id, error)
                return Event.ABORT
            except _FAULTS as error:
                self._say_failed(update, error)
                return Event.FAULT

        return guarded

    def _say_failed(self, update: Update, error: MenderError) -> None:
        _logger.error("deployment %s failed: %s", update.deployment_id, error)
        self.reason = str(error)
        self.tracker.note(lambda one, now: one.failed("update", error, now, in_a_row=0))

    def _download(self, update: Update) -> Event | Held:
        if (held := self.gates.hold(update, GatePoint.DOWNLOAD)) is not None:
            return held
        if not update.is_only_verified_again:
            self.outbox.tell(update.deployment_id, Status.DOWNLOADING)
        if self.sub_updater is not None:
            self.sub_updater.check()  # before the download, not after it
        try:
            self.downloader.fetch(update, lambda: self.deployments.fresh_link(update), accept=self._accept)
        except SuspendedError:
            return self.gates.hold(update, GatePoint.DOWNLOAD) or Held(AGAIN_SECONDS)
        return Event.FETCHED

    def _accept(self, header: Header) -> None:
        """Refuse a configuration from the server, which a sub-updater would take for a release."""
        if header.payload.type == CONFIGURATION and not self.downloader.policy.payload_types:
            raise ArtifactError(
                "DWN23",
                f"cannot apply the configuration: nothing on this device installs payloads of type {CONFIGURATION}",
                remedy="deploy releases only, or list the types that the sub-updater installs in PayloadTypes",
            )

    def _confirm(self, update: Update) -> Event | Held:
        """Report the status installing, whose reply shows whether the update is still wanted; then take the lock."""
        if (held := self.gates.hold(update, GatePoint.INSTALL)) is not None:
            return held
        self.outbox.tell(update.deployment_id, Status.INSTALLING)
        self._started = ""
        self.installer.claim(update.deployment_id)
        return Event.CONFIRMED

    def _hand_over(self, update: Update) -> Event:
        """Start the installation, but only once, even if the start could not be stored."""
        if self._started != update.deployment_id:
            self._not_started = update.deployment_id  # even if a failed attempt leaves a trace
            self._process = self.installer.install(update.deployment, self.store.artifact)
            self._not_started = ""
            self._started = update.deployment_id
            _logger.info("deployment %s: installation of %s started", update.deployment_id, self.store.artifact)
        return Event.STARTED

    def _wait(self, update: Update) -> Wait:  # noqa: ARG002 - nothing to do but wait, whatever the update
        return Wait(LOCK_CHECK_SECONDS)

    def _reconcile(self, update: Update) -> Event:
        """Determine the outcome from the installed software, since the lock was removed without a report.

        After an error, the effect is run again.
        """
        installed = self.device.provides().artifact_name
        is_installed = installed == update.artifact_name
        how = "succeeded" if is_installed else "failed"
        self.reason = f"the sub-updater removed the lock without a report, and artifact_info says {installed!r}"
        text = f"deployment {update.deployment_id} {how}: {self.reason}"
        _logger.warning(
            "%s", Diagnostic("UPD04", text, remedy="make the sub-updater report before it removes the lock")
        )
        return Event.SUCCESS if is_installed else Event.FAILURE
