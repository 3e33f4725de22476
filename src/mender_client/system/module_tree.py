"""The directory that is passed to update modules, and its content (the file tree of the update module protocol).

It exists from the arrival of the Artifact's header to the end of the update, across reboots. It is created and removed
atomically.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from mender_client.errors import Diagnostic

from .files import make_directory, remove_tree, storage_errors, sync_directory
from .processgroup import end_all, listed, users_of

_logger = logging.getLogger(__name__)
_BUFFER_BYTES = 256 * 1024


class ModuleTree:
    """The tree; see ``installers.modules.Tree``.

    Args:
        path: the directory.
        grace_seconds: the time between SIGTERM and SIGKILL for processes that are left in it.
    """

    def __init__(self, path: Path, *, grace_seconds: float = 10.0) -> None:
        self.path = path
        self.next_stream = path / "stream-next"
        self._streams = path / "streams"
        self._files = path / "files"
        self._grace_seconds = grace_seconds

    def exists(self) -> bool:
        return self.path.is_dir()

    def build(self, contents: Mapping[str, bytes]) -> None:
        self.remove()
        new = self.path.with_name(f".{self.path.name}.new")
        remove_tree(new)
        make_directory(new)
        with storage_errors("make", self.path):
            directories = {new / "tmp", *((new / name).parent for name in contents)}
            for directory in sorted(directories - {new}):
                directory.mkdir(mode=0o755)
            for name, content in contents.items():
                _write(new / name, content)
            for directory in (*directories, new):
                sync_directory(directory)
            os.rename(new, self.path)
            for parent in list(self.path.parents)[:5]:  # up to the data directory, which exists
                sync_directory(parent)

    def read(self, name: str) -> str:
        with suppress(OSError, ValueError):
            return (self.path / name).read_text("utf-8")
        return ""

    def remove(self) -> None:
        remove_tree(self.path)

    def store(self, name: str, readinto: Callable[[memoryview], int]) -> None:
        path = self._files / name
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        with storage_errors("write", path):
            self._files.mkdir(mode=0o755, exist_ok=True)
            with open(path, "xb", buffering=0, opener=_open_private) as file:
                while count := readinto(buffer):
                    left = buffer[:count]
                    while left:
                        left = left[os.write(file.fileno(), left) :]
                os.fsync(file.fileno())
            sync_directory(self._files)
            sync_directory(self.path)

    def begin_streams(self) -> None:
        with storage_errors("make", self.next_stream):
            self._streams.mkdir(mode=0o755)
            os.mkfifo(self.next_stream, 0o600)

    def add_stream(self, name: str) -> Path:
        path = self._streams / name
        new = self.path / ".stream-next.new"
        with storage_errors("make", path):
            os.mkfifo(path, 0o600)
            os.mkfifo(new, 0o600)
            os.rename(new, self.next_stream)
        return path

    def remove_stream(self, name: str) -> None:
        with suppress(FileNotFoundError), storage_errors("remove", self._streams / name):
            os.unlink(self._streams / name)

    def end_streams(self) -> None:
        with storage_errors("remove", self.next_stream):
            self.next_stream.unlink(missing_ok=True)

    def remove_streams(self) -> None:
        self.end_streams()
        remove_tree(self._streams)

    def end_orphans(self) -> None:
        if not self.exists():
            return
        # its path as the kernel reports it
        here = Path(os.path.realpath(self.path))
        if found := users_of(here):
            text = f"processes of an update module are still running, and are stopped: {listed(found)}"
            _logger.warning("%s", Diagnostic("MOD08", text))
            end_all(lambda: users_of(here), grace_seconds=self._grace_seconds)


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=_open_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
