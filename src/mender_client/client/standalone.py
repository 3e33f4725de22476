"""Installs, commits and rolls back standalone updates, on command (installer contract, section 6).

Each command takes the update from position to position, each stored before its effect begins. It ends when the update
is over, at a state where it was told to stop, or where an operator has to decide. The results are recorded as facts,
which the program turns into messages and exit codes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.machine import Result
from mender_client.core.model import Software, replaced
from mender_client.core.record import Record
from mender_client.core.standalone import EXPLANATIONS, INTERRUPTED, REVERSIBLE, STOPS, Fact, Position, StandaloneUpdate
from mender_client.dataclass import dataclass, replace
from mender_client.errors import Diagnostic, MenderError

from .scripts import StateScripts

if TYPE_CHECKING:
    from mender_client.core.artifact import ArtifactReader
    from mender_client.core.ports import Clock, DeviceData, Journal, Lock, Modules

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class Standalone:
    """Carries out one command.

    Attributes:
        save_provides: writes what the device provides to artifact_info, and returns the name that the file then
            contains; empty if that is the name of the software.
        begun: called once the header of an Artifact has been read.
        stops: the states before which the command stops.
    """

    clock: Clock
    journal: Journal
    device: DeviceData
    lock: Lock
    modules: Modules
    scripts: StateScripts
    save_provides: Callable[[Software], str]
    begun: Callable[[], None] = lambda: None
    stops: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.facts: set[Fact] = set()
        self._is_commit_wanted = False
        self._is_automatic = False
        self._steps: dict[Position, Callable[[StandaloneUpdate], StandaloneUpdate | None]] = {
            Position.STREAMED: lambda update: self._enter(update, Position.ARTIFACT_INSTALL),
            Position.ARTIFACT_INSTALL: self._install,
            Position.INSTALLED: self._begin_commit,
            Position.ARTIFACT_COMMIT: self._commit,
            Position.COMMITTED: lambda update: self._enter(update, Position.ARTIFACT_COMMIT_LEAVE),
            Position.ARTIFACT_COMMIT_LEAVE: self._finish_commit,
            Position.ARTIFACT_ROLLBACK: self._roll_back,
            Position.ARTIFACT_FAILURE: self._react_to_failure,
            Position.CLEANUP: self._clean_up,
        }

    # -- the commands ---------------------------------------------------------------------------------------------

    def install(self, open_artifact: Callable[[], ArtifactReader]) -> None:
        """Install an Artifact, and commit it if it can't be rolled back.

        Args:
            open_artifact: opens the Artifact for reading; may raise MenderError.

        Raises:
            StorageError: the state file can't be read or written.
            Interrupted: the client was asked to stop.
        """
        record = self.journal.load()
        if problem := self._obstacle(record):
            self.facts |= {Fact.NOT_MODIFIED, Fact.FAILED}
            _logger.error("%s", problem)
            return
        self.modules.end_orphans()
        self.scripts.end_orphans()
        try:
            update = self._stream(record, open_artifact())
        except MenderError as error:
            self._fail(error, Fact.STREAMING_FAILED)
            self.facts.add(Fact.NOT_MODIFIED)
            return
        if update is not None:
            self._go_on(update)

    def commit(self) -> None:
        """Commit the installed update; one that was interrupted during its commit is rolled back.

        Raises:
            StorageError: the state file can't be read or written.
            Interrupted: the client was asked to stop.
        """
        update = self._pending()
        if update is None:
            return
        self._is_commit_wanted = True
        if update.position is Position.INSTALLED:
            self._go_on(update)
        elif update.position is Position.ARTIFACT_COMMIT:
            self._go_on(self._turn_back(update))
        else:
            self._refuse(update, "commit")

    def roll_back(self) -> None:
        """Restore the previous software; raises as ``commit``."""
        update = self._pending()
        if update is None:
            return
        if update.position is Position.ARTIFACT_ROLLBACK:
            self._go_on(update)
        elif update.position not in REVERSIBLE:
            self._refuse(update, "roll back")
        elif self._can_roll_back(update):
            self._go_on(self._enter(replace(update, result=Result.FAILED), Position.ARTIFACT_ROLLBACK))
        else:
            self.facts |= {Fact.NO_ROLLBACK, Fact.FAILED}

    def resume(self) -> None:
        """Continue an update that was stopped or interrupted; raises as ``commit``."""
        update = self._pending()
        if update is None:
            return
        self._is_commit_wanted = update.position is Position.INSTALLED
        if update.position in INTERRUPTED:
            update = self._turn_back(update)
        self._go_on(update)

    def _pending(self) -> StandaloneUpdate | None:
        update = self.journal.load().standalone
        if update is None:
            self.facts.add(Fact.NOTHING)
            return None
        self.modules.end_orphans()
        self.scripts.artifact.end_orphans()  # a daemon may be running those of the root file system
        if update.is_rolled_back:
            self.facts.add(Fact.ROLLED_BACK)
        return update

    def _refuse(self, update: StandaloneUpdate, what: str) -> None:
        self.facts.add(Fact.FAILED)
        text = f"cannot {what} {update.artifact_name}: {EXPLANATIONS[update.position]}"
        _logger.error("%s", Diagnostic("UPD20", text))

    def _obstacle(self, record: Record) -> Diagnostic | None:
        """Why nothing may be installed now."""
        if record.standalone is not None:
            where = f"{record.standalone.artifact_name}: {EXPLANATIONS[record.standalone.position]}"
            return Diagnostic("UPD21", f"cannot install: an update is in progress, {where}")
        if record.update is not None or record.unread.update is not None or self.lock.read() is not None:
            text = "cannot install: a deployment of the server is in progress"
            return Diagnostic("UPD22", text, "wait until it has finished; 'status' shows it")
        return None

    # -- from position to position --------------------------------------------------------------------------------

    def _go_on(self, update: StandaloneUpdate) -> None:
        is_cleaned_only = update.position is Position.CLEANUP
        left: StandaloneUpdate | None = update
        while left is not None:
            is_waiting = left.position is Position.INSTALLED and not self._is_commit_wanted
            if is_waiting or STOPS.get(left.position) in self.stops:
                return
            left = self._steps[left.position](left)
        if is_cleaned_only and Fact.FAILED not in self.facts:
            self.facts.add(Fact.CLEANED)

    def _enter(self, update: StandaloneUpdate, position: Position) -> StandaloneUpdate:
        now = self.clock.now().isoformat(timespec="seconds")
        entered = replace(update, position=position, since=now)
        self.journal.update(lambda record: replace(record, standalone=entered))
        return entered

    def _stream(self, record: Record, reader: ArtifactReader) -> StandaloneUpdate | None:
        """Pass the payload to the update module; None if there is no payload, in which case the update is over."""
        # imported late, as in the downloads of deployments
        from mender_client.core.artifact import check_depends

        header = reader.read_header()
        self.begun()
        provides = record.provides(self.device.provides())
        check_depends(
            header,
            device_type=provides.device_type,
            artifact_name=provides.artifact_name,
            provides=provides.others,
        )
        software, payload_type = replaced(provides, header), header.payload.type
        if not payload_type:
            reader.finish()
            self._conclude(software)
            self.facts |= {Fact.EMPTY, Fact.INSTALLED, Fact.COMMITTED}
            return None
        self.scripts.install(header.scripts)
        self.modules.prepare(header, provides)
        update = StandaloneUpdate(payload_type, software, Position.STREAMED, "")
        try:
            self.scripts.run("Download", "Enter")
            self.modules.download(payload_type, reader.payload_files())
            reader.finish()
            self.scripts.run("Download", "Leave")
        except MenderError:
            self.scripts.run_all("Download", "Error")
            self._is_cleaned(update)
            raise
        update = self._enter(update, Position.STREAMED)
        self.facts.add(Fact.STREAMED)
        return update

    def _install(self, update: StandaloneUpdate) -> StandaloneUpdate:
        try:
            self._scripted(update, "ArtifactInstall", leave="Leave")
            reboot = self.modules.ask(update.payload_type, "NeedsArtifactReboot")
            rollback = self.modules.ask(update.payload_type, "SupportsRollback")
        except MenderError as error:
            self._fail(error, Fact.INSTALLING_FAILED)
            return self._turn_back(update)
        if reboot != "No":
            self.facts.add(Fact.REBOOT)
        self.facts.add(Fact.INSTALLED)
        if rollback == "No":
            self._is_commit_wanted = self._is_automatic = True
        return self._enter(update, Position.INSTALLED)

    def _begin_commit(self, update: StandaloneUpdate) -> StandaloneUpdate:
        if self._is_automatic:
            self.facts.add(Fact.AUTOMATIC)
        return self._enter(update, Position.ARTIFACT_COMMIT)

    def _commit(self, update: StandaloneUpdate) -> StandaloneUpdate:
        try:
            self.scripts.check_version()
            self._scripted(update, "ArtifactCommit")
        except MenderError as error:
            self._fail(error, Fact.COMMITTING_FAILED)
            return self._turn_back(update)
        self.facts.add(Fact.COMMITTED)
        return self._enter(update, Position.COMMITTED)

    def _finish_commit(self, update: StandaloneUpdate) -> StandaloneUpdate:
        self.facts.add(Fact.COMMITTED)
        if not self.scripts.run_all("ArtifactCommit", "Leave"):
            self.facts |= {Fact.POST_COMMIT_FAILED, Fact.FAILED}
            update = replace(update, result=Result.INCONSISTENT)
        return self._enter(update, Position.CLEANUP)

    def _scripted(self, update: StandaloneUpdate, state: str, *, leave: str = "") -> None:
        """Call a state between its scripts; if anything fails, run the error scripts of the state."""
        try:
            self.scripts.run(state, "Enter")
            self.modules.run(update.payload_type, state)
            if leave:
                self.scripts.run(state, leave)
        except MenderError:
            self.scripts.run_all(state, "Error")
            raise

    # -- back -----------------------------------------------------------------------------------------------------

    def _turn_back(self, update: StandaloneUpdate) -> StandaloneUpdate:
        """Begin the rollback after a failure or an interruption; if it can't be rolled back, it may be inconsistent."""
        if self._can_roll_back(update):
            return self._enter(replace(update, result=Result.FAILED), Position.ARTIFACT_ROLLBACK)
        self.facts |= {Fact.NO_ROLLBACK, Fact.FAILED}
        return self._enter(replace(update, result=Result.INCONSISTENT), Position.ARTIFACT_FAILURE)

    def _can_roll_back(self, update: StandaloneUpdate) -> bool:
        try:
            answer = self.modules.ask(update.payload_type, "SupportsRollback")
        except MenderError as error:
            self._fail(error, Fact.ROLLBACK_FAILED)
            return False
        if answer != "Yes":
            text = f"cannot roll back {update.artifact_name}: update module {update.payload_type} does not support it"
            _logger.error("%s", Diagnostic("UPD23", text))
        return answer == "Yes"

    def _roll_back(self, update: StandaloneUpdate) -> StandaloneUpdate:
        if self._is_done_whole(update, "ArtifactRollback"):
            self.facts.add(Fact.ROLLED_BACK)
        else:
            self.facts |= {Fact.ROLLBACK_FAILED, Fact.FAILED}
            update = replace(update, result=Result.INCONSISTENT)
        return self._enter(update, Position.ARTIFACT_FAILURE)

    def _react_to_failure(self, update: StandaloneUpdate) -> StandaloneUpdate:
        if not self._is_done_whole(update, "ArtifactFailure"):
            update = replace(update, result=Result.INCONSISTENT)
        if update.result is Result.INCONSISTENT and Fact.NO_ROLLBACK not in self.facts:
            self.facts |= {Fact.ROLLBACK_FAILED, Fact.FAILED}
        return self._enter(update, Position.CLEANUP)

    def _is_done_whole(self, update: StandaloneUpdate, state: str) -> bool:
        """Call a state between its scripts; all of them are run even if some fail."""
        done = [
            self.scripts.run_all(state, "Enter"),
            self._is_called(update, state),
            self.scripts.run_all(state, "Leave"),
        ]
        return all(done)

    def _is_called(self, update: StandaloneUpdate, state: str) -> bool:
        try:
            self.modules.run(update.payload_type, state)
        except MenderError as error:
            _logger.error("%s", error)
            return False
        return True

    # -- the end --------------------------------------------------------------------------------------------------

    def _clean_up(self, update: StandaloneUpdate) -> None:
        if not self._is_cleaned(update) and update.result is Result.CLEAN:
            update = replace(update, result=Result.INCONSISTENT)
        self._conclude(update.installed)

    def _is_cleaned(self, update: StandaloneUpdate) -> bool:
        is_clean = not self.modules.has_tree() or self._is_called(update, "Cleanup")
        self.modules.remove_tree()
        if not is_clean:
            self.facts |= {Fact.CLEANUP_FAILED, Fact.FAILED}
        return is_clean

    def _conclude(self, software: Software | None) -> None:
        """Store what the device provides now, and remove the update from the state file."""
        if software is not None:
            software = replace(software, seen_name=self.save_provides(software))
        self.journal.update(lambda record: replace(record, standalone=None, software=software or record.software))

    def _fail(self, error: MenderError, fact: Fact) -> None:
        _logger.error("%s", error)
        self.facts |= {fact, Fact.FAILED}
