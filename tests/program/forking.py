"""Starts the program as a fork of a process that has it loaded: a process of its own, in a tenth of the time.

What a process is stays as it is: signals, locks, the working directory, the environment, how it ends. Only its command
line, as others see it, is that of the process it was forked from. ``make nightly`` starts the installed program always.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mender_client
from mender_client.app.entry import main

PROGRAM = Path(sys.executable).with_name("mender-python-client")
IS_WANTED = "TESTS_FORK_THE_PROGRAM"
"""The variable that lets tests fork; the searches of the night, and what runs without pytest, don't."""
_READ_AT_THE_START = ("COVERAGE", "LANG", "LC_", "LD_", "OPENSSL", "PYTHON")
"""Beginnings of variables that Python and its libraries read when they are loaded."""
_LOADED_LATE = (
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.x509",
    "encodings.idna",
)
_MOST_BYTES = 1 << 18


class Forked:
    """A running fork, with what is used of ``subprocess.Popen``.

    Args:
        link: tells the process id, and later how it ended.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.pid = self._told()
        self.returncode: int | None = None

    def _told(self) -> int:
        told = self._link.recv(16)
        assert told, "the process that starts others has ended"
        return int(told)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._link], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a fork", timeout or 0)
            self.returncode = self._told()
            self._link.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def start(argv: Sequence[str], environment: Mapping[str, str], out: int, err: int) -> subprocess.Popen[bytes] | Forked:
    """Start a command, as a fork if it is the program's; its standard input is empty.

    Args:
        argv: the whole command.
        environment: its whole environment.
        out: the descriptor of its standard output.
        err: the descriptor of its standard error.
    """
    if argv[0] == str(PROGRAM) and IS_WANTED in environment:
        starter = _starter()
        if starter.environment == _read_at_the_start(environment):
            return starter.start(argv, environment, out, err)
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment)


def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = start(argv, os.environ, out.fileno(), err.fileno()).wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, code, out.read(), err.read())


class _Starter:
    """The process that has the program loaded, and ends with this one."""

    def __init__(self) -> None:
        self.environment = _read_at_the_start(os.environ)
        self._link, theirs = _link()
        with theirs:
            argv = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        atexit.register(self._end)

    def start(self, argv: Sequence[str], environment: Mapping[str, str], out: int, err: int) -> Forked:
        """Have the program started."""
        umask = os.umask(0o022)
        os.umask(umask)
        request = {"argv": list(argv), "environment": dict(environment), "directory": os.getcwd(), "umask": umask}
        ours, theirs = _link()
        with theirs:
            socket.send_fds(self._link, [json.dumps(request).encode()], [out, err, theirs.fileno()])
        return Forked(ours)

    def _end(self) -> None:
        self._link.close()
        self._process.wait()


@functools.cache
def _starter() -> _Starter:
    return _Starter()


def _link() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _read_at_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_THE_START)}


# -- in the process that forks ----------------------------------------------------------------------------------


def _load() -> None:
    """Load all that the program may need."""
    for module in pkgutil.walk_packages(mender_client.__path__, "mender_client."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LOADED_LATE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _fork(requests: socket.socket) -> None:
    """Fork for each request, and tell how each fork ended. Returns in each fork, which is what was asked for."""
    running: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != requests.fileno():
                poll.unregister(descriptor)
                _bury(descriptor, *running.pop(descriptor))
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, _MOST_BYTES, 3)
            if not request:
                sys.exit()
            pid = os.fork()
            if pid == 0:
                _become(json.loads(request), *descriptors[:2])
                return
            link = socket.socket(fileno=descriptors.pop())
            link.send(str(pid).encode())
            for one in descriptors:
                os.close(one)
            ended = os.pidfd_open(pid)
            running[ended] = pid, link
            poll.register(ended, select.POLLIN)


def _bury(ended: int, pid: int, link: socket.socket) -> None:
    """Tell how a fork ended, to whoever still wants to know."""
    os.close(ended)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with link, suppress(BrokenPipeError):
        link.send(str(code).encode())


def _become(request: dict[str, Any], out: int, err: int) -> None:
    """Take on what a process has from whoever starts it."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request["directory"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv[:] = request["argv"]


def _run() -> int:
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as Python does
        traceback.print_exc()
        return 1


def _end(code: int) -> None:
    """End without taking apart what was loaded, which would take longer than all else."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path[0] = str(PROGRAM.parent)
    _load()
    _fork(socket.socket(fileno=int(sys.argv[1])))
    _end(_run())
