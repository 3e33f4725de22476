"""The log of one deployment: JSON lines on disk, sent to the server when the deployment fails."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from pathlib import Path

from mender_client.core.model import LogMessage
from mender_client.errors import Diagnostic, StorageError

from .clock import EARLIEST_PLAUSIBLE_TIME, NOT_SET
from .files import open_own, remove_file, storage_errors

_logger = logging.getLogger(__name__)
_MAXIMUM_READ_BYTES = 2 * 1024 * 1024
_LARGEST_LOG_BYTES = 1024 * 1024
_KEPT_HEAD_BYTES = 64 * 1024
_KEPT_TAIL_BYTES = 512 * 1024
_LEFT_OUT = "here lines are left out: the log became larger than 1 MiB"


_DEPLOYMENT: ContextVar[str] = ContextVar("deployment", default="")
_LOG: ContextVar[DeploymentLogFile | None] = ContextVar("log", default=None)
_PACKAGE = logging.getLogger("mender_client")


def current_deployment() -> str:
    """The id of the deployment whose log this thread is recording; empty if there is none."""
    return _DEPLOYMENT.get()


class _Recorder(logging.Handler):
    """Passes the log records of each thread to the log of the deployment that the thread is working on."""

    def emit(self, record: logging.LogRecord) -> None:
        log = _LOG.get()
        if log is not None:
            log.record(record)


RECORDER = _Recorder(logging.INFO)
"""One handler for all logs: with many devices in a process, deployments begin and end while others are logging."""


class DeploymentLogFile:
    """Records the client's log lines during a deployment; see ``core.ports.DeploymentLog``.

    Args:
        path: the file.
        sub_updater_log: the output of the sub-updater.
        logger: the logger to record.
    """

    def __init__(self, path: Path, sub_updater_log: Path, logger: logging.Logger = _PACKAGE) -> None:
        self._logger = logger
        self._path = path
        self._sub_updater_log = sub_updater_log
        self._is_recording = False
        self._latest = 0.0

    def begin(self, deployment_id: str) -> None:
        """As the port says; a full disk ends the recording, not the update."""
        self._is_recording = True
        _DEPLOYMENT.set(deployment_id)
        _LOG.set(self)
        self._logger.addHandler(RECORDER)
        if self.recorded_id() == deployment_id:
            if not _read(self._path, 1, is_end=True).endswith(b"\n"):
                self._append(os.O_APPEND, b"\n")  # don't append to a line that a power cut has truncated
            self._latest = max((message.timestamp.timestamp() for message in self._recorded()), default=0.0)
            return
        self._latest = time.time()
        first = _entry(self._latest, "info", f"deployment {deployment_id} begins")
        try:
            remove_file(self._path)  # not truncated: in a directory that others can write, it may be a link
            remove_file(self._sub_updater_log)
        except StorageError as error:
            self._stop(error)
        else:
            self._write(os.O_EXCL, {**first, "deployment_id": deployment_id})

    def trim(self) -> None:
        """As the port says; what the sub-updater writes at the same moment may be lost."""
        with suppress(OSError):  # a log must not hinder an update
            _keep_ends(self._sub_updater_log, f"{_LEFT_OUT}\n".encode())

    def end(self) -> None:
        if _LOG.get() is self:
            _LOG.set(None)
            _DEPLOYMENT.set("")
        self._is_recording = False

    def record(self, record: logging.LogRecord) -> None:
        """Append a line of the client's own log if a deployment is in progress.

        Lines stay in order if the clock is set back: no timestamp is earlier than the one before it.
        """
        if not self._is_recording:
            return
        self._latest = max(self._latest, record.created)
        self._write(os.O_APPEND, _entry(self._latest, record.levelname.lower(), record.getMessage()))

    def _stop(self, error: StorageError) -> None:
        self._is_recording = False
        text = f"the rest of this deployment is not recorded: {error.text}"
        _logger.warning("%s", Diagnostic("STO14", text, remedy=error.remedy))

    def _write(self, flag: int, entry: dict[str, str]) -> None:
        self._append(flag, json.dumps(entry).encode() + b"\n")

    def _append(self, flag: int, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | flag
        try:
            with storage_errors("write", self._path):
                with open(os.open(self._path, flags, 0o600), "wb", buffering=0) as file:
                    file.write(data)
                    size = file.tell()
                if size > _LARGEST_LOG_BYTES:
                    _keep_ends(self._path, json.dumps(_entry(self._latest, "info", _LEFT_OUT)).encode() + b"\n")
        except StorageError as error:
            self._stop(error)

    def messages(self, deployment_id: str) -> Iterator[LogMessage]:
        """The recorded lines of this deployment and the output of the sub-updater, one message per line.

        The messages of ``report`` are recorded and are in the sub-updater's output as well; they are sent once.
        """
        if self.recorded_id() not in (deployment_id, None):
            return iter(())
        from .mergedlog import merge  # imported only when a log is read, to save memory

        output = _read(self._sub_updater_log, _MAXIMUM_READ_BYTES, is_end=True)
        return merge(self._recorded, output, _modified(self._sub_updater_log))

    def _recorded(self) -> Iterator[LogMessage]:
        for line in _lines(self._path):
            message = _parse(line)
            if message is not None:
                yield message

    def recorded_id(self) -> str | None:
        """The id of the deployment whose log is on disk; None if there is no usable log."""
        first = _read(self._path, 4096, is_end=False).partition(b"\n")[0]
        try:
            document = json.loads(first)
        except (ValueError, RecursionError):
            return None
        return document.get("deployment_id") if isinstance(document, dict) else None


def _entry(seconds: float, level: str, message: str) -> dict[str, str]:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    mark = "" if moment >= EARLIEST_PLAUSIBLE_TIME else NOT_SET
    return {"timestamp": moment.isoformat(timespec="milliseconds"), "level": level, "message": mark + message}


def _parse(line: bytes) -> LogMessage | None:
    try:
        entry = json.loads(line)
        moment = datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00"))
        if moment.tzinfo is None:
            return None
        moment = moment.astimezone(timezone.utc)
        level, message = entry["level"], entry["message"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # truncated by a power cut, or not written by us
    if not isinstance(level, str) or not isinstance(message, str):
        return None
    return LogMessage(moment, level, message)


def _keep_ends(path: Path, gap: bytes) -> None:
    """Remove the middle of a log that has become too large, in place: the sub-updater has it open for appending.

    Raises:
        OSError: it doesn't exist, or can't be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if size <= _LARGEST_LOG_BYTES:
            return
        # if lines were removed before, the existing gap is extended
        head = os.pread(descriptor, _KEPT_HEAD_BYTES, 0).partition(_LEFT_OUT.encode())[0].rpartition(b"\n")
        tail = os.pread(descriptor, _KEPT_TAIL_BYTES, size - _KEPT_TAIL_BYTES).partition(b"\n")
        kept = head[0] + head[1] + gap + tail[2]
        os.pwrite(descriptor, kept, 0)
        os.ftruncate(descriptor, len(kept))
    finally:
        os.close(descriptor)


def _lines(path: Path) -> Iterator[bytes]:
    """The non-empty lines at the end of a file, as an iterator, because there may be a million."""
    return (match.group() for match in re.finditer(rb"[^\r\n]+", _read(path, _MAXIMUM_READ_BYTES, is_end=True)))


def _read(path: Path, limit: int, *, is_end: bool) -> bytes:
    """At most ``limit`` bytes from the beginning or the end of a file; empty if it can't be read."""
    with suppress(OSError), open_own(path) as file:
        if is_end:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
        return file.read(limit)
    return b""


def _modified(path: Path) -> datetime:
    """When a file was changed last; now if that can't be read."""
    with suppress(OSError, ValueError, OverflowError):
        return datetime.fromtimestamp(path.lstat().st_mtime, timezone.utc)
    return datetime.now(timezone.utc)
