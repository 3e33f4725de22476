"""Storage for one Artifact on disk.

It is named ``artifact.mender.part`` during the download, ``artifact.mender.rewritten`` while its payload is assembled
from blocks on the device, and ``artifact.mender`` once verified.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mender_client import TYPE_CHECKING

from .files import WRITE_BACK_BYTES, remove_file, start_writing_back, storage_errors, sync_directory

if TYPE_CHECKING:
    from .seeds import RewrittenFile


class ArtifactDirectory:
    """Keeps the Artifact in the data directory; see ``core.ports.ArtifactStore``."""

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact

    @property
    def _partial(self) -> Path:
        return self.artifact.with_name(self.artifact.name + ".part")

    @property
    def _rewritten(self) -> Path:
        return self.artifact.with_name(self.artifact.name + ".rewritten")

    def partial_size(self) -> int:
        for path in (self._partial, self.artifact):
            with suppress(OSError):
                return path.lstat().st_size
        return 0

    def open_partial(self) -> PartialArtifact:
        if self.artifact.exists() and not self._partial.exists():
            with storage_errors("rename", self.artifact):
                os.replace(self.artifact, self._partial)
        return PartialArtifact(self._partial)

    def commit(self) -> None:
        with storage_errors("rename the downloaded Artifact to", self.artifact):
            os.replace(self._partial, self.artifact)
            sync_directory(self.artifact.parent)
        self.discard_rewritten()

    def open_rewritten(self) -> RewrittenFile:
        # imported only when needed, which is rare
        from .seeds import RewrittenFile

        return RewrittenFile(self._rewritten)

    def adopt_rewritten(self) -> None:
        with storage_errors("rename", self._rewritten):
            os.replace(self._rewritten, self._partial)

    def discard_rewritten(self) -> None:
        remove_file(self._rewritten)

    def discard(self) -> None:
        remove_file(self._partial)
        self.discard_rewritten()
        remove_file(self.artifact)

    def free_bytes(self) -> int:
        with storage_errors("determine the free space of", self.artifact.parent):
            state = os.statvfs(self.artifact.parent)
        return state.f_bavail * state.f_frsize  # the space available to an unprivileged user


class PartialArtifact:
    """The partial Artifact, open; see ``core.ports.PartialFile``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors("open", path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._position = 0
        self._dirty_bytes = 0

    def readinto(self, buffer: memoryview, /) -> int:
        with storage_errors("read", self._path):
            count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count

    def write(self, data: memoryview, /) -> None:
        with storage_errors("write", self._path):
            while data:
                count = os.pwrite(self._descriptor, data, self._position)
                self._position += count
                self._dirty_bytes += count
                data = data[count:]
        if self._dirty_bytes >= WRITE_BACK_BYTES:
            start_writing_back(self._descriptor, self._position - self._dirty_bytes, self._position)
            self._dirty_bytes = 0

    def restart(self) -> None:
        with storage_errors("empty", self._path):
            os.ftruncate(self._descriptor, 0)
        self._position = self._dirty_bytes = 0

    def seek(self, position: int) -> None:
        self._position = position

    def sync(self) -> None:
        with storage_errors("write", self._path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
