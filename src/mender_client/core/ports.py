"""The ports: what the workflow needs of the device and the network, as protocols.

``client`` uses only these; ``system`` and ``installers`` implement them; ``app.assemble`` joins the two. A test, or a
program that embeds the client, brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import PurePath

from mender_client import TYPE_CHECKING

from .client_status import ClientStatus
from .keyvalue import KeyValues
from .model import Deployment, Identity, LogMessage, Provides
from .record import Record
from .update import ProcessRef
from .wire.messages import Reply, Request

if TYPE_CHECKING:
    from typing import Protocol

    from .artifact import Header, PayloadFile, Script
else:
    Protocol = object


class Body(Protocol):
    """An answer whose body is read piece by piece."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names lower-case."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there; 0 at the end, which may come before the promised length.

        Raises:
            NetworkError: the connection broke or stalled.
        """

    def close(self) -> None:
        """Give the connection up."""


class Transport(Protocol):
    """Brings requests to servers."""

    def send(self, request: Request) -> Reply:
        """Send a request of the device API and read its whole answer, whatever its status.

        Raises:
            NetworkError: no complete answer.
        """

    def open(self, url: str, headers: Mapping[str, str]) -> Body:
        """Start a download: GET without the token, redirects followed within bounds.

        Raises:
            NetworkError: no answer.
        """

    def rest(self) -> None:
        """Nothing is to be sent for a while: close idle connections."""


class Observer(Protocol):
    """Is told the client status; it neither raises nor waits, and nothing depends on it."""

    def noticed(self, client_status: ClientStatus) -> None:
        """The client status has changed."""

    def alive(self) -> None:
        """The client is at work: a piece of a download has come, the next request or script begins."""


class Clock(Protocol):
    """The clocks, and waiting."""

    def monotonic(self) -> float:
        """Seconds that only ever go forward, whatever the wall clock does."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC; may be wrong."""

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted: the client is to stop.
        """


class KeyStore(Protocol):
    """The device key."""

    @property
    def location(self) -> str:
        """Where it is, for people; holds no secret."""

    def public_key_pem(self) -> str:
        """The public key, PEM SubjectPublicKeyInfo.

        Raises:
            KeyFileError: the key can't be read or used.
        """

    def sign(self, message: bytes) -> bytes:
        """Sign as the server verifies: by the kind of the key, see protocol ``X-MEN-Signature``.

        Raises:
            KeyFileError: the key can't be read or used.
        """


class DeviceData(Protocol):
    """What this device says about itself, by its scripts and files; asked anew each time."""

    def identity(self) -> Identity:
        """Run the identity script.

        Raises:
            ScriptError: it can't be run, failed, or printed nothing usable.
        """

    def inventory(self) -> Sequence[KeyValues]:
        """Run the inventory scripts in order; a script that fails is left out and logged."""

    def provides(self) -> Provides:
        """Read device_type and artifact_info.

        Raises:
            StorageError: there is no usable device type.
        """


class DeploymentLog(Protocol):
    """The log of one deployment, kept on disk until the next one begins."""

    def begin(self, deployment_id: str) -> None:
        """Start anew for this deployment, or continue it when it is the one that was last begun."""

    def end(self) -> None:
        """Stop recording."""

    def trim(self) -> None:
        """Keep what the sub-updater writes within bounds; asked for now and then while it is at work."""

    def messages(self, deployment_id: str) -> Iterable[LogMessage]:
        """What was recorded of this deployment, the sub-updater's log merged in; nothing of another deployment."""


class PartialFile(Protocol):
    """The Artifact as far as it has arrived, open for reading what is there and appending what comes."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read back from the bytes on disk; 0 at their end."""

    def write(self, data: memoryview, /) -> None:
        """Append.

        Raises:
            StorageError: full, read-only or broken disk.
        """

    def restart(self) -> None:
        """Forget every byte."""

    def seek(self, position: int) -> None:
        """Go on reading or writing elsewhere."""

    def sync(self) -> None:
        """Make what was written durable.

        Raises:
            StorageError: the disk can't be written.
        """

    def close(self) -> None:
        """Close, keeping what is there."""


