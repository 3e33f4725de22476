"""Open files of this device: files being read, and files being written, which get their name when complete.

Where the file system supports it, an upload has no name before that, so that nothing is left of it however it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath

from .loop import Background, Callback
from .protocol.ports import RefusedError

FORBIDDEN = 403
TOO_LARGE = 413
_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileSource:
    """See ``protocol.ports.Source``.

    Args:
        descriptor: the open file.
        path: its path, for messages.
        most_bytes: the limit, which applies even if the file grows while it is read; 0 for none.
    """

    def __init__(self, descriptor: int, path: str, most_bytes: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self._most_bytes = most_bytes
        self._size = 0

    def read(self, size: int) -> bytes:
        try:
            data = os.read(self._descriptor, size)
        except OSError as error:
            raise failed(f"failed to read file: read {self._path}", error) from error
        self._size += len(data)
        if self._most_bytes and self._size > self._most_bytes:
            raise RefusedError("access denied: the file size is over the limit", TOO_LARGE)
        return data

    def close(self) -> None:
        os.close(self._descriptor)


class FileTarget:
    """A file without a name, or with a temporary one; see ``protocol.ports.Target``.

    Args:
        background: runs blocking disk operations.
        directory, descriptor: the open directory and file; this object closes them.
        names: the temporary name (which a nameless file has only for a moment) and the final name.
        path: the path as requested.
        mode: its final permissions.
        most_bytes: an upload of this size or more is refused; 0 for no limit.
        is_nameless: whether the file has no name yet.
    """

    def __init__(
        self,
        background: Background,
        directory: int,
        descriptor: int,
        names: tuple[bytes, str],
        path: str,
        mode: int,
        most_bytes: int,
        *,
        is_nameless: bool,
    ) -> None:
        self.path = path
        self._background = background
        self._directory = directory
        self._descriptor = descriptor
        self._part, self._name = names
        self._mode = mode
        self._most_bytes = most_bytes
        self._is_nameless = is_nameless
        self._size = 0
        self._is_finishing = False

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._most_bytes and self._size >= self._most_bytes:
            raise RefusedError("failed to write file chunk: transmitted bytes limit exhausted", TOO_LARGE)
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            raise failed(f"failed to write file chunk: write {self.path}", error) from error

    def finish(self, done: Callable[[RefusedError | None], None]) -> None:
        self._is_finishing = True

        def work() -> Callback:
            try:
                self._put_in_place()
            except OSError as error:
                self._unlink()
                failure = failed(f"failed to put the file in its place: {self.path}", error)
                return lambda: done(failure)
            finally:
                self._close()
            return lambda: done(None)

        self._background.run(work)

    def abort(self) -> None:
        if not self._is_finishing:
            self.remove()
            os.close(self._directory)

    def remove(self) -> None:
        """Remove the file, but leave the directory open."""
        self._is_finishing = True
        self._unlink()
        os.close(self._descriptor)

    def _put_in_place(self) -> None:
        os.fchmod(self._descriptor, self._mode)
        os.fsync(self._descriptor)
        if self._is_nameless:  # link() can't replace an existing file
            os.link(f"/proc/self/fd/{self._descriptor}", self._part, dst_dir_fd=self._directory, follow_symlinks=True)
        os.rename(self._part, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        _sync_directory(self._directory)

    def _unlink(self) -> None:
        with suppress(OSError):
            os.unlink(self._part, dir_fd=self._directory)

    def _close(self) -> None:
        os.close(self._descriptor)
        os.close(self._directory)


def open_nameless(directory: int) -> int | None:
    """See ``DeviceFiles``. Other errors occur again when a named file is opened."""
    try:
        return os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o200, dir_fd=directory)
    except OSError:
        return None


def open_file(real: str, flags: int) -> int:
    """Open a file by its resolved path; raises OSError if a component is a link now."""
    directory = open_directory(os.path.dirname(real))
    try:
        return os.open(os.path.basename(real) or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def open_directory(real: str) -> int:
    """Open a directory by its resolved path; raises OSError if a component is a link now."""
    descriptor = os.open("/", _WAY)
    try:
        for part in PurePosixPath(real).parts[1:]:
            inner = os.open(part, _WAY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _sync_directory(directory: int) -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_CODES = {FileNotFoundError: 404, NotADirectoryError: 404, PermissionError: FORBIDDEN, FileExistsError: 409}


def failed(what: str, error: OSError | OverflowError) -> RefusedError:
    """The error for a failed operation, worded as by other clients."""
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return RefusedError(
        f"{what}: {reason}", next((code for kind, code in _CODES.items() if isinstance(error, kind)), 0)
    )
