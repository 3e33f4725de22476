"""What the workflow needs from the disk: the state file, the lock, and where an Artifact is stored and comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import PurePath

from mender_client import TYPE_CHECKING
from mender_client.core.record import Record

if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Journal(Protocol):
    """The state file, which holds the record across restarts; several processes of one device may use it."""

    def load(self) -> Record:
        """The record that was last saved; an empty record if there is none or it can't be used.

        Called often: an implementation keeps what it has read until another process changes the file.

        Raises:
            StorageError: the disk can't be read.
        """

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Change the record durably, and safely with respect to other processes; return the new one.

        Args:
            change: makes the new record from the last one; if it raises, nothing changes.

        Raises:
            StorageError: it can't be written; the last record remains.
        """

    def sending(self) -> AbstractContextManager[None]:
        """Ensure that no other process sends the content of the outbox.

        Raises:
            BusyError: another process is sending it.
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
        """Release the lock, if there is one.

        Raises:
            StorageError: it can't be removed.
        """


class PartialFile(Protocol):
    """The part of the Artifact that has been received, open for reading and appending."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read back from the bytes on disk; 0 at their end."""

    def write(self, data: memoryview, /) -> None:
        """Append bytes.

        Raises:
            StorageError: the disk is full, read-only or broken.
        """

    def restart(self) -> None:
        """Discard all bytes."""

    def seek(self, position: int) -> None:
        """Continue reading or writing at another position."""

    def sync(self) -> None:
        """Make what was written durable.

        Raises:
            StorageError: the disk can't be written.
        """

    def close(self) -> None:
        """Close the file, keeping its content."""


class Seed(Protocol):
    """A source on the device that may contain blocks of an Artifact's payload.

    Attributes:
        name: what it is, for display.
        is_passive: whether it is the inactive partition, to which an update module may be writing.
    """

    name: str
    is_passive: bool

    def size(self) -> int:
        """Its size in bytes.

        Raises:
            StorageError: it can't be read.
        """

    def read(self, buffer: memoryview, offset: int, /) -> int:
        """Fill the buffer from an offset on, and return the number of bytes, which is smaller only at the end.

        Raises:
            StorageError: it can't be read.
        """

    def next_data(self, offset: int) -> int:
        """The first offset from this one on where there may be anything but zeros; the size if there is none."""

    def close(self) -> None:
        """Close the source."""


class Seeds(Protocol):
    """Where an adaptive download searches for blocks."""

    def are_there(self) -> bool:
        """Whether there is anything to search."""

    def open(self) -> Sequence[Seed]:
        """Open those that can be read, in the order in which they are searched."""


class RewrittenArtifact(Seed, Protocol):
    """An Artifact whose payload is assembled on the device.

    It is written from front to back over what an earlier attempt has left, which serves as a seed until then.
    """

    def write(self, data: memoryview | bytes, /) -> None:
        """Write the next bytes.

        Raises:
            StorageError: the disk is full, read-only or broken.
        """

    def skip(self, count: int, *, are_zeros: bool) -> None:
        """Skip bytes that an earlier attempt has left, or write zeros, which take no space where there was nothing.

        Raises:
            StorageError: the disk is full, read-only or broken.
        """

    def finish(self) -> int:
        """Cut off what an earlier attempt has left after the end, make the Artifact durable, and return its size.

        Raises:
            StorageError: the disk can't be written.
        """


class ArtifactStore(Protocol):
    """Stores one Artifact, partial or complete."""

    def partial_size(self) -> int:
        """The number of bytes of the Artifact on disk, complete or not."""

    def open_partial(self) -> PartialFile:
        """Open the partial Artifact, creating it if necessary; a complete one becomes partial again, to be verified.

        Raises:
            StorageError: it can't be opened.
        """

    def open_rewritten(self) -> RewrittenArtifact:
        """Open the rewritten Artifact, creating it if necessary.

        Raises:
            StorageError: it can't be opened.
        """

    def adopt_rewritten(self) -> None:
        """Replace the partial Artifact with the rewritten one.

        Raises:
            StorageError: it can't be replaced.
        """

    def discard_rewritten(self) -> None:
        """Remove the rewritten Artifact, if there is one."""

    @property
    def artifact(self) -> PurePath:
        """The path of the complete Artifact."""

    def commit(self) -> None:
        """Turn the partial file into the complete, verified Artifact, durably.

        Raises:
            StorageError: the change can't be stored.
        """

    def discard(self) -> None:
        """Remove the partial, the rewritten and the complete Artifact."""

    def free_bytes(self) -> int:
        """The free space for the Artifact."""
