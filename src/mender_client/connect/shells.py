"""Shells on pseudo-terminals; all processes that a shell has started end with it."""

from __future__ import annotations

import errno
import fcntl
import grp
import logging
import os
import pwd
import signal
import struct
import subprocess
import termios
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mender_client.core.text import printable
from mender_client.dataclass import dataclass

from .loop import READ, WRITE, Call, Loop
from .processes import Processes
from .protocol.ports import RefusedError, Screen

_logger = logging.getLogger(__name__)

_READ_BYTES = 4096
_MOST_UNREAD_BYTES = 1024 * 1024
"""The maximum of input that a program hasn't read; more is dropped."""
_GRACE_SECONDS = 2.0
_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 0.01, 0.25
_KILL_SECONDS = 30.0
_IUTF8 = 0x4000
_PATHS = {True: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", False: "/usr/local/bin:/usr/bin:/bin"}
_MARK = "MENDER_TERMINAL"
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class ShellSettings:
    """The shell to start in a terminal.

    Attributes:
        command: the absolute path of the shell.
        arguments: its arguments; with ``--login``, any shell is started as a login shell.
        user: the user that it runs as.
    """

    command: str
    arguments: Sequence[str]
    user: str


class PtyShells:
    """Starts shells; see ``protocol.ports.Shells``.

    Args:
        loop: waits for their output and their end.
        name: distinguishes the shells of this device from those of others on the same machine.
        language: the locale variables.
        has_others: whether a thread is running other programs, which must not be taken for those of shells.
    """

    settings: ShellSettings
    """The shell to start."""

    def __init__(self, loop: Loop, name: str, language: Mapping[str, str], has_others: Callable[[], bool]) -> None:
        self._loop = loop
        self._name = name
        self._language = language
        self._has_others = has_others
        self._processes = Processes()
        self._running: set[PtyShell] = set()
        self._count = 0

    def start(self, width: int, height: int, screen: Screen) -> PtyShell:
        if not self._count:
            _adopt_orphans()
        self._count += 1
        mark = f"{self._name}-{os.getpid()}-{self._count}"
        try:
            master, process = self._spawn(width, height, mark)
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RefusedError(f"failed to start shell: {printable(reason)}") from error
        shell = PtyShell(self._loop, self._processes, master, process, f"{_MARK}={mark}\0".encode(), screen)
        shell.over = self._over
        self._running.add(shell)
        return shell

    def end_left(self) -> None:
        """End the processes left by shells of an earlier run, which was killed before it could end them."""
        mark = f"{_MARK}={self._name}-".encode()
        if left := self._processes.left(mark):
            _logger.info("ending %d processes left by terminals of an earlier run", len(left))
            self._processes.signal(left, signal.SIGHUP)
            kill = signal.SIGKILL
            self._loop.call_later(
                _GRACE_SECONDS, lambda: self._processes.signal(left & self._processes.left(mark), kill)
            )

    def reap(self) -> None:
        """Handle the end of a child, which may be a shell or an adopted orphan. Orphans can be reaped later."""
        for shell in list(self._running):
            shell.check()
        if self._has_others():
            return
        self._processes.reap(but={shell.pid for shell in self._running})
        if self._count and not self._running:
            self._processes.kill_children()

    @property
    def is_idle(self) -> bool:
        """Whether all shells and their processes have ended."""
        return not self._running

    def kill(self) -> None:
        """Kill all remaining shells immediately."""
        for shell in list(self._running):
            shell.kill()

    def _over(self, shell: PtyShell) -> None:
        self._running.discard(shell)
        if not self._running and not self._has_others():
            self._processes.kill_children()

    def _spawn(self, width: int, height: int, mark: str) -> tuple[int, subprocess.Popen[bytes]]:
        settings = self.settings
        user = pwd.getpwnam(settings.user)
        master, slave = os.openpty()
        try:
            _prepare(slave, user, width, height)
            arguments = [one for one in settings.arguments if one != "--login"]
            name = settings.command if list(settings.arguments) == arguments else f"-{Path(settings.command).name}"
            is_root = os.geteuid() == 0
            with warnings.catch_warnings():
                # other threads may be resolving names or waiting for a disk; the child calls nothing that needs them
                warnings.simplefilter("ignore", DeprecationWarning)
                process = subprocess.Popen(
                    [name, *arguments],
                    executable=settings.command,
                    stdin=slave,
                    stdout=slave,
                    stderr=slave,
                    env={**self._language, **_environment(settings, user, mark)},
                    cwd=user.pw_dir if _is_usable(user) else "/",
                    start_new_session=True,
                    user=user.pw_uid if is_root else None,
                    group=user.pw_gid if is_root else None,
                    extra_groups=os.getgrouplist(user.pw_name, user.pw_gid) if is_root else None,
                    preexec_fn=_take_terminal,  # the only way to set the controlling terminal
                )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        os.set_blocking(master, False)
        return master, process


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _adopt_orphans() -> None:
    """Become the child subreaper, the parent of orphaned processes of shells, so that they can be found."""
    import ctypes  # imported for the first shell: an idle program saves the memory

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _prepare(slave: int, user: pwd.struct_passwd, width: int, height: int) -> None:
    _resize(slave, width, height)
    attributes = termios.tcgetattr(slave)
    attributes[0] |= _IUTF8  # backspace erases a whole character
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    if os.geteuid() == 0:
        try:
            group = grp.getgrnam("tty").gr_gid
        except KeyError:
            group = user.pw_gid
        os.fchown(slave, user.pw_uid, group)
        os.fchmod(slave, 0o620)


def _resize(descriptor: int, width: int, height: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


def _is_usable(user: pwd.struct_passwd) -> bool:
    return os.path.isdir(user.pw_dir) and os.access(user.pw_dir, os.X_OK)


def _environment(settings: ShellSettings, user: pwd.struct_passwd, mark: str) -> dict[str, str]:
    return {
        "TERM": "xterm-256color",
        "HOME": user.pw_dir or "/",
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": settings.command,
        "PATH": _PATHS[user.pw_uid == 0],
        _MARK: mark,
    }


class PtyShell:
    """One shell and its terminal; see ``protocol.ports.Shell``."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        master: int,
        process: subprocess.Popen[bytes],
        mark: bytes,
        screen: Screen,
    ) -> None:
        self.pid = process.pid
        self.over: Callable[[PtyShell], None] = lambda _: None
        self._loop = loop
        self._processes = processes
        self._master = master
        self._process = process
        self._mark = mark
        self._screen = screen
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._is_paused = False
        self._is_at_end = False
        self._hung_up_at: float | None = None
        self._timer: Call | None = None
        self._pause_seconds = _FIRST_LOOK_SECONDS
        self._watch()

    def write(self, data: bytes) -> bool:
        if self._is_at_end:
            return True
        if self._unread_bytes + len(data) > _MOST_UNREAD_BYTES:
            return False
        self._unread.append(data)
        self._unread_bytes += len(data)
        self._type()
        if self._is_paused:
            self._resume()  # the user is waiting for a response
        return True

    def resize(self, width: int, height: int) -> None:
        if not self._is_at_end:
            _resize(self._master, width, height)

    def hang_up(self) -> None:
        if self._hung_up_at is None:
            self._hung_up_at = self._loop.now()
            self._close()
            self._end_all(signal.SIGHUP)
            self._watch_end()

    def kill(self) -> None:
        """Kill the shell and its processes immediately."""
        self.hang_up()
        self._end_all(signal.SIGKILL)

    def check(self) -> None:
        """Check whether the shell itself has ended; if so, end its other processes."""
        if self._hung_up_at is None and self._process.poll() is not None:
            if not self._is_at_end:
                self._drain()
            self.hang_up()
        elif self._hung_up_at is not None:
            self._look()

    # -- the terminal -------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if not self._is_at_end:
            events = (0 if self._is_paused else READ) | (WRITE if self._unread else 0)
            self._loop.watch(self._master, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._type()
        if events & READ and not self._is_at_end:
            self._show()

    def _type(self) -> None:
        try:
            while self._unread:
                count = os.write(self._master, self._unread[0])
                self._unread_bytes -= count
                if count < len(self._unread[0]):
                    self._unread[0] = self._unread[0][count:]
                else:
                    self._unread.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._unread.clear()  # no process has the terminal open any more
            self._unread_bytes = 0
        self._watch()

    def _show(self) -> None:
        room, seconds = self._screen.room()
        if not room:
            self._is_paused = True
            self._watch()
            self._loop.call_later(seconds, self._resume)
            return
        if data := self._read(room):
            self._screen.output(data)

    def _resume(self) -> None:
        self._is_paused = False
        self._watch()

    def _read(self, room: int) -> bytes:
        """Read the available output, up to ``room`` bytes; the kernel returns a terminal's output in small pieces."""
        data = bytearray()
        while len(data) < room:
            try:
                piece = os.read(self._master, min(_READ_BYTES, room - len(data)))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.EIO:
                    _logger.debug("terminal: %s", error)
                piece = b""
            if not piece:  # no process has it open any more, not even one that the shell left behind
                self._is_at_end = True
                self._loop.watch(self._master, 0, self._ready)
                break
            data += piece
        return bytes(data)

    def _drain(self) -> None:
        """Send the last output of the shell."""
        for _ in range(16):
            data = self._read(16384)
            if not data:
                return
            self._screen.output(data)

    def _close(self) -> None:
        self._is_at_end = True
        self._unread.clear()
        self._loop.watch(self._master, 0, self._ready)
        os.close(self._master)

    # -- its end ------------------------------------------------------------------------------------------------------

    def _end_all(self, number: signal.Signals) -> None:
        self._processes.signal(self._found(), number)

    def _found(self) -> set[int]:
        return self._processes.of_shell(self.pid, self._mark)

    def _watch_end(self) -> None:
        self._timer = self._loop.call_later(self._pause_seconds, self._look)
        self._pause_seconds = min(self._pause_seconds * 2, _LOOK_SECONDS)

    def _look(self) -> None:
        """Check whether all processes have ended; those that ignore SIGHUP are killed after a while."""
        if self._timer is None or self._hung_up_at is None:
            return
        self._timer.cancel()
        is_shell_gone = self._process.poll() is not None
        found = self._found()
        waited = self._loop.now() - self._hung_up_at
        if (is_shell_gone and not found) or waited > _KILL_SECONDS:
            self._timer = None
            self.over(self)
            self._screen.ended()
            return
        if waited > _GRACE_SECONDS:
            self._end_all(signal.SIGKILL)
        self._watch_end()
