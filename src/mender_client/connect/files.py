"""Access to the device's files within the configured limits; uploads are atomic.

A path is resolved only once: the result is checked, and then opened component by component without following links, so
that no one on the device can replace a directory in between.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from mender_client import TYPE_CHECKING
from mender_client.core.wire.msgpack import Extension

from .loop import Background
from .openfiles import FORBIDDEN, TOO_LARGE, FileSource, FileTarget, failed, open_directory, open_file, open_nameless
from .protocol.ports import PutRequest, RefusedError
from .settings import FileLimits

if TYPE_CHECKING:
    from typing import Any

_MODE = 0o644
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_GO_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
_TIME_STAMP = -1
_LONGEST_NAME = 240


class DeviceFiles:
    """See ``protocol.ports.Files``.

    Args:
        limits: what is allowed.
        background: runs blocking disk operations.
        open_nameless: opens an unnamed file in an open directory; returns None if the file system doesn't support it.
    """

    def __init__(
        self,
        limits: FileLimits,
        background: Background,
        open_nameless: Callable[[int], int | None] = open_nameless,
    ) -> None:
        self._limits = limits
        self._background = background
        self._open_nameless = open_nameless

    def stat(self, path: str) -> Mapping[str, Any]:
        real = _resolved(path)
        self._check_place(path, real)
        try:
            descriptor = open_file(real, os.O_PATH)
        except OSError as error:
            raise failed(f"failed to get file info from path '{path}': stat {path}", error) from error
        state = os.fstat(descriptor)
        os.close(descriptor)
        if stat.S_ISREG(state.st_mode):
            self._check_file(state)
        return {
            "path": path,
            "size": state.st_size,
            "uid": state.st_uid,
            "gid": state.st_gid,
            "mode": _go_mode(state.st_mode),
            "modtime": _time_stamp(state.st_mtime_ns),
        }

    def open(self, path: str) -> FileSource:
        real = _resolved(path)
        self._check_place(path, real)
        try:
            descriptor = open_file(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise failed(f"failed to open file for reading: open {path}", error) from error
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise RefusedError("access denied: only regular files are allowed", FORBIDDEN)
            self._check_file(state)
        except BaseException:
            os.close(descriptor)
            raise
        return FileSource(descriptor, path, self._limits.most_bytes)

    def create(self, request: PutRequest) -> FileTarget:
        path = request.path
        self._check_chroot(_resolved(path))
        if os.path.isdir(path):
            name = PurePosixPath(request.source).name
            if not name or "\0" in name:
                raise RefusedError("conflicting file path: cannot overwrite directory", 409)
            path = os.path.join(path, name)
        parent, name = os.path.split(path)
        try:
            real = os.path.realpath(parent, strict=True)
            directory = open_directory(real)
        except OSError as error:
            raise failed(f"failed to create target file: failed to create file: open {path}", error) from error
        try:
            if name in ("", ".", ".."):
                raise RefusedError(f"failed to create target file: {path}: it is not a file name", 400)
            self._check_place(path, os.path.join(real, name))
            self._check_overwrite(directory, name, path)
            return self._target(directory, name, path, request)
        except BaseException:
            os.close(directory)
            raise

    def _target(self, directory: int, name: str, path: str, request: PutRequest) -> FileTarget:
        limits = self._limits
        part = os.fsencode(name)[:_LONGEST_NAME] + b".%s" % os.urandom(5).hex().encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = self._open_nameless(directory)
            is_nameless = descriptor is not None
            if descriptor is None:
                descriptor = os.open(part, flags, 0o200, dir_fd=directory)
        except OSError as error:
            raise failed(f"failed to create target file: failed to create file: open {path}", error) from error
        user = _number(limits.owner_put, lambda one: pwd.getpwnam(one).pw_uid) if limits.owner_put else request.user
        group = _number(limits.group_put, lambda one: grp.getgrnam(one).gr_gid) if limits.group_put else request.group
        mode = _MODE if request.mode is None else request.mode
        if limits.umask is not None:
            mode = 0o777 & ~limits.umask
        target = FileTarget(
            self._background, directory, descriptor, (part, name), path, mode & 0o777, limits.most_bytes,
            is_nameless=is_nameless,
        )  # fmt: skip
        try:
            if user is not None or group is not None:
                os.fchown(descriptor, _identifier(user), _identifier(group))
        except (OSError, OverflowError) as error:
            target.remove()
            raise failed(f"failed to set file owner: chown {path}", error) from error
        return target

    def _check_place(self, path: str, real: str) -> None:
        """Refuse a path outside the chroot, or one through a link, if that is not allowed."""
        self._check_chroot(real)
        if not self._limits.is_link_followed and path != real:
            raise RefusedError("access denied: forbidden to follow the link", FORBIDDEN)

    def _check_chroot(self, real: str) -> None:
        """Refuse a path outside the chroot, before revealing anything about it."""
        if self._limits.chroot and not _is_below(real, self._limits.chroot):
            raise RefusedError("access denied: the target file path is outside chroot", FORBIDDEN)

    def _check_file(self, state: os.stat_result) -> None:
        limits = self._limits
        if limits.owners_get and _owner(state) not in limits.owners_get:
            raise RefusedError("access denied: the file owner does not match", FORBIDDEN)
        if limits.groups_get and _group(state) not in limits.groups_get:
            raise RefusedError("access denied: the file group does not match", FORBIDDEN)
        if limits.most_bytes and state.st_size > limits.most_bytes:
            raise RefusedError("access denied: the file size is over the limit", TOO_LARGE)

    def _check_overwrite(self, directory: int, name: str, path: str) -> None:
        try:
            state = os.lstat(name, dir_fd=directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise failed(f"error checking file location: lstat {path}", error) from error
        if stat.S_ISDIR(state.st_mode):
            raise RefusedError("conflicting file path: cannot overwrite directory", 409)
        if not self._limits.is_overwritten:
            raise RefusedError("access denied: forbidden to overwrite the file", FORBIDDEN)
        if not stat.S_ISREG(state.st_mode):
            raise RefusedError("conflicting file path: cannot overwrite irregular file", 409)
        if self._limits.owner_put and _owner(state) != self._limits.owner_put:
            raise RefusedError("access denied: the file owner does not match", FORBIDDEN)
        if self._limits.group_put and _group(state) != self._limits.group_put:
            raise RefusedError("access denied: the file group does not match", FORBIDDEN)


def _is_below(real: str, chroot: str) -> bool:
    """Whether a resolved path is below a directory, or below one that matches a pattern."""
    parts = PurePosixPath(chroot).parts
    is_pattern = [any(one in part for one in "*?[") for part in parts]
    fixed = len(parts) if True not in is_pattern or os.path.isdir(chroot) else is_pattern.index(True)
    base = PurePosixPath(_resolved(os.path.join("/", *parts[:fixed]))).parts
    patterns = parts[fixed:]
    found = PurePosixPath(real).parts
    rest = found[len(base) : len(base) + len(patterns)]
    return (
        found[: len(base)] == base
        and len(rest) == len(patterns)
        and all(fnmatchcase(part, pattern) for part, pattern in zip(rest, patterns, strict=True))
    )


def _resolved(path: str) -> str:
    """The path with all links resolved; components that don't exist are kept."""
    try:
        return os.path.realpath(path)
    except OSError as error:  # a link that can't be read, for instance in /proc
        raise failed(f"failed to resolve path '{path}': readlink {path}", error) from error


