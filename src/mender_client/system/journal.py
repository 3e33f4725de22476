"""The state file: a human-readable JSON document that only one process at a time can change."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mender_client.core.record import Record, Unread
from mender_client.core.state_document import encode_record
from mender_client.core.text import printable
from mender_client.errors import BusyError, Diagnostic

from .files import storage_errors, write_atomic
from .snapshot import decode_state_file, read_state_file

_logger = logging.getLogger(__name__)


class _Kept:
    """The record that was last read or written.

    Args:
        version: the version of the file.
        digest: the hash of its content.
        record: its decoded content.
    """

    __slots__ = ("digest", "record", "version")

    def __init__(self, version: tuple[int, int, int], digest: int, record: Record) -> None:
        self.version = version
        self.digest = digest
        self.record = record


class JsonJournal:
    """Keeps the record; see ``core.ports.Journal``.

    Two files next to the document are locked with flock, and the kernel releases the lock when its holder dies: one is
    locked for the milliseconds of a change, the other one while a process sends the outbox. The record is cached until
    another process replaces the document.

    Args:
        path: the document.
        indent: the spaces per level of indentation; None for a single line, which takes a tenth of the time.
    """

    def __init__(self, path: Path, *, indent: int | None = 1) -> None:
        self._path = path
        self._indent = indent
        self._kept: _Kept | None = None
        self._seen: Unread | None = None
        self._reported = ""

    def load(self) -> Record:
        """As the port says; a file that is not a JSON object is renamed and reported."""
        try:
            record = self._read()
        except ValueError:
            return self.update(lambda record: record)
        self._report_unread(record)
        return record

    def _read(self, *, is_anew: bool = False) -> Record:
        """Read the document, or return the cached record if it hasn't changed and ``is_anew`` is false.

        Raises:
            StorageError: the disk can't be read.
            ValueError: it is not a JSON object.
        """
        with storage_errors("read", self._path):
            try:
                if not is_anew and self._kept is not None and self._kept.version == _version(os.lstat(self._path)):
                    return self._kept.record
            except FileNotFoundError:
                return Record()
        found = read_state_file(self._path)
        if found is None:
            return Record()
        data, state = found
        is_kept = self._kept is not None and self._kept.digest == hash(data)
        record = self._kept.record if self._kept is not None and is_kept else decode_state_file(data)
        self._kept = _Kept(_version(state), hash(data), record)
        return record

    def _report_unread(self, record: Record) -> None:
        """Log once what another version of the client has written that this one can't read."""
        if record.unread is self._seen:
            return
        self._seen = record.unread
        unread = record.unread.summary
        if unread and unread != self._reported:
            text = f"cannot read all of {self._path}: another version of the client wrote {unread}; it is kept"
            _logger.warning("%s", Diagnostic("STO01", text, remedy="go back to that version to continue it"))
        self._reported = unread

    def _set_aside(self, reason: str) -> None:
        """Rename a damaged file; call this only under the lock, so that it can't have been replaced by a good one."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{os.urandom(4).hex()}")
        with storage_errors("set aside", self._path):
            os.replace(self._path, aside)
        text = f"cannot use the state file {self._path}: {reason}"
        _logger.error("%s", Diagnostic("STO02", text, remedy=f"check {aside.name}, to which it was renamed"))

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Change the record durably; nothing is written if it is unchanged."""
        with self._locked(".lock", fcntl.LOCK_EX):
            try:
                old = self._read(is_anew=True)
                self._report_unread(old)
            except ValueError as error:
                self._set_aside(printable(str(error)))
                old = Record()
            new = change(old)
            if new != old:
                data = json.dumps(encode_record(new), indent=self._indent).encode() + b"\n"
                state = write_atomic(self._path, data)
                # only reading tells what another version wrote
                self._kept = None if new.unread.summary else _Kept(_version(state), hash(data), new)
            return new

    @contextmanager
    def sending(self) -> Iterator[None]:
        with self._locked(".sending", fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield

    @contextmanager
    def _locked(self, suffix: str, operation: int) -> Iterator[None]:
        path = self._path.with_name(self._path.name + suffix)
        with storage_errors("open", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, operation)
            except BlockingIOError as error:
                text = f"cannot send: another process of this client has locked {path}"
                raise BusyError("STO03", text, remedy="try again later") from error
            yield
        finally:
            os.close(descriptor)


def _version(status: os.stat_result) -> tuple[int, int, int]:
    """A value that changes whenever the file is replaced; each change creates a new file."""
    return status.st_ino, status.st_mtime_ns, status.st_size