class Seed(Protocol):
    """Something on the device in which there may be blocks of an Artifact's payload.

    Attributes:
        name: what it is, for people.
        is_passive: it is the partition that does not run, which an update module may be writing.
    """

    name: str
    is_passive: bool

    def size(self) -> int:
        """Its size in bytes.

        Raises:
            StorageError: it can't be read.
        """

    def read(self, buffer: memoryview, offset: int, /) -> int:
        """Fill the buffer from an offset on; returns the number of bytes, fewer only at the end.

        Raises:
            StorageError: it can't be read.
        """

    def next_data(self, offset: int) -> int:
        """Where from this offset on something may be but zeros; the size if that is nowhere."""

    def close(self) -> None:
        """Close it."""


class Seeds(Protocol):
    """Where an adaptive download looks for blocks."""

    def are_there(self) -> bool:
        """Whether there is something to look through."""

    def open(self) -> Sequence[Seed]:
        """Open those that can be read, in the order in which they are looked through."""


class RewrittenArtifact(Seed, Protocol):
    """An Artifact whose payload is put together on the device: written from front to back, over what an earlier attempt
    has left, which is a seed until then."""

    def write(self, data: memoryview | bytes, /) -> None:
        """Write the next bytes.

        Raises:
            StorageError: full, read-only or broken disk.
        """

    def skip(self, count: int, *, are_zeros: bool) -> None:
        """Pass over bytes that an earlier attempt has left; or write zeros, which take no space where nothing was.

        Raises:
            StorageError: full, read-only or broken disk.
        """

    def finish(self) -> int:
        """Cut off what an earlier attempt has left behind the end, make it durable, and return its size.

        Raises:
            StorageError: the disk can't be written.
        """


class ArtifactStore(Protocol):
    """The place for one Artifact, arriving or whole."""

    def partial_size(self) -> int:
        """Bytes of the Artifact on disk, whole or not."""

    def open_partial(self) -> PartialFile:
        """Open the partial Artifact, making it if there is none; a whole one becomes partial again, to be verified.

        Raises:
            StorageError: it can't be opened.
        """

    def open_rewritten(self) -> RewrittenArtifact:
        """Open the rewritten Artifact, making it if there is none.

        Raises:
            StorageError: it can't be opened.
        """

    def adopt_rewritten(self) -> None:
        """Put the rewritten Artifact in the place of the partial one.

        Raises:
            StorageError: it can't be done.
        """

    def discard_rewritten(self) -> None:
        """Remove the rewritten Artifact; none is fine."""

    @property
    def artifact(self) -> PurePath:
        """The path of the whole Artifact."""

    def commit(self) -> None:
        """Make the partial file the whole, verified Artifact, durably.

        Raises:
            StorageError: it can't be done.
        """

    def discard(self) -> None:
        """Remove the partial, the rewritten and the whole Artifact."""

    def free_bytes(self) -> int:
        """Free space where the Artifact goes."""


class Capacity(Protocol):
    """What the device can hold, as far as that is known."""

    def memory_bytes(self) -> int | None:
        """The memory that this process may have."""

    def storage_bytes(self, payload_type: str | None) -> int | None:
        """The space for the files of a payload of this type, whatever is on it now."""


class Journal(Protocol):
    """The state file, which holds the record across restarts; several processes of one device may use it."""

    def load(self) -> Record:
        """What was last saved; an empty record when there is none or it can't be used.

        Called often: an implementation keeps what it has read until another process has changed it.

        Raises:
            StorageError: the disk can't be read.
        """

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Change the record durably and safe from other processes, and return the new one.

        Args:
            change: makes the new record from the last one; when it raises, nothing changes.

        Raises:
            StorageError: it can't be written; the last record stands.
        """

    def sending(self) -> AbstractContextManager[None]:
        """Be the only process that sends what is in the outbox.

        Raises:
            BusyError: another one does.
        """


class Lock(Protocol):
    """The lock file of the contract with the sub-updater."""

    def read(self) -> str | None:
        """The deployment id in it, or None when there is no lock."""

    def write(self, deployment_id: str) -> None:
        """Take the lock, durably.

        Raises:
            StorageError: it can't be written.
        """

    def remove(self) -> None:
        """Free the lock; none is fine.

        Raises:
            StorageError: it can't be removed.
        """


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
