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
    """Access to the processes of the device, as far as the sub-updater needs it."""

    def spawn(self, argv: Sequence[str], variables: Mapping[str, str]) -> ProcessRef:
        """Start a program that outlives the client, with these variables in a clean environment.

        A trace of it is written to disk before it starts, and remains until the log of the next deployment begins.

        Raises:
            ScriptError: it can't be started.
        """

    def has_spawned(self) -> bool:
        """Whether there is a trace of a program that was started; without a trace, none was."""

    def is_alive(self, process: ProcessRef) -> bool:
        """Whether exactly that process is still running."""

    def age_seconds(self, process: ProcessRef) -> float:
        """How long ago that process was started, whether it is still running or not; 0 if it was in another boot."""

    def stop(self, process: ProcessRef | None, variable: str, value: str, *, is_forced: bool) -> bool:
        """Send SIGTERM, or SIGKILL, to every process of a program that was spawned.

        Args:
            process: the program; its session and its process group are included, even if it has ended itself.
            variable: processes with this variable in their environment are included as well.
            value: the value of that variable.
            is_forced: send SIGKILL.

        Returns:
            Whether there was such a process; it may end later, or never.
        """

    def find(self, variable: str, value: str) -> ProcessRef | None:
        """A process of this user or of root with this variable and value in its environment; None if there is none."""


class Installer(Protocol):
    """Installs an Artifact on the device; the lock file shows whether an installation is in progress."""

    def has_begun(self) -> bool:
        """Whether there is a trace that the installation of this deployment was ever started."""

    def claim(self, deployment_id: str) -> None:
        """Announce the installation; from then on, the lock file names the deployment.

        Raises:
            StorageError: the lock can't be written.
        """

    def install(self, deployment: Deployment, artifact: PurePath) -> ProcessRef:
        """Install the verified Artifact of the claimed deployment, and return the process that does it.

        Raises:
            InstallError: it could not be started.
        """


class SubUpdater(Protocol):
    """The program on the device that installs an Artifact in a separate process, which outlives the client."""

    def check(self) -> None:
        """Make sure that an update could be installed.

        Raises:
            InstallError: the sub-updater is missing or can't be run.
        """

    def find_process(self, deployment_id: str, process: ProcessRef | None) -> ProcessRef | None:
        """The process that is working on this deployment, or None; ``process`` is the one recorded at its start."""

    def stop(self, deployment_id: str, process: ProcessRef | None, *, is_forced: bool) -> bool:
        """Ask all processes that work on this deployment to end, or force them to; False if there are none.

        ``process`` is the one recorded at the start.
        """

    def seconds_at_work(self, deployment_id: str, process: ProcessRef | None) -> float:
        """How long ago, in this boot, the work on this deployment began; 0 if unknown."""


class Modules(Protocol):
    """The update modules of the device, and the file tree that they receive: one call for each state of an update."""

    def check(self, payload_type: str) -> None:
        """Make sure that there is a module for payloads of this type.

        Raises:
            InstallError: there is none, it can't be run, or another user could have written it.
        """

    def has_tree(self) -> bool:
        """Whether there is a tree: of this update, or of one that was never cleaned up."""

    def tree_type(self) -> str:
        """The type of the payload for which the tree was created; empty if unknown."""

    def prepare(self, header: Header, provides: Provides) -> None:
        """Create a new tree, durably.

        Args:
            header: the header of the Artifact.
            provides: what the device provides now.

        Raises:
            ArtifactError: a payload file has a name that can't be given to a module.
            InstallError: the type of the payload can't be the name of a module.
            StorageError: it can't be created.
        """

    def download(self, payload_type: str, files: Iterator[PayloadFile]) -> None:
        """Pass the files to the module: as streams, or in the tree if it doesn't read the streams.

        Raises:
            InstallError: the module failed, or read only some of them.
            StorageError: the tree can't be written.
            Interrupted: the client has to stop.
            MenderError: reading the files failed; the module has been terminated.
        """

    def run(self, payload_type: str, state: str) -> None:
        """Run the module for a state; without a tree, ``Cleanup`` does nothing and every other state fails.

        Raises:
            InstallError: it failed, took too long, or can't be run.
            Interrupted: the client has to stop; the module has been terminated.
        """

    def ask(self, payload_type: str, query: str) -> str:
        """Ask the module ``ProvidePayloadFileSizes``, ``NeedsArtifactReboot`` or ``SupportsRollback``.

        Returns:
            ``No``, ``Yes`` or, to NeedsArtifactReboot, ``Automatic``.

        Raises:
            InstallError: it failed, or answered something else.
            Interrupted: the client has to stop.
        """

    def remove_tree(self) -> None:
        """Remove the tree, if there is one.

        Raises:
            StorageError: it can't be removed.
        """

    def end_orphans(self) -> None:
        """Terminate the module processes that a killed client has left behind."""

    def reboot(self) -> None:
        """Start a reboot; the device may go down at any moment. If the program ``reboot`` fails, that is only logged.

        Raises:
            InstallError: the program that embeds the client can't reboot.
            Interrupted: the client has to stop, because the device is going down.
        """


class ScriptDirectory(Protocol):
    """A directory of state scripts."""

    def names(self, state: str, action: str) -> Sequence[str]:
        """The scripts to run, in order.

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
            Interrupted: the client has to stop; the script has been terminated.
        """

    def end_orphans(self) -> None:
        """Terminate the scripts that a killed client has left running."""

    def replace(self, scripts: Sequence[Script]) -> None:
        """Replace all scripts with these, durably.

        Raises:
            StorageError: the directory can't be written.
        """


class Gates(Protocol):
    """Decides whether an update may proceed."""

    def verdict(self, point: GatePoint, facts: GateFacts, now: datetime) -> Verdict:
        """Ask the gate at a point; if the gate is broken, the verdict is ``Closed`` with the reason, not an exception.

        Args:
            point: what would happen next.
            facts: the deployment.
            now: the wall clock, aware, UTC; may be wrong.

        Raises:
            Interrupted: the client has to stop.
        """


class GateConditions(Protocol):
    """What the conditions of gates refer to."""

    def zone(self, name: str) -> tzinfo:
        """The time zone with this name; the empty name means the time zone of the device.

        Raises:
            DeviceError: this device doesn't know it.
        """

    def content(self, path: str) -> str:
        """The content of a file.

        Raises:
            DeviceError: it can't be read, or is too large.
        """

    def run(self, argv: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        """Run a program.

        Args:
            argv: the program and its arguments.
            variables: additions to its environment.

        Returns:
            Its exit code, and the last line that it printed to standard error.

        Raises:
            DeviceError: it can't be run, another user could have written it, a signal ended it, or it took too long.
            Interrupted: the client has to stop; the program has been terminated.
        """

    def clock_problem(self) -> str:
        """Why the device's clock is evidently wrong; empty when nothing shows that it is."""

    def server_time(self) -> datetime | None:
        """The time according to a verified server; None if none has answered yet."""
