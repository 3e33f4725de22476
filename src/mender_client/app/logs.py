"""Sends log lines to standard error, a file or syslog; standard output is for results."""

from __future__ import annotations

import logging
import os
import sys
import syslog
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path

from mender_client.errors import ConfigError, Diagnostic
from mender_client.system.deploymentlog import RECORDER, current_deployment
from mender_client.system.files import open_named

from .command import PROGRAM, completed

_logger = logging.getLogger(__name__)

LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "critical": logging.CRITICAL,
}
"""The level names, including those of other Mender clients, and their meaning here."""

SYSLOG_SOCKET = Path("/dev/log")
_DEVICE: ContextVar[str] = ContextVar("device", default="")
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _LineFormatter(logging.Formatter):
    """One line per record, with UTC timestamps; control characters cannot forge lines."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _tagged(record)
        return _one_line(super().formatMessage(record))


class _JournalFormatter(logging.Formatter):
    """For journald, which adds timestamps itself and takes the priority from a prefix."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{_one_line(_tagged(record))}"


class _JsonFormatter(logging.Formatter):
    """One JSON object per line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        entry = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        context = {"device": _DEVICE.get(), "deployment_id": current_deployment()}
        return json.dumps({**entry, **{name: value for name, value in context.items() if value}})


@contextmanager
def of_device(name: str) -> Iterator[None]:
    """Name a device of a gateway in each log line of this thread."""
    before = _DEVICE.set(name)
    try:
        yield
    finally:
        _DEVICE.reset(before)


def _tagged(record: logging.LogRecord) -> str:
    """The message, prefixed with its deployment unless it names it or is routine, and with a gateway's device."""
    deployment_id, device, message = current_deployment(), _DEVICE.get(), record.getMessage()
    if deployment_id not in message and not hasattr(record, "is_routine"):
        message = f"deployment {deployment_id}: {message}"
    return f"{device}: {message}" if device else message


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


class _Completer(logging.Filter):
    """Completes the commands in messages; as a filter of the first handler, it does so for all of them."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def filter(self, record: logging.LogRecord) -> bool:
        message, device = record.getMessage(), _DEVICE.get()
        if PROGRAM in message:
            command = f"{self._command} --device {device}" if device else self._command
            record.msg, record.args = completed(message, command), ()
        return True


def set_up_logging(
    *, level: str, file: str | None, is_syslog_wanted: bool, is_json: bool = False, command: str = PROGRAM
) -> None:
    """Send the package's log lines to a file if one is given, otherwise to standard error, and to syslog if wanted.

    Args:
        level: a name in ``LEVELS``.
        file: a path, or None.
        is_syslog_wanted: whether to log to syslog as well; ignored if there is no syslog, or if standard error is the
            journal.
        is_json: whether to write JSON lines to standard error or to the file.
        command: the command that calls the program for this device.

    Raises:
        ConfigError: the log file can't be opened.
    """
    logging.raiseExceptions = False  # a line that can't be written, on a full disk, is lost without a traceback
    handlers = [_main_handler(file, is_json=is_json)]
    handlers[0].addFilter(_Completer(command))
    if is_syslog_wanted and not _is_journal() and SYSLOG_SOCKET.is_socket():
        handlers.append(_SyslogHandler())
    logger = logging.getLogger("mender_client")
    logger.handlers = [*handlers, RECORDER]  # deployments may be in progress
    logger.propagate = False
    logger.setLevel(LEVELS[level])


@contextmanager
def kept_on_failure() -> Iterator[None]:
    """Keep the logging that is set up in the block; restore the previous one if an error is raised."""
    logger = logging.getLogger("mender_client")
    before, level = logger.handlers, logger.level
    try:
        yield
    except BaseException:
        rest, logger.handlers = logger.handlers, before
        logger.setLevel(level)
        _close(rest, but=before)
        raise
    _close(before, but=logger.handlers)


def _close(handlers: Sequence[logging.Handler], *, but: Sequence[logging.Handler]) -> None:
    for handler in handlers:
        if handler not in but:
            handler.close()


def reopen_log_files() -> None:
    """Reopen log files, which may have been rotated."""
    for handler in logging.getLogger("mender_client").handlers:
        if isinstance(handler, logging.FileHandler):
            try:
                stream = _open_log(handler.baseFilename)
            except OSError as error:
                _logger.error("%s", _cannot_open(handler.baseFilename, error))
                continue
            old = handler.setStream(stream)
            if old is not None:
                old.close()


class _LogFile(logging.FileHandler):
    """Appends to a file, never through another user's symbolic link."""

    def _open(self) -> TextIOWrapper:
        return _open_log(self.baseFilename)


def _cannot_open(file: str, error: OSError) -> Diagnostic:
    text = f"cannot open the log file {file}: {error.strerror}"
    return Diagnostic("LOG01", text, "check its directory, owner and mode, or choose another one with --log-file")


def _open_log(file: str) -> TextIOWrapper:
    return open(file, "a", encoding="utf-8", errors="backslashreplace", opener=open_named)


def _main_handler(file: str | None, *, is_json: bool) -> logging.Handler:
    formatter = _JsonFormatter() if is_json else _LineFormatter()
    if file is None:
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JournalFormatter() if _is_journal() and not is_json else formatter)
        return handler
    try:
        handler = _LogFile(file)
    except OSError as error:
        raise ConfigError([_cannot_open(file, error)]) from error
    handler.setFormatter(formatter)
    return handler


class _SyslogHandler(logging.Handler):
    """Logs through the C library; logging.handlers would cost half a megabyte of memory."""

    def __init__(self) -> None:
        super().__init__()
        syslog.openlog("mender-python-client", syslog.LOG_PID, syslog.LOG_DAEMON)

    def emit(self, record: logging.LogRecord) -> None:
        syslog.syslog(_PRIORITIES.get(record.levelno, 6), _one_line(_tagged(record)))


def _is_journal() -> bool:
    """Whether standard error goes to journald, which announces itself by device and inode."""
    try:
        state = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{state.st_dev}:{state.st_ino}"
