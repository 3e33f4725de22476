"""The client's memory on disk: one JSON document that a person can read, changed by one process at a time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mender_client.core.record import Record
from mender_client.core.state_document import decode_record, encode_record
from mender_client.core.text import printable
from mender_client.errors import BusyError

from .files import open_own, storage_error, write_atomic

_logger = logging.getLogger(__name__)
_MAXIMUM_BYTES = 1024 * 1024


class JsonJournal:
    """Keeps the record; see ``core.ports.Journal``.

    Two files beside the document are locked with flock, which the kernel frees when a holder dies: one for the
    milliseconds of a change, one for as long as somebody sends what is in the outbox.

    Args:
        path: the document.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Record:
        """What was last saved; an empty record when there is none.

        A document that can't be used is set aside under a new name and reported, and the client goes on.

        Raises:
            StorageError: the disk can't be read, or a bad document can't be set aside.
        """
        try:
            return self._read()
        except ValueError:
            return self.update(lambda record: record)

    def peek(self) -> tuple[Record, str]:
        """As ``load``, but only looks: a bad document stays, and what is wrong with it is said.

        Raises:
            StorageError: the disk can't be read.
        """
        try:
            return self._read(), ""
        except ValueError as error:
            return Record(), printable(str(error))

    def _read(self) -> Record:
        """Read the document; whatever is wrong with its content is a ValueError."""
        try:
            with open_own(self._path) as file:
                data = file.read(_MAXIMUM_BYTES + 1)
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise storage_error("read", self._path, error) from error
        if len(data) > _MAXIMUM_BYTES:
            raise ValueError(f"it is larger than {_MAXIMUM_BYTES} bytes")
        try:
            return decode_record(json.loads(data))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None

    def _set_aside(self, reason: str) -> None:
        """Move a bad document away; only under the lock, so that it can't be a good one by now."""
        aside = self._path.with_name(f"{self._path.name}.damaged-{os.urandom(4).hex()}")
        try:
            os.replace(self._path, aside)
        except OSError as error:
            raise storage_error("set aside", self._path, error) from error
        _logger.error("cannot use %s: %s; it is set aside as %s", self._path, reason, aside.name)

    def set_aside(self) -> list[Path]:
        """The documents that could not be used, for whoever wants to know."""
        return sorted(self._path.parent.glob(f"{self._path.name}.damaged-*"))

    def update(self, change: Callable[[Record], Record]) -> Record:
        """Change the record, durably; nothing is written when it stays the same.

        Raises:
            StorageError: it can't be written; the last record stands.
        """
        with self._locked(".lock", fcntl.LOCK_EX):
            try:
                old = self._read()
            except ValueError as error:
                self._set_aside(printable(str(error)))
                old = Record()
            new = change(old)
            if new != old:
                write_atomic(self._path, json.dumps(encode_record(new), indent=1).encode() + b"\n")
            return new

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Be the only process that sends what is in the outbox.

        Raises:
            BusyError: another one does.
            StorageError: the lock can't be opened.
        """
        with self._locked(".sending", fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield

    @contextmanager
    def _locked(self, suffix: str, operation: int) -> Iterator[None]:
        path = self._path.with_name(self._path.name + suffix)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error("open", path, error) from error
        try:
            try:
                fcntl.flock(descriptor, operation)
            except BlockingIOError as error:
                raise BusyError("another process of this client is sending right now") from error
            yield
        finally:
            os.close(descriptor)
