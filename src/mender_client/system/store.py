"""The place on disk for one Artifact: ``artifact.mender.part`` while it arrives, ``artifact.mender`` when verified."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .files import remove_file, storage_error, sync_directory


class ArtifactDirectory:
    """Keeps the Artifact in the data directory; see ``core.ports.ArtifactStore``.

    Args:
        artifact: the path of the whole Artifact.
    """

    def __init__(self, artifact: Path) -> None:
        self._artifact = artifact
        self._partial = artifact.with_name(artifact.name + ".part")

    @property
    def artifact(self) -> Path:
        return self._artifact

    def partial_size(self) -> int:
        for path in (self._partial, self._artifact):
            with suppress(OSError):
                return path.lstat().st_size
        return 0

    def open_partial(self) -> PartialArtifact:
        if self._artifact.exists() and not self._partial.exists():
            try:
                os.replace(self._artifact, self._partial)
            except OSError as error:
                raise storage_error("rename", self._artifact, error) from error
        return PartialArtifact(self._partial)

    def commit(self) -> None:
        try:
            os.replace(self._partial, self._artifact)
            sync_directory(self._artifact.parent)
        except OSError as error:
            raise storage_error("rename the downloaded Artifact to", self._artifact, error) from error

    def discard(self) -> None:
        remove_file(self._partial)
        remove_file(self._artifact)

    def free_bytes(self) -> int:
        """Free space for an ordinary user of the file system that holds the Artifact.

        Raises:
            StorageError: it can't be told.
        """
        try:
            state = os.statvfs(self._artifact.parent)
        except OSError as error:
            raise storage_error("determine the free space of", self._artifact.parent, error) from error
        return state.f_bavail * state.f_frsize


class PartialArtifact:
    """The partial Artifact, open; see ``core.ports.PartialFile``.

    Args:
        path: the file.

    Raises:
        StorageError: it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise storage_error("open", path, error) from error
        self._position = 0

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = os.preadv(self._descriptor, [buffer], self._position)
        except OSError as error:
            raise storage_error("read", self._path, error) from error
        self._position += count
        return count

    def write(self, data: memoryview, /) -> None:
        try:
            while data:
                count = os.pwrite(self._descriptor, data, self._position)
                self._position += count
                data = data[count:]
        except OSError as error:
            raise storage_error("write", self._path, error) from error

    def restart(self) -> None:
        try:
            os.ftruncate(self._descriptor, 0)
        except OSError as error:
            raise storage_error("empty", self._path, error) from error
        self._position = 0

    def sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise storage_error("write", self._path, error) from error

    def close(self) -> None:
        os.close(self._descriptor)
