"""What the workflow needs of the disk: the state file, the lock, and the places where an Artifact is and comes from."""

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
