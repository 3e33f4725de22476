"""Runs update modules and state scripts: third-party programs whose output and run time are unpredictable.

Each runs in its own session, with the environment that the client was started with. Its output, of any size, is logged
while it runs; its run time is limited, and any processes that it leaves behind are ended.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, Interrupted, ScriptError

from .outputlog import Answer, LoggedStream, OutputLog
from .process import SPAWNED_UMASK, cannot_run
from .processgroup import end_all, listed, members

_logger = logging.getLogger(__name__)
_CHECK_SECONDS = 0.5
_UNNOTICED_EXIT_SECONDS = 0.1
"""How often to check for an exit if the kernel (before 5.3) has no pidfd to report it."""

_INTERRUPTED_GRACE_SECONDS = 2.0
_LEFT_IN_PIPE_BYTES = 1024 * 1024
"""The largest capacity of a pipe; more comes only from an escaped process that keeps printing."""


@dataclass(kw_only=True, eq=False, repr=False)
class Calls:
    """Starts programs.

    Attributes:
        environment: the environment of the programs.
        is_stopping: called twice a second; if it returns true, the program is ended.
        alive: called twice a second as a sign that the client is working.
        grace_seconds: the time between SIGTERM and SIGKILL.
    """

    environment: Mapping[str, str]
    is_stopping: Callable[[], bool] = lambda: False
    alive: Callable[[], None] = lambda: None
    grace_seconds: float = 10.0

    def start(
        self,
        argv: Sequence[str],
        *,
        title: str,
        seconds: float,
        directory: Path | None = None,
        is_query: bool = False,
        may_outlive: bool = False,
    ) -> Call:
        """Start a program.

        Args:
            argv: the program and its arguments.
            title: its name in the log.
            seconds: its time limit.
            directory: its working directory; None: the client's.
            is_query: its standard output is an answer and isn't logged.
            may_outlive: don't end the processes that it leaves behind, nor the program itself when the client is to
                stop: it may be a reboot.

        Raises:
            ScriptError: it can't be started.
        """
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=None,  # inherited from the client
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=dict(self.environment),
                cwd=directory,
                umask=SPAWNED_UMASK,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
            raise cannot_run(argv[0], error) from error
        return Call(self, process, title, seconds, is_query=is_query, may_outlive=may_outlive)


class Call:
    """A running program; as a context manager, it ends the program and its child processes on exit."""

    def __init__(
        self,
        calls: Calls,
        process: subprocess.Popen[bytes],
        title: str,
        seconds: float,
        *,
        is_query: bool,
        may_outlive: bool,
    ) -> None:
        assert process.stdout is not None  # noqa: S101 - both are PIPE
        assert process.stderr is not None  # noqa: S101
        self._calls = calls
        self._process = process
        self._title = title
        self._seconds = seconds
        self._may_outlive = may_outlive
        self._end_at = time.monotonic() + seconds
        self._check_at = 0.0
        self._has_exited = False
        self._answer = Answer()
        log = OutputLog(title)
        output = self._answer if is_query else LoggedStream(log, title)
        self._streams = {process.stdout: output, process.stderr: LoggedStream(log, f"{title}, stderr")}
        self._selector = selectors.DefaultSelector()
        for pipe, stream in self._streams.items():
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, stream)
        self._exit_descriptor = -1
        with suppress(OSError, AttributeError):
            self._exit_descriptor = os.pidfd_open(process.pid)
            self._selector.register(self._exit_descriptor, selectors.EVENT_READ)

    @property
    def has_exited(self) -> bool:
        """Whether the program itself has exited; it isn't reaped yet, so that its pid can't be reused."""
        if not self._has_exited:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            self._has_exited = os.waitid(os.P_PID, self._process.pid, flags) is not None
        return self._has_exited

    def attend(self, seconds: float, descriptor: int = -1) -> bool:
        """Read the program's output for a limited time; returns as soon as anything happens.

        Args:
            seconds: the longest wait.
            descriptor: also return when this descriptor can be written.

        Returns:
            Whether the descriptor can be written, or its reader has closed it.

        Raises:
            ScriptError: the program has run for too long.
            Interrupted: the client is to stop.
        """
        self._check()
        return self._select(seconds, descriptor)

    def _select(self, seconds: float, descriptor: int = -1) -> bool:
        longest = _CHECK_SECONDS if self._exit_descriptor >= 0 else _UNNOTICED_EXIT_SECONDS
        if descriptor >= 0:
            self._selector.register(descriptor, selectors.EVENT_WRITE)
        try:
            ready = self._selector.select(min(seconds, longest))
        finally:
            if descriptor >= 0:
                self._selector.unregister(descriptor)
        is_writable = False
        for key, _ in ready:
            if key.fd == descriptor:
                is_writable = True
            elif key.fd == self._exit_descriptor:
                self._selector.unregister(key.fileobj)
            else:
                self._read(key)
        return is_writable

    def _read(self, key: selectors.SelectorKey) -> int:
        chunk = os.read(key.fd, 65536)
        if chunk:
            key.data.take(chunk)
        else:
            self._selector.unregister(key.fileobj)
        return len(chunk)

    def _check(self) -> None:
        now = time.monotonic()
        if now < min(self._check_at, self._end_at):
            return
        self._check_at = now + _CHECK_SECONDS
        self._calls.alive()
        if self._calls.is_stopping():
            raise Interrupted("the client was asked to stop")
        if now >= self._end_at and not self.has_exited:
            text = f"cannot use {self._title}: it did not exit within {self._seconds:g} s"
            raise ScriptError("SCR07", text, remedy="find out what it is waiting for")

    def wait(self) -> int:
        """Wait for the program itself, not for the processes that it leaves behind.

        Returns:
            Its exit code, or the negative number of the signal that ended it.

        Raises:
            ScriptError: it has run for too long.
            Interrupted: the client is to stop.
        """
        while not self.has_exited:
            self.attend(min(_CHECK_SECONDS, max(self._end_at - time.monotonic(), 0.0)))
        self._end_rest()
        self._close()
        return self._process.returncode

    def answer(self) -> str:
        """The output of a query; limited in size."""
        return self._answer.text()

    def __enter__(self) -> Call:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        is_interrupted = isinstance(error, Interrupted)
        if self._process.returncode is not None:
            return
        if not (is_interrupted and self._may_outlive):
            self._end(_INTERRUPTED_GRACE_SECONDS if is_interrupted else self._calls.grace_seconds)
        self._close()

    def _end_rest(self) -> None:
        """End the processes that the program has left behind."""
        rest = {} if self._may_outlive else self._others()
        if rest:
            text = f"{self._title} left processes behind, which are killed: {listed(rest)}"
            remedy = "make it wait for its child processes, or run them as a service"
            _logger.warning("%s", Diagnostic("SCR08", text, remedy))
            self._end(self._calls.grace_seconds)

    def _others(self) -> dict[int, str]:
        return members(self._process.pid)

    def _end(self, grace_seconds: float) -> None:
        def find() -> dict[int, str]:
            found = self._others()
            if not self.has_exited:
                found.setdefault(self._process.pid, self._title)
            return found

        def pause(seconds: float) -> None:
            self._calls.alive()
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0 and self._selector.get_map():
                self._select(left)
            time.sleep(max(left, 0.0))

        if not end_all(find, grace_seconds=grace_seconds, pause=pause):
            text = f"cannot end {self._title}: {listed(find())}"
            _logger.error("%s", Diagnostic("SCR09", text, "restart the device"))

    def _close(self) -> None:
        """Read what is left in the pipes, and release all resources."""
        for key in list(self._selector.get_map().values()):
            if key.fd != self._exit_descriptor:
                self._drain(key)
        self._selector.close()
        for pipe, stream in self._streams.items():
            stream.end()
            pipe.close()
        if self._exit_descriptor >= 0:
            os.close(self._exit_descriptor)
        if self.has_exited:
            self._process.wait()
        else:  # it keeps running, or hangs in the kernel: init adopts it when this process exits
            self._process.returncode = -signal.SIGKILL

    def _drain(self, key: selectors.SelectorKey) -> None:
        left = _LEFT_IN_PIPE_BYTES
        with suppress(BlockingIOError):
            while left > 0 and (count := self._read(key)):
                left -= count
