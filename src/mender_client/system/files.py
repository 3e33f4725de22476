"""Files that survive a power cut: a single function writes all state, atomically."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.errors import StorageError

if TYPE_CHECKING:
    from typing import BinaryIO

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "check its owner and mode",
    errno.EPERM: "check its owner and mode",
    errno.EIO: "check the disk",
    errno.ELOOP: "it must not be a symbolic link",
    errno.EISDIR: "it must not be a directory",
    errno.ENOTDIR: "check its path",
    errno.ESPIPE: "specify a regular file",
}


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Translate an OSError into a StorageError: "cannot ACTION PATH", with the reason and the remedy."""
    try:
        yield
    except OSError as error:
        text = f"cannot {action} {path}: {error.strerror or error}"
        missing = "make its directory" if isinstance(error, FileNotFoundError) and action == "write" else ""
        remedy = permission_remedy(error, path) or _REMEDIES.get(error.errno or 0, missing)
        raise StorageError("STO10", text, remedy=remedy) from error


AS_CLIENT = "run this as root, or as the client's user"


def permission_remedy(error: OSError, path: Path) -> str:
    """What to do if a permission is missing because the file, or its directory, belongs to another user; else empty."""
    if not isinstance(error, PermissionError) or os.geteuid() == 0:
        return ""
    for place in (path, *path.parents):
        with suppress(OSError):
            return AS_CLIENT if place.stat().st_uid != os.geteuid() else ""
    return ""


def reading_remedy(error: OSError, path: Path) -> str:
    """What to do if a file that the operator names can't be read; empty if nothing specific is known."""
    return permission_remedy(error, path) or _REMEDIES.get(error.errno or 0, "")


WRITE_BACK_BYTES = 8 * 1024 * 1024
"""The number of bytes of a large file after which the kernel is told to write them to disk."""


