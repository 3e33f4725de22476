"""The client's data on the world's disk: the record, the lock, the Artifact and the deployment log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import PurePath

from mender_client.core.model import LogMessage
from mender_client.core.record import Record
from mender_client.core.state_document import decode_record, encode_record
from mender_client.errors import BusyError

from .clock import WorldClock
from .disk import Disk, Inode

JOURNAL, LOCK, ARTIFACT, LOG = "journal.json", "update.lock", "artifact.mender", "deployment.log"
PARTIAL, REWRITTEN = ARTIFACT + ".part", ARTIFACT + ".rewritten"


class WorldJournal:
    """The record as JSON on the world's disk; see ``core.ports.Journal``."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.sender: object = None
        self._last = (b"", Record())

    def load(self) -> Record:
        """The last saved record."""
        data = self._disk.read(JOURNAL)
        if data is None:
            return Record()
        if data != self._last[0]:
            self._last = (data, decode_record(json.loads(data)))
        return self._last[1]

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Change the record, durably."""
        old = self.load()
        new = change(old)
        if new != old:
            self._disk.write_atomic(JOURNAL, json.dumps(encode_record(new)).encode(), "write the journal")
            assert new == self.load(), "what is written must read the same"
        return new

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Be the only process that sends."""
        if self.sender is not None:
            raise BusyError("another process of this client is sending right now")
        self.sender = self
        try:
            yield
        finally:
            self.sender = None