def _go_mode(mode: int) -> int:
    """The mode as the server expects it: POSIX permission bits, and the file type bits of Go's ``FileMode``."""
    bits = sum(go for bit, go in _GO_BITS.items() if mode & bit)
    return mode & 0o777 | _GO_TYPES.get(stat.S_IFMT(mode), 0) | bits


def _time_stamp(nanoseconds: int) -> Extension:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if 0 <= seconds < 1 << 34:
        return Extension(_TIME_STAMP, struct.pack(">Q", rest << 34 | seconds))
    return Extension(_TIME_STAMP, struct.pack(">Iq", rest, seconds))


def _owner(state: os.stat_result) -> str:
    try:
        return pwd.getpwuid(state.st_uid).pw_name
    except KeyError:
        return str(state.st_uid)


def _group(state: os.stat_result) -> str:
    try:
        return grp.getgrgid(state.st_gid).gr_name
    except KeyError:
        return str(state.st_gid)


def _number(name: str, find: Callable[[str], int]) -> int:
    try:
        return find(name)
    except KeyError:
        if name.isdigit():
            return int(name)
        raise RefusedError(f"failed to set file owner: {name}: no such user or group", FORBIDDEN) from None


def _identifier(number: int | None) -> int:
    """The argument for ``chown``: -1 leaves the owner unchanged, and can't be requested."""
    if number is None:
        return -1
    if not 0 <= number < 0xFFFFFFFF:
        raise OverflowError("no such number")
    return number
