"""The files that the commands read and write: each failure gives one clear error, and never a partial result."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedRandom, FileIO
from pathlib import Path

from mender_client.errors import Interrupted, StorageError
from mender_client.system.files import storage_errors, sync_directory

STANDARD_INPUT = "-"
_CHECK_MS = 500


class FileStream:
    """A file that is read once, sequentially; a ``core.artifact.Readable``.

    Args:
        path: the path of the file, or ``-`` for standard input.
        is_stopping: called before each read, and twice per second while no data arrives; true ends the reading.

    Raises:
        StorageError: the file can't be opened.
    """

    def __init__(self, path: str, is_stopping: Callable[[], bool] = lambda: False) -> None:
        self._is_stopping = is_stopping
        is_standard = path == STANDARD_INPUT
        self._name = Path("standard input" if is_standard else path)
        try:
            self._file = FileIO(os.dup(0)) if is_standard else FileIO(path)
        except OSError as error:
            text = f"cannot read {self._name}: {error.strerror}"
            raise StorageError("ART42", text, remedy="check the path") from error
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    def __enter__(self) -> FileStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def readinto(self, buffer: memoryview, /) -> int:
        """Read the available bytes into a buffer; returns how many, 0 at the end.

        Raises:
            StorageError: the file can't be read.
            Interrupted: the client was asked to stop.
        """
        is_ready = False
        while not is_ready:
            if self._is_stopping():
                raise Interrupted("the client was asked to stop")
            is_ready = bool(self._poll.poll(_CHECK_MS))
        with storage_errors("read", self._name):
            return self._file.readinto(buffer) or 0


def regular_size(path: str) -> int:
    """Return the size in bytes of a regular file, which can be read twice.

    Raises:
        StorageError: the file doesn't exist, or it is a directory, a pipe or a device.
    """
    with storage_errors("read", Path(path)):
        status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        text = f"cannot read {path}: it isn't a regular file, and it must be read twice"
        raise StorageError("ART43", text, remedy="copy it to a regular file")
    return status.st_size


@contextmanager
def replaced(path: Path) -> Iterator[BufferedRandom]:
    """Write a file that appears under its name only when it is complete and on disk.

    The target of a symbolic link is replaced, not the link; the permissions of an existing file are kept.

    Raises:
        StorageError: the file can't be written; an existing one is unchanged.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:200]}.{os.urandom(8).hex()}.tmp")
    with storage_errors("write", path):
        mode = _mode_of(target)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with open(descriptor, "w+b") as file:
                yield file
                file.flush()
                if mode is not None:
                    os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(target.parent)


def _mode_of(target: Path) -> int | None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        text = f"cannot write {target}: it exists and isn't a regular file"
        raise StorageError("ART44", text, remedy="specify another path")
    return stat.S_IMODE(mode)


def emit(data: bytes | memoryview) -> None:
    """Write to standard output, unbuffered.

    Raises:
        OSError: the write failed; the command line reports that for all commands.
        StorageError: there is no standard output.
    """
    if sys.stdout is None:
        raise StorageError("ART45", "cannot write to standard output: it is closed", remedy="redirect it to a file")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class StandardOutput:
    """Standard output as a writable file; raises as ``emit``."""

    def write(self, data: memoryview, /) -> None:
        emit(data)