def start_writing_back(descriptor: int, start: int, end: int) -> None:
    """Make the kernel write part of a file to disk while more is received, so that fsync has little left to do.

    Linux starts the write-back on this advice. It would also drop pages that are on disk already, but none are yet.
    """
    with suppress(OSError):  # it is only advice
        os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600, is_durable: bool = True) -> os.stat_result:
    """Replace the content of a file, so that after a power cut it is either the old or the new one, never a mix.

    Temporary file in the same directory, fsync, rename, fsync of the directory.

    Args:
        path: the file.
        data: its new content.
        mode: its permissions, regardless of the umask.
        is_durable: False reduces flash wear; after a power cut, both versions may be lost.

    Returns:
        The status of the new file, from ``fstat``.

    Raises:
        StorageError: it could not be written; the old content remains unless only syncing the directory failed.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.urandom(8).hex()}.tmp")
    with storage_errors("write", path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb", buffering=0):
                os.fchmod(descriptor, mode)  # the umask may have cleared bits
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                if is_durable:
                    os.fsync(descriptor)
                state = os.fstat(descriptor)
            os.replace(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        if is_durable:
            sync_directory(path.parent)
    return state


def sync_directory(directory: Path) -> None:
    """Make a rename or an unlink in this directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file durably; it need not exist.

    Raises:
        StorageError: it exists and can't be removed.
    """
    with storage_errors("remove", path), suppress(FileNotFoundError):  # then there is nothing to sync
        path.unlink()
        sync_directory(path.parent)


def remove_tree(directory: Path) -> None:
    """Remove a directory tree; it need not exist. Symbolic links are not followed, and mounts are not entered.

    The directory is renamed first, so that after a power cut it is either complete or gone.

    Raises:
        StorageError: it can't be removed.
    """
    doomed = directory.with_name(f".{directory.name}.removed")
    with storage_errors("remove", directory):
        _remove_all(doomed)
        try:
            os.rename(directory, doomed)
        except FileNotFoundError:
            return
        sync_directory(directory.parent)
        _remove_all(doomed)


def _remove_all(path: Path) -> None:
    with suppress(FileNotFoundError):
        left, emptied = [path], list[Path]()
        device = path.lstat().st_dev
        while left:
            directory = left.pop()
            if directory.lstat().st_dev != device:
                raise OSError(errno.EBUSY, f"something is mounted on {directory}")
            emptied.append(directory)
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(Path(entry.path))
                    else:
                        os.unlink(entry.path)
        for directory in reversed(emptied):
            directory.rmdir()


def read_text(path: Path, *, limit: int = 64 * 1024) -> str:
    """Read a UTF-8 text file of at most ``limit`` bytes, without waiting if it is a pipe.

    Raises:
        StorageError: it is missing, unreadable, too large or not UTF-8.
    """
    # each poll reads two files, and a buffer would cost three more system calls
    with storage_errors("read", path), open(path, "rb", buffering=0, opener=_open_at_once) as file:
        data = file.read(limit + 1) or b""
    if len(data) > limit:
        text = f"cannot read {path}: it is larger than {limit} bytes"
        raise StorageError("STO11", text, remedy="check that it is the right file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageError("STO12", f"cannot read {path}: it is not UTF-8 text", remedy="replace it") from error


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def open_input(path: Path) -> BinaryIO:
    """Open a file named by the operator for reading.

    It must be a regular file, since it may be read again, and no command waits for what others write; or an unnamed
    pipe, with which a shell passes, for instance, a key that isn't on any disk.

    Raises:
        OSError: it can't be opened, or is not a regular file.
    """
    return open(path, "rb", opener=_open_input)


def _open_input(name: str, flags: int) -> int:
    descriptor = _open_at_once(name, flags)
    mode = os.fstat(descriptor).st_mode
    is_unnamed = stat.S_ISFIFO(mode) and os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")
    if not (is_unnamed or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # open() itself refuses directories
        os.close(descriptor)
        raise OSError(errno.ESPIPE, "it is not a regular file")
    os.set_blocking(descriptor, True)
    return descriptor


def open_own(path: Path) -> BinaryIO:
    """Open one of the client's own files for reading; a symbolic link, which may have been planted, is not followed.

    Raises:
        OSError: it can't be opened.
    """
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK))


def open_named(name: str, flags: int) -> int:
    """An opener for ``open()`` for a file named by the operator, which need not be one of the client's own.

    Symbolic links of root and of the operator, such as ``/dev/stderr``, are followed; those of other users are not.

    Raises:
        OSError: it can't be opened.
    """
    try:
        return os.open(name, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    if os.lstat(name).st_uid not in (0, os.geteuid()):
        raise OSError(errno.ELOOP, "it is a symbolic link made by another user")
    return os.open(name, flags, 0o600)


_TEMPORARY_NAME = r"\..+\.[0-9a-f]{16}\.tmp"
_STALE_SECONDS = 3600.0


def remove_stale_files(directory: Path) -> None:
    """Remove temporary files left behind by a power cut; recent ones may be in use by another process.

    Raises:
        StorageError: the directory can't be read.
    """
    with storage_errors("read", directory), os.scandir(directory) as entries:
        for entry in entries:
            if re.fullmatch(_TEMPORARY_NAME, entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # it only takes up space
                    if abs(time.time() - entry.stat(follow_symlinks=False).st_mtime) > _STALE_SECONDS:
                        os.unlink(entry.path)


def make_directory(path: Path, *, mode: int = 0o700) -> None:
    """Make a directory, by default a private one, and its parents (0755), unless they exist.

    Raises:
        StorageError: it can't be made.
    """
    with storage_errors("make the directory", path):
        for parent in reversed(path.parents):
            if not parent.exists():
                _make_directory(parent, 0o755)
        if not path.is_dir():
            _make_directory(path, mode)


def _make_directory(path: Path, mode: int) -> None:
    """Private at first, regardless of the umask, and then opened to others if requested."""
    path.mkdir(mode=0o700, exist_ok=True)
    if mode != 0o700:
        path.chmod(mode)