class WorldLock:
    """The lock file; see ``core.ports.Lock``."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def read(self) -> str | None:
        """The deployment id in it."""
        data = self._disk.read(LOCK)
        return None if data is None else data.decode()

    def write(self, deployment_id: str) -> None:
        """Take the lock."""
        self._disk.write_atomic(LOCK, deployment_id.encode())

    def remove(self) -> None:
        """Release the lock."""
        self._disk.remove(LOCK)


class WorldPartial:
    """The partial Artifact, open; see ``core.ports.PartialFile``."""

    def __init__(self, disk: Disk, inode: Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._position = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Read back."""
        piece = self._inode.data[self._position : self._position + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def write(self, data: memoryview, /) -> None:
        """Append."""
        self._disk.append(PARTIAL, self._inode, self._position, bytes(data))
        self._position += len(data)

    def restart(self) -> None:
        """Discard every byte."""
        if self._inode.data:
            self._disk.truncate(PARTIAL, self._inode)
        self._position = 0

    def seek(self, position: int) -> None:
        """Continue at another position."""
        self._position = position

    def sync(self) -> None:
        """Make it durable."""
        self._disk.sync(PARTIAL, self._inode)

    def close(self) -> None:
        """Nothing to do."""


class WorldSeed:
    """Bytes that are on the device already; see ``core.ports.Seed``."""

    def __init__(self, name: str, data: Callable[[], bytes], *, is_passive: bool = False) -> None:
        self.name = name
        self.is_passive = is_passive
        self._data = data

    def size(self) -> int:
        """Its size."""
        return len(self._data())

    def read(self, buffer: memoryview, offset: int, /) -> int:
        """Read as much as there is."""
        piece = self._data()[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def next_data(self, offset: int) -> int:
        """There are no holes."""
        return offset

    def close(self) -> None:
        """Nothing to do."""


class WorldRewritten(WorldSeed):
    """The rewritten Artifact, open; see ``core.ports.RewrittenArtifact``."""

    def __init__(self, disk: Disk, inode: Inode) -> None:
        super().__init__(REWRITTEN, lambda: bytes(inode.data))
        self._disk = disk
        self._inode = inode
        self._left = len(inode.data)
        self._position = 0

    def write(self, data: memoryview | bytes, /) -> None:
        """Overwrite bytes."""
        self._disk.write_at(REWRITTEN, self._inode, self._position, bytes(data))
        self._position += len(data)

    def skip(self, count: int, *, are_zeros: bool) -> None:
        """Skip bytes."""
        if are_zeros and self._position < self._left:
            self.write(bytes(count))
        else:
            self._position += count

    def finish(self) -> int:
        """Truncate, and make durable."""
        self._disk.truncate(REWRITTEN, self._inode, self._position)
        self._disk.sync(REWRITTEN, self._inode)
        return self._position


class WorldSeeds:
    """The partitions; see ``core.ports.Seeds``."""

    def __init__(self, *seeds: WorldSeed) -> None:
        self.seeds = list(seeds)
        self.opened = 0

    def are_there(self) -> bool:
        """Whether there is one."""
        return bool(self.seeds)

    def open(self) -> list[WorldSeed]:
        """All seeds."""
        self.opened += 1
        return self.seeds


class WorldStore:
    """The storage of the Artifact; see ``core.ports.ArtifactStore``."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def partial_size(self) -> int:
        """The bytes on disk."""
        return len(self._disk.read(PARTIAL) or self._disk.read(ARTIFACT) or b"")

    def open_partial(self) -> WorldPartial:
        """Open the partial Artifact."""
        if self._disk.inode(PARTIAL) is None and self._disk.inode(ARTIFACT) is not None:
            self._disk.rename(ARTIFACT, PARTIAL, durably=False)
        return WorldPartial(self._disk, self._disk.open(PARTIAL))

    def open_rewritten(self) -> WorldRewritten:
        """Open the rewritten Artifact."""
        return WorldRewritten(self._disk, self._disk.open(REWRITTEN))

    def adopt_rewritten(self) -> None:
        """Replace the partial Artifact with it."""
        self._disk.rename(REWRITTEN, PARTIAL, durably=False)

    def discard_rewritten(self) -> None:
        """Remove it."""
        self._disk.remove(REWRITTEN)

    @property
    def artifact(self) -> PurePath:
        """The path of the complete Artifact."""
        return PurePath("/data") / ARTIFACT

    def commit(self) -> None:
        """Turn the partial Artifact into the complete one."""
        self._disk.rename(PARTIAL, ARTIFACT, durably=True)
        self.discard_rewritten()

    def discard(self) -> None:
        """Remove all."""
        self._disk.remove(PARTIAL)
        self.discard_rewritten()
        self._disk.remove(ARTIFACT)

    def free_bytes(self) -> int:
        """The free space."""
        return self._disk.free_bytes


SUB_UPDATER_LOG = "sub-updater.log"


class WorldLog(logging.Handler):
    """The deployment log; see ``core.ports.DeploymentLog``. Its lines aren't synced."""

    def __init__(self, disk: Disk, clock: WorldClock) -> None:
        super().__init__(logging.INFO)
        self._disk = disk
        self._clock = clock
        self._is_recording = False

    def begin(self, deployment_id: str) -> None:
        """Start a new log, or continue one."""
        self._is_recording = True
        if self._recorded_id() != deployment_id:
            self._disk.remove(SUB_UPDATER_LOG)
            self._disk.open(LOG).data[:] = json.dumps([deployment_id, f"deployment {deployment_id} begins"]).encode()

    def end(self) -> None:
        """Stop recording."""
        self._is_recording = False

    def trim(self) -> None:
        """There is enough space."""

    def emit(self, record: logging.LogRecord) -> None:
        """Record a line."""
        if self._is_recording:
            lines = [*self._lines(), record.getMessage()]
            self._disk.open(LOG).data[:] = json.dumps(lines).encode()

    def _lines(self) -> list[str]:
        try:
            return list(json.loads(self._disk.read(LOG) or b"[]"))
        except ValueError:  # torn by a power cut
            return []

    def _recorded_id(self) -> str | None:
        return next(iter(self._lines()), None)

    def messages(self, deployment_id: str) -> Iterator[LogMessage]:
        """The recorded lines."""
        now: datetime = self._clock.now()
        lines = self._lines()
        if lines and lines[0] == deployment_id:
            for line in lines[1:]:
                yield LogMessage(now, "info", line)
