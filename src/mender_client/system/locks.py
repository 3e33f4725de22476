"""The locks of a device: ``update.lock`` of the contract with the sub-updater, and the lock of the running daemon."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from mender_client.core.model import is_deployment_id
from mender_client.errors import BusyError, StorageError

from .files import open_own, remove_file, storage_errors, write_atomic

_LOCK_TRIES = 10
_LOCK_PAUSE_SECONDS = 0.02
_EXIT_SECONDS = 30.0
"""How long a daemon waits for another one that is exiting."""
_LARGEST_PID = 1 << 22
"""The kernel's limit."""


class LockFile:
    """``update.lock``, the lock file of the contract with the sub-updater; see ``core.ports.Lock``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        """As the port says; empty if it holds no id or can't be read, as an update may still be in progress."""
        try:
            with open_own(self._path) as file:
                content = file.read(1024).decode("utf-8", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError:
            return ""
        return content if is_deployment_id(content) else ""

    def write(self, deployment_id: str) -> None:
        write_atomic(self._path, deployment_id.encode() + b"\n", mode=0o644)  # scripts of any user may read it

    def remove(self) -> None:
        remove_file(self._path)


class DaemonLock:
    """Prevents a second daemon from using the same data directory; the kernel releases it when the holder dies.

    The file holds the pid of the daemon; it is empty while a daemon that has handed over an update is exiting. A
    command that must run alone takes the lock instead of a daemon, and marks its pid as one that must not be signalled.
    """

    def __init__(self, path: Path, *, is_command: bool = False) -> None:
        self._path = path
        self._is_command = is_command
        self._descriptor = -1
        self.is_exiting = False

    def acquire(self) -> None:
        """Become the only daemon of this data directory, until ``release`` or the end of the process.

        Raises:
            BusyError: another daemon or a command holds the lock.
            StorageError: the file can't be opened.
        """
        with storage_errors("open", self._path):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if not self._take():
            *command, pid = self._holder().split() or ["unknown"]
            self.release()
            text = f"cannot start: a {'command' if command else 'daemon'} (pid {pid}) already uses {self._path.parent}"
            raise BusyError("STO13", text, remedy="stop it first, or use another data directory")
        try:
            with storage_errors("write", self._path):
                self.announce(is_exiting=False)
        except StorageError:
            self.release()
            raise

    def announce(self, *, is_exiting: bool) -> None:
        """Write our pid, or that this daemon is exiting: the next one then waits for that instead of failing.

        Raises:
            OSError: it can't be written.
        """
        self.is_exiting = is_exiting
        os.ftruncate(self._descriptor, 0)
        if not is_exiting:
            who = "command " if self._is_command else ""
            os.pwrite(self._descriptor, f"{who}{os.getpid()}\n".encode(), 0)

    def _take(self) -> bool:
        """Try to take the lock, more than once: a process that calls ``holder`` has it for an instant."""
        end = time.monotonic() + _EXIT_SECONDS
        tries = 0
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                tries += 1
                if (tries >= _LOCK_TRIES and self._holder()) or time.monotonic() > end:
                    return False
                time.sleep(_LOCK_PAUSE_SECONDS)
            else:
                return True

    def _holder(self) -> str:
        return os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()

    def release(self) -> None:
        """Let another daemon start."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def holder(self) -> int | None:
        """The pid of the running daemon, or None if there is none; for a command's lock, also that of a command."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.read(descriptor, 32).strip()
            if self._is_command:
                text = text.removeprefix(b"command ")
            # a signal to pid 0 would go to every process in our group
            return int(text) if text.isdigit() and 0 < int(text) <= _LARGEST_PID else None
        finally:
            os.close(descriptor)
        return None
