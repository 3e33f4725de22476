"""Open files of this device: what is read, and what is written and gets its name when it is complete.

What is being uploaded has no name, where the file system can do that: nothing is left of it, however the upload ends.
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
        most_bytes: more are refused, whatever its size was said to be; 0 for no limit.
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
    """A file without a name, or under another one; see ``protocol.ports.Target``.

    Args:
        background: waits for the disk.
        directory, descriptor: open; both are ours.
        names: the one that it has until it is complete, or for a moment then, and the one that it gets.
        path: as it was requested.
        mode: its permissions in the end.
        most_bytes: so many are too many; 0 for no limit.
        is_nameless: whether it has no name yet.
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
        if self._is_nameless:  # what has no name can't take the place of a file
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
    """See ``DeviceFiles``. What else is wrong shows when the file is opened with a name."""
    try:
        return os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o200, dir_fd=directory)
    except OSError:
        return None


def open_file(real: str, flags: int) -> int:
    """Open a file by its resolved path; raises OSError when a link is there now."""
    directory = open_directory(os.path.dirname(real))
    try:
        return os.open(os.path.basename(real) or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def open_directory(real: str) -> int:
    """Open a directory by its resolved path; raises OSError when a link is there now."""
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
    """Why something failed, in the words of other clients."""
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return RefusedError(
        f"{what}: {reason}", next((code for kind, code in _CODES.items() if isinstance(error, kind)), 0)
    )
