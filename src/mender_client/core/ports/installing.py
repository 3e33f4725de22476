"""What the workflow and the installers need to apply an Artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import PurePath

from mender_client import TYPE_CHECKING
from mender_client.core.model import Deployment, Provides
from mender_client.core.update import ProcessRef

if TYPE_CHECKING:
    from typing import Protocol

    from mender_client.core.artifact import Header, PayloadFile, Script
    from mender_client.core.gates import GateFacts, GatePoint, Verdict
else:
    Protocol = object


class Processes(Protocol):
    """The processes of the device, as far as the sub-updater needs them."""

    def spawn(self, argv: Sequence[str], variables: Mapping[str, str]) -> ProcessRef:
        """Start a program that outlives us, with these variables in a clean environment.

        A trace of it is on disk before it starts, until the log of the next deployment begins.

        Raises:
            ScriptError: it can't be started.
        """

    def has_spawned(self) -> bool:
        """Whether there is a trace of a program that was started; without one, none was."""

    def is_alive(self, process: ProcessRef) -> bool:
        """Whether that very process still runs."""

    def age_seconds(self, process: ProcessRef) -> float:
        """How long ago that process was started, whether it still runs or not; 0 when that was in another boot."""

    def stop(self, process: ProcessRef | None, variable: str, value: str, *, is_forced: bool) -> bool:
        """Send SIGTERM, or SIGKILL, to every process of a program that was spawned.

        Args:
            process: the program; its session and its process group are meant, whether it still runs itself or not.
            variable: processes whose environment holds this variable are meant as well.
            value: with this value.
            is_forced: send SIGKILL.

        Returns:
            Whether there was one; it may end later, or never.
        """

    def find(self, variable: str, value: str) -> ProcessRef | None:
        """A process of this user or of root whose environment holds this variable with this value."""


class Installer(Protocol):
    """Whatever applies an Artifact to the device; the lock file says whether it is at it."""

    def has_begun(self) -> bool:
        """Whether there is a trace that the installation of this deployment was ever started."""

    def claim(self, deployment_id: str) -> None:
        """Announce the installation; from here on the lock file names the deployment.

        Raises:
            StorageError: the lock can't be written.
        """

    def install(self, deployment: Deployment, artifact: PurePath) -> ProcessRef:
        """Install the verified Artifact of the claimed deployment, and return the process that does it.

        Raises:
            InstallError: it could not be started.
        """


class SubUpdater(Protocol):
    """The program of the device that installs in a process of its own, which outlives the client."""

    def check(self) -> None:
        """Make sure that an update could be installed.

        Raises:
            InstallError: the sub-updater is missing or can't be run.
        """

    def find_process(self, deployment_id: str, process: ProcessRef | None) -> ProcessRef | None:
        """The process that is at work on this deployment, or None; ``process`` is the one recorded at its start."""

    def stop(self, deployment_id: str, process: ProcessRef | None, *, is_forced: bool) -> bool:
        """Ask everything that works on this deployment to end, or force it; False when nothing does any more.

        ``process`` is the one recorded at the start.
        """

    def seconds_at_work(self, deployment_id: str, process: ProcessRef | None) -> float:
        """How long ago, in this boot, the work on this deployment began; 0 when unknown."""


class Modules(Protocol):
    """The update modules of the device, and the tree that they are given: one call for each state of an update."""

    def check(self, payload_type: str) -> None:
        """Make sure that there is a module for payloads of this type.

        Raises:
            InstallError: there is none, it can't be run, or another user could have written it.
        """

    def has_tree(self) -> bool:
        """Whether there is a tree: of this update, or of one that was never cleaned up."""

    def tree_type(self) -> str:
        """The type of the payload that the tree was made for; empty when that is not known."""

    def prepare(self, header: Header, provides: Provides) -> None:
        """Make the tree anew, durably.

        Args:
            header: of the Artifact.
            provides: what is installed now.

        Raises:
            ArtifactError: a payload file has a name that can't be given to a module.
            InstallError: the type of the payload can't be the name of a module.
            StorageError: it can't be made.
        """

    def download(self, payload_type: str, files: Iterator[PayloadFile]) -> None:
        """Let the module have the files: as streams, or in the tree if it takes no stream.

        Raises:
            InstallError: the module failed, or took only part of them.
            StorageError: the tree can't be written.
            Interrupted: the client is to stop.
            MenderError: whatever reading the files raises; the module has been ended then.
        """

    def run(self, payload_type: str, state: str) -> None:
        """Let the module do a state; without a tree, ``Cleanup`` does nothing and every other state fails.

        Raises:
            InstallError: it failed, took too long, or can't be run.
            Interrupted: the client is to stop; the module has been ended.
        """

    def ask(self, payload_type: str, query: str) -> str:
        """Ask the module ``ProvidePayloadFileSizes``, ``NeedsArtifactReboot`` or ``SupportsRollback``.

        Returns:
            ``No``, ``Yes`` or, to NeedsArtifactReboot, ``Automatic``.

        Raises:
            InstallError: it failed, or answered something else.
            Interrupted: the client is to stop.
        """

    def remove_tree(self) -> None:
        """Remove the tree; none is fine.

        Raises:
            StorageError: it can't be removed.
        """

    def end_orphans(self) -> None:
        """End the processes of modules that a client which was killed has left behind."""

    def reboot(self) -> None:
        """Start a reboot; the device may go down at any moment. If the program ``reboot`` fails, that is only logged.

        Raises:
            InstallError: the program that embeds the client can't.
            Interrupted: the client is to stop, because the device goes down.
        """


class ScriptDirectory(Protocol):
    """A directory of state scripts."""

    def names(self, state: str, action: str) -> Sequence[str]:
        """The scripts that are to be run, in their order.

        Args:
            state: such as ``ArtifactInstall``.
            action: ``Enter``, ``Leave`` or ``Error``.

        Raises:
            ScriptError: the directory can't be read, or is of an unknown version.
        """

    def check_version(self) -> None:
        """Make sure that the scripts are written for a version of the contract that this client knows.

        Raises:
            ScriptError: they are not.
        """

    def run(self, name: str, *, seconds: float) -> int:
        """Run one script.

        Args:
            name: its file name.
            seconds: how long it may take.

        Returns:
            Its exit code, or the negated number of the signal that ended it.

        Raises:
            ScriptError: it can't be run, took too long, or another user could have written it.
            Interrupted: the client is to stop; the script has been ended.
        """

    def end_orphans(self) -> None:
        """End the scripts that an earlier client, which was killed, has left running."""

    def replace(self, scripts: Sequence[Script]) -> None:
        """Remove all scripts, and store these, durably.

        Raises:
            StorageError: the directory can't be written.
        """


class Gates(Protocol):
    """Whether the device lets an update go on."""

    def verdict(self, point: GatePoint, facts: GateFacts, now: datetime) -> Verdict:
        """Ask the gate at a point; one that is broken is closed and says so, it never raises for that.

        Args:
            point: what would happen next.
            facts: the deployment.
            now: the wall clock, aware, UTC; may be wrong.

        Raises:
            Interrupted: the client is to stop.
        """


class GateConditions(Protocol):
    """What the conditions of gates are about."""

    def zone(self, name: str) -> tzinfo:
        """The time zone of this name; the empty name is the device's.

        Raises:
            DeviceError: this device doesn't know it.
        """

    def content(self, path: str) -> str:
        """What a file holds.

        Raises:
            DeviceError: it can't be read, or is too large for this.
        """

    def run(self, argv: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        """Run a program.

        Args:
            argv: the program and its arguments.
            variables: for its environment.

        Returns:
            Its exit code, and the last line that it printed to standard error.

        Raises:
            DeviceError: it can't be run, another user could have written it, a signal has ended it, or it took too
                long.
            Interrupted: the client is to stop; the program has been ended.
        """

    def clock_problem(self) -> str:
        """Why the device's clock is evidently wrong; empty when nothing shows that it is."""

    def server_time(self) -> datetime | None:
        """The time by the clock of a verified server; None when none has been heard."""
