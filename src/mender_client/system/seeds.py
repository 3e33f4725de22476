"""The sources of blocks for an adaptive download: partitions, files, and the Artifact that it is assembling."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mender_client.errors import StorageError

from .files import WRITE_BACK_BYTES, start_writing_back, storage_errors

_logger = logging.getLogger(__name__)


class SeedFile:
    """A file or partition; see ``core.ports.Seed``.

    Args:
        path: its path.
        is_passive: whether it is the root partition that is not running.
        flags: for ``os.open``.
    """

    def __init__(self, path: Path, *, is_passive: bool = False, flags: int = os.O_RDONLY) -> None:
        self.name = str(path)
        self.is_passive = is_passive
        self._path = path
        with storage_errors("open", path):
            self._descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o600)

    def size(self) -> int:
        with storage_errors("read", self._path):
            return os.lseek(self._descriptor, 0, os.SEEK_END)

    def read(self, buffer: memoryview, offset: int, /) -> int:
        filled = 0
        with storage_errors("read", self._path):
            while filled < len(buffer):
                count = os.preadv(self._descriptor, [buffer[filled:]], offset + filled)
                if not count:
                    break
                filled += count
        return filled

    def next_data(self, offset: int) -> int:
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            return self.size() if error.errno == errno.ENXIO else offset  # a device has no holes

    def close(self) -> None:
        os.close(self._descriptor)


class RewrittenFile(SeedFile):
    """The Artifact whose payload is being assembled; see ``core.ports.RewrittenArtifact``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, flags=os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        self._left = self.size()
        self._position = self._written_back = 0

    def write(self, data: memoryview | bytes, /) -> None:
        with storage_errors("write", self._path):
            while data:
                count = os.pwrite(self._descriptor, data, self._position)
                self._position += count
                data = data[count:]
        if self._position - self._written_back >= WRITE_BACK_BYTES:
            start_writing_back(self._descriptor, self._written_back, self._position)
            self._written_back = self._position

    def skip(self, count: int, *, are_zeros: bool) -> None:
        if are_zeros and self._position < self._left:
            self.write(bytes(count))
        else:
            self._position += count

    def finish(self) -> int:
        with storage_errors("write", self._path):
            os.ftruncate(self._descriptor, self._position)
            os.fsync(self._descriptor)
        return self._position


class DeviceSeeds:
    """The seeds of this device; see ``core.ports.Seeds``.

    Args:
        partitions: the root partitions (RootfsPartA, RootfsPartB).
        others: files and partitions that are searched after them (AdaptiveSeeds).
        root: a directory on the running root file system.
    """

    def __init__(self, partitions: Sequence[Path], others: Sequence[Path], root: Path = Path("/")) -> None:
        self._partitions = partitions
        self._others = others
        self._root = root

    def are_there(self) -> bool:
        return any(path.exists() for path in (*self._partitions, *self._others))

    def open(self) -> Sequence[SeedFile]:
        opened: list[SeedFile] = []
        running = [path for path in self._partitions if self._runs(path)]
        for path in (*running, *(path for path in self._partitions if path not in running), *self._others):
            is_passive = path in self._partitions and path not in running
            try:
                opened.append(SeedFile(path, is_passive=is_passive))
            except StorageError as error:
                _logger.info("%s; it is not searched for parts of the Artifact", error.text)
        return opened

    def _runs(self, partition: Path) -> bool:
        with suppress(OSError):
            return partition.stat().st_rdev == self._root.stat().st_dev
        return False
