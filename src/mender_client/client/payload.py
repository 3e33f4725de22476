"""The effects of the flow MODULES: the states of an update that an update module installs.

The order of calls, scripts and statuses is that of the installer contract. State scripts are not states: each effect
runs the scripts before and after its call. A fault is an event, whose consequences are defined in ``core.machine``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.backoff import Backoff
from mender_client.core.machine import GATES, Event, InstallerState, Result, State
from mender_client.core.model import Software, Status
from mender_client.core.update import Update
from mender_client.dataclass import dataclass, replace
from mender_client.errors import (
    AbortedError,
    ArtifactError,
    Diagnostic,
    DownloadError,
    InstallError,
    MenderError,
    ScriptError,
    ServerError,
    StorageError,
)

from .deployments import Deployments
from .download import Downloader
from .engine import Effect, Held
from .gates import GateKeeper
from .outbox import Outbox
from .pace import AGAIN_SECONDS, SuspendedError
from .payload_fetch import PayloadFetch
from .status_tracker import StatusTracker

if TYPE_CHECKING:
    from mender_client.core.ports import ArtifactStore, Clock, Modules

    from .scripts import StateScripts

_logger = logging.getLogger(__name__)

AUTOMATIC = "Automatic"
"""The answer to NeedsArtifactReboot of a module that leaves the reboot to the client."""

REBOOT_SECONDS = 600.0
"""How long the client waits for the reboot that it has requested."""

_FIRST_RETRY_SECONDS = 60.0

_FAULTS = (ArtifactError, DownloadError, InstallError, ScriptError, StorageError)
"""Errors that fail a deployment during the download; after any other error the effect is retried later."""


@dataclass(frozen=True)
class InstallPolicy:
    """How updates are installed.

    Attributes:
        is_spooled: whether the Artifact is stored before its payload is installed; None stores it if there is space.
        longest_wait_seconds: the longest wait between two attempts to report that the device has started with the
            new software (RetryPollIntervalSeconds).
        retries: how many such attempts may fail (RetryPollCount); 0 retries until the longest wait has passed three
            times.
    """

    is_spooled: bool | None = None
    longest_wait_seconds: float = 300.0
    retries: int = 0


@dataclass(kw_only=True, eq=False, repr=False)
class ModuleEffects:
    """The effects of the flow MODULES; see ``client.engine.Effects``.

    Attributes:
        save_provides: writes what the device provides to artifact_info, and returns the name that the file then
            contains; empty if that is the name of the software.
        random: returns numbers in [0, 1) for jitter.
        sync: makes all writes so far durable.
    """

    outbox: Outbox
    deployments: Deployments
    downloader: Downloader
    store: ArtifactStore
    save_provides: Callable[[Software], str]
    modules: Modules
    scripts: StateScripts
    tracker: StatusTracker
    clock: Clock
    policy: InstallPolicy
    random: Callable[[], float]
    gates: GateKeeper
    sync: Callable[[], None]

    def __post_init__(self) -> None:
        self.reason = ""
        self._is_resumed = False
        self._entered = ""
        self._fetching = PayloadFetch(
            deployments=self.deployments,
            downloader=self.downloader,
            store=self.store,
            modules=self.modules,
            scripts=self.scripts,
            is_spooled=self.policy.is_spooled,
        )
        self._reboot = ""
        self._seen_name = ""
        self.effects: Mapping[State, Effect] = {
            State.DOWNLOADING: self._download,
            State.VERIFIED: self._confirm,
            State.ARTIFACT_INSTALL: self._install,
            State.CHECK_REBOOT: self._check_reboot,
            State.ARTIFACT_REBOOT: self._reboot_device,
            State.VERIFY_REBOOT: self._verify_reboot,
            State.ARTIFACT_COMMIT: self._commit,
            State.COMMITTED: self._finish_commit,
            State.CHECK_ROLLBACK: self._check_rollback,
            State.ARTIFACT_ROLLBACK: self._roll_back,
            State.CHECK_ROLLBACK_REBOOT: self._check_rollback_reboot,
            State.ROLLBACK_REBOOT: self._reboot_into_old,
            State.VERIFY_ROLLBACK_REBOOT: self._verify_rollback_reboot,
            State.ARTIFACT_FAILURE: self._react_to_failure,
            State.CLEANUP: self._clean_up,
        }

    def look(self, update: Update) -> InstallerState:
        """As ``Effects.look``; ends the calls and scripts that outlived an earlier client."""
        if not self._is_resumed:
            self.modules.end_orphans()
            self.scripts.end_orphans()
            self._is_resumed = True
        self.reason = update.reason
        return InstallerState.NOT_BEGUN

    def note(self, update: Update) -> Update:
        """As ``Effects.note``: the cost and the content of the download, and the answers of the module."""
        self.reason = update.reason or self.reason
        update = replace(update, reason=self.reason)
        if update.software is not None:
            seen_name = self._seen_name or update.software.seen_name  # an earlier process may have seen it
            update = replace(update, software=replace(update.software, seen_name=seen_name))
        if update.state is State.DOWNLOADING:
            update = update.fetched(**self.downloader.taken_of(update.deployment_id))
            software = self._fetching.software and replace(self._fetching.software, seen_name=self._seen_name)
            return replace(update, payload_type=self.downloader.payload_type, software=software)
        if update.state in (State.CHECK_REBOOT, State.CHECK_ROLLBACK_REBOOT):
            return replace(update, reboot=self._reboot)
        return update

    def abandon(self, update: Update) -> None:
        """As ``Effects.abandon``: no more calls are made."""
        self.modules.remove_tree()
        self._keep_in_step(update, Event.LOOP)

    # -- download -----------------------------------------------------------------------------------------------

    def _download(self, update: Update) -> Event | Held:
        self._fetching.software, self._seen_name, self.reason = None, "", ""
        # a retry because the server gave no link: the state has not been left since
        is_entered = self._entered == update.deployment_id
        if (update.is_held or not is_entered) and (held := self._held(update)) is not None:
            return held
        if not is_entered and self._is_aborted(update, Status.DOWNLOADING):
            return Event.ABORT
        self._fetching.drop_tree()
        try:
            if not is_entered:
                self.scripts.run("Download", "Enter")
                self._entered = update.deployment_id
            self._fetching.fetch(update)
            self.scripts.run("Download", "Leave")
        except SuspendedError:
            return self._held(update) or Held(AGAIN_SECONDS)
        except AbortedError as error:
            self._say_aborted(update, error)
            self.scripts.run_all("Download", "Error")
            return Event.ABORT
        except _FAULTS as error:  # all others come from the server, which is asked for a link again later
            self._say_failed(update, error)
            self.scripts.run_all("Download", "Error")
            return Event.FAULT
        return Event.FETCHED if self.downloader.payload_type else self._ending(update, Event.EMPTY)

    # -- install, reboot, commit --------------------------------------------------------------------------------

    def _confirm(self, update: Update) -> Event | Held:
        if (held := self._held(update)) is not None:
            return held
        return Event.ABORT if self._is_aborted(update, Status.INSTALLING) else Event.CONFIRMED

    def _install(self, update: Update) -> Event:
        return self._scripted(update, "ArtifactInstall", lambda: self._call(update, "ArtifactInstall"))

    def _check_reboot(self, update: Update) -> Event | Held:
        if update.is_held:  # the module has already answered
            self._reboot = update.reboot
            event = Event.YES
        else:
            event = self._ask_reboot(update)
        if event is Event.YES and (held := self._held(update)) is not None:
            return held
        if event is Event.YES and self._is_aborted(update, Status.REBOOTING):
            return Event.ABORT
        return event

    def _ask_reboot(self, update: Update) -> Event:
        try:
            self._reboot = self.modules.ask(update.payload_type, "NeedsArtifactReboot")
        except InstallError as error:
            self._say_failed(update, error)
            return Event.FAULT
        return Event.NO if self._reboot == "No" else Event.YES

    def _reboot_device(self, update: Update) -> Event:
        def reboot() -> None:
            self.scripts.run("ArtifactReboot", "Enter")
            self._restart(update, "ArtifactReboot")

        return self._guarded(update, "ArtifactReboot", reboot)

    def _restart(self, update: Update, state: str) -> None:
        if update.reboot != AUTOMATIC:
            self._call(update, state)
            return
        _logger.info("deployment %s: rebooting", update.deployment_id)
        self.modules.reboot()
        self.clock.sleep(REBOOT_SECONDS)
        raise InstallError(
            "UPD13", f"the device has not rebooted within {REBOOT_SECONDS:.0f} s", remedy="check 'reboot'"
        )

    def _verify_reboot(self, update: Update) -> Event:
        def verify() -> None:
            self._call(update, "ArtifactVerifyReboot")
            self.scripts.run("ArtifactReboot", "Leave")

        return self._guarded(update, "ArtifactReboot", verify)

    def _commit(self, update: Update) -> Event | Held:
        """Commit if the server still wants the update, which may have changed the identity or key of the device."""
        if (held := self._held(update)) is not None:
            return held
        self.deployments.session.forget_token()
        try:
            self._report_installing(update)
        except AbortedError as error:
            self._say_aborted(update, error)
            return Event.ABORT
        except MenderError as error:
            self._say_failed(update, error)
            return Event.FAULT

        def commit() -> None:
            self.scripts.check_version()
            self.scripts.run("ArtifactCommit", "Enter")
            self._call(update, "ArtifactCommit")

        return self._guarded(update, "ArtifactCommit", commit)

    def _report_installing(self, update: Update) -> None:
        """Report the status with retries: a device that can't reach the server any more must not commit."""
        longest = self.policy.longest_wait_seconds
        backoff = Backoff(min(_FIRST_RETRY_SECONDS, longest), longest)
        at_longest = 0
        while True:
            try:
                self.outbox.tell(update.deployment_id, Status.INSTALLING)
                return
            except AbortedError:
                raise
            except MenderError as error:
                backoff = backoff.after_failure()
                at_longest += backoff.interval_seconds >= longest
                limit = self.policy.retries
                if backoff.failures > limit if limit else at_longest > backoff.tries_per_interval:
                    raise
                asked = error.retry_after_seconds if isinstance(error, ServerError) else None
                delay = backoff.delay_seconds(random=self.random(), retry_after_seconds=asked)
                _logger.warning("%s; next try in %.0f s", error, delay)
                self.clock.sleep(delay)

    def _finish_commit(self, update: Update) -> Event:
        event = self._guarded(update, "ArtifactCommit", lambda: self.scripts.run("ArtifactCommit", "Leave"))
        return self._ending(update, event)

    # -- rollback and failure -----------------------------------------------------------------------------------

    def _check_rollback(self, update: Update) -> Event:
        try:
            answer = self.modules.ask(update.payload_type, "SupportsRollback")
        except InstallError as error:
            self._say_failed(update, error)
            return Event.FAULT
        if answer != "Yes":
            text = f"deployment {update.deployment_id}: update module {update.payload_type} cannot roll back"
            _logger.error("%s", Diagnostic("UPD14", text))
            self.reason = update.reason or self.reason or text
        return Event.YES if answer == "Yes" else Event.NO

    def _roll_back(self, update: Update) -> Event:
        flaws = [not self._is_done(update, lambda: self.scripts.run("ArtifactRollback", "Enter"))]
        is_rolled_back = self._is_done(update, lambda: self._call(update, "ArtifactRollback"))
        flaws += [not self._is_done(update, lambda: self.scripts.run("ArtifactRollback", "Leave"))]
        if not is_rolled_back:
            return Event.FAULT
        return Event.FLAWED if any(flaws) else Event.DONE

    def _check_rollback_reboot(self, update: Update) -> Event:
        return self._ask_reboot(update)

    def _reboot_into_old(self, update: Update) -> Event:
        is_clean = self._is_done(update, lambda: self.scripts.run("ArtifactRollbackReboot", "Enter"))
        self._is_done(update, lambda: self._restart(update, "ArtifactRollbackReboot"))
        return Event.DONE if is_clean else Event.FLAWED

    def _verify_rollback_reboot(self, update: Update) -> Event:
        if not self._is_done(update, lambda: self._call(update, "ArtifactVerifyRollbackReboot")):
            self._is_done(update, lambda: self._restart(update, "ArtifactRollbackReboot"))
            return Event.AGAIN
        leave = "ArtifactRollbackReboot"
        return self._guarded(update, leave, lambda: self.scripts.run(leave, "Leave"))

    def _react_to_failure(self, update: Update) -> Event:
        done = [
            self._is_done(update, lambda: self.scripts.run("ArtifactFailure", "Enter")),
            self._is_done(update, lambda: self._call(update, "ArtifactFailure")),
            self._is_done(update, lambda: self.scripts.run("ArtifactFailure", "Leave")),
        ]
        return self._ending(update, Event.DONE if all(done) else Event.FLAWED)

    def _clean_up(self, update: Update) -> Event:
        """Let the module clean up, if it was ever called; a failure is reported, but the update isn't rolled back."""
        is_clean = not self.modules.has_tree() or self._is_done(update, lambda: self._call(update, "Cleanup"))
        self.modules.remove_tree()
        return Event.SUCCESS if is_clean and update.result is Result.CLEAN else Event.FAILURE

    def _ending(self, update: Update, event: Event) -> Event:
        self._keep_in_step(update, event)
        return event

    def _keep_in_step(self, update: Update, event: Event) -> None:
        """Write what the update leaves on the device to artifact_info, for readers such as a later sub-updater."""
        software = replace(update, software=self._fetching.software or update.software).after(event).installed
        if software is not None:
            self._seen_name = self.save_provides(software)

    # -- all of them --------------------------------------------------------------------------------------------

    def _held(self, update: Update) -> Event | Held | None:
        """Check the gate of the state; an error that ends the update is returned as an event."""
        try:
            return self.gates.hold(update, GATES[update.state], note=self._noted_reboot, sync=self.sync)
        except AbortedError as error:
            self._say_aborted(update, error)
            return Event.ABORT
        except InstallError as error:
            self._say_failed(update, error)
            return Event.FAULT

    def _noted_reboot(self, update: Update) -> Update:
        return replace(update, reboot=self._reboot) if update.state is State.CHECK_REBOOT else update

    def _call(self, update: Update, state: str) -> None:
        self.modules.run(update.payload_type, state)

    def _scripted(self, update: Update, state: str, call: Callable[[], None]) -> Event:
        def work() -> None:
            self.scripts.run(state, "Enter")
            call()
            self.scripts.run(state, "Leave")

        return self._guarded(update, state, work)

    def _guarded(self, update: Update, state: str, work: Callable[[], None]) -> Event:
        """Do the work of a state; if it fails, run the error scripts of the state."""
        if self._is_done(update, work):
            return Event.DONE
        self.scripts.run_all(state, "Error")
        return Event.FAULT

    def _is_done(self, update: Update, work: Callable[[], None]) -> bool:
        try:
            work()
        except MenderError as error:
            self._say_failed(update, error)
            return False
        return True

    def _is_aborted(self, update: Update, status: Status) -> bool:
        """Report a status; one that can't be sent now stays pending without delaying the update."""
        try:
            self.outbox.tell(update.deployment_id, status)
        except AbortedError as error:
            self._say_aborted(update, error)
            return True
        except MenderError as error:
            _logger.warning("deployment %s: status %s is still pending: %s", update.deployment_id, status.value, error)
        return False

    def _say_failed(self, update: Update, error: MenderError) -> None:
        """Log an error; the first one is the reason why the update fails."""
        _logger.error("deployment %s: %s", update.deployment_id, error)
        self.reason = update.reason or self.reason or str(error)
        self.tracker.note(lambda one, now: one.failed("update", error, now, in_a_row=0))

    def _say_aborted(self, update: Update, error: AbortedError) -> None:
        _logger.warning("deployment %s: %s", update.deployment_id, error)
        self.reason = update.reason or self.reason or str(error)
