"""Starts programs as forks of a process that has loaded them: real processes, in a tenth of the time.

A fork has the signals, locks, directory, environment, outputs and exit status of a process that is started normally.
But others see another command line, and it inherits neither limits nor ignored signals: tests of those start
``PROGRAM`` without this module. ``make nightly`` never forks.
"""

from __future__ import annotations

import ast
import atexit
import functools
import gc
import importlib
import io
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import mender_client
import mender_client.app.entry as client
import mender_devserver
import mender_devserver.cli as devserver
from calling import call

PROGRAM = Path(sys.executable).with_name("mender-python-client")
IS_WANTED = "TESTS_FORK_PROGRAMS"
"""The variable that enables forks: the directory of the process that makes them, one for all workers. Nightly runs, and
programs that run without pytest, don't fork."""
_READ_AT_THE_START = ("COVERAGE", "LANG", "LC_", "LD_", "OPENSSL", "PYTHON")
"""Prefixes of variables that Python and its libraries read when they are loaded."""
_HEEDED = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""Such variables that make no difference for a fork, or that it respects."""
_USUAL = ("", "C", "C.UTF-8", "POSIX")
"""Values of such variables that make no difference."""
_LOADED_LATE = (
    "cryptography.hazmat.backends.openssl.backend",
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "cryptography.hazmat.primitives.serialization",
    "cryptography.x509",
    "encodings.idna",
    "encodings.utf_8_sig",
)
_MOST_BYTES = 1 << 17
_STAND_IN = """#!{python} -IS
import _signal, _socket, posix, sys

unlike = {{
    name: value
    for name, value in posix.environ.items()
    if name.startswith({beginnings}) and name not in {heeded} and value not in {usual}
}}
if unlike != {environment} or not {condition}:
    posix.execv("{program}", ["{program}", *sys.argv[1:]])
passed_on = [number for number in (1, 2, 3, 10, 12, 15) if _signal.getsignal(number) != _signal.SIG_IGN]
before = _signal.pthread_sigmask(_signal.SIG_BLOCK, passed_on)
link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
link.connect("{link}")
umask = posix.umask(0)
posix.umask(umask)
request = ascii((sys.argv, posix.environ, posix.getcwd(), umask))
descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
link.sendmsg([request.encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)])
pid = int(link.recv(16))
for number in passed_on:
    _signal.signal(number, lambda number, _: posix.kill(pid, number))
_signal.pthread_sigmask(_signal.SIG_SETMASK, before)
code = int(link.recv(16))
if code < 0:
    if code != -9:
        _signal.signal(-code, _signal.SIG_DFL)
    posix.kill(posix.getpid(), -code)
posix._exit(code)
"""
"""The program that others start: it requests a fork, and passes on signals and the exit status; both end together."""


class Forked:
    """A running fork, with the part of the interface of ``subprocess.Popen`` that is needed.

    Args:
        link: sends the process id, and later the exit status.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.pid = self._told()
        self.returncode: int | None = None

    def _told(self) -> int:
        told = self._link.recv(16)
        assert told, "the process that makes forks has ended"
        return int(told)

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after this number of seconds.
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


def start(
    argv: Sequence[str], environment: Mapping[str, str], out: int, err: int, directory: Path | None = None
) -> subprocess.Popen[bytes] | Forked:
    """Start a command, as a fork if it is one of our programs; its standard input is empty.

    Args:
        argv: the complete command.
        environment: its complete environment.
        out: the descriptor of its standard output.
        err: the descriptor of its standard error.
        directory: where it starts; default: here.
    """
    if is_forked(argv, environment):
        with open(os.devnull) as nothing:
            return _fork(argv, environment, [nothing.fileno(), out, err], directory or Path.cwd())
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=directory)


def is_forked(argv: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether a command is one of our programs, and no setting would make Python start differently."""
    if IS_WANTED not in environment:
        return False
    is_python = argv[0] in (sys.executable, str(python())) and (argv[1] in ("-c", "-m") or argv[1][0] != "-")
    is_ours = is_python or argv[0] in (str(PROGRAM), str(program()))
    return is_ours and _unlike_at_the_start(environment[IS_WANTED]) == _unlike(environment)


def _fork(argv: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int], directory: Path) -> Forked:
    """Request a fork."""
    umask = os.umask(0o022)
    os.umask(umask)
    variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    request = ascii((list(argv), variables, str(directory), umask))
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.connect(f"{environment[IS_WANTED]}/link")
    socket.send_fds(link, [request.encode()], list(descriptors))
    return Forked(link)


def run(
    argv: Sequence[str], environment: Mapping[str, str] = os.environ, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = start(argv, environment, out.fileno(), err.fileno(), directory).wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, code, out.read(), err.read())


def program() -> Path:
    """The client's program for others to start; except in nightly runs, it starts forks."""
    return Path(os.environ[IS_WANTED], PROGRAM.name) if IS_WANTED in os.environ else PROGRAM


def python() -> Path:
    """A Python for others to start; except in nightly runs, it has all our programs loaded."""
    return program().with_name("python") if IS_WANTED in os.environ else Path(sys.executable)


def path() -> str:
    """The variable ``PATH`` for calling our programs by name."""
    first = f"{program().parent}:" if IS_WANTED in os.environ else ""
    return f"{first}{PROGRAM.parent}:{os.environ['PATH']}"


class Starter:
    """The process that makes the forks, and ends with this one. It loads the programs when it makes the first fork."""

    def __init__(self) -> None:
        self._environment = _unlike(os.environ)
        self.directory = Path(tempfile.mkdtemp(prefix="forking-"))
        self._address = str(self.directory / "link")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self._address)
            listener.listen(64)
            argv = [sys.executable, __file__, str(listener.fileno())]
            self._process = subprocess.Popen(argv, pass_fds=[listener.fileno()], stdin=subprocess.PIPE)
        (self.directory / "environment").write_text(ascii(self._environment))
        for name in (PROGRAM.name, "mender-devserver"):
            self._write_stand_in(name, "True")
        for name in ("python", "python3"):
            self._write_stand_in(name, "(sys.argv[1:2] and (sys.argv[1] in ('-c', '-m') or sys.argv[1][0] != '-'))")
        atexit.register(self._end)

    def _write_stand_in(self, name: str, condition: str) -> None:
        text = _STAND_IN.format(
            python=sys.executable,
            beginnings=tuple(one.encode() for one in _READ_AT_THE_START),
            heeded=tuple(one.encode() for one in _HEEDED),
            usual=tuple(one.encode() for one in _USUAL),
            environment={name.encode(): value.encode() for name, value in self._environment.items()},
            condition=condition,
            program=PROGRAM.with_name(name),
            link=self._address,
        )
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)

    def _end(self) -> None:
        self._process.communicate()
        shutil.rmtree(self.directory)


@functools.cache
def _unlike_at_the_start(directory: str) -> dict[str, str]:
    """The unusual settings when the process that makes forks was started."""
    unlike: dict[str, str] = ast.literal_eval(Path(directory, "environment").read_text())
    return unlike


def _unlike(environment: Mapping[str, str]) -> dict[str, str]:
    """The unusual settings that Python would read at its start."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_THE_START) and name not in _HEEDED and value not in _USUAL
    }


# -- in the process that makes forks -----------------------------------------------------------------------------


def _load() -> None:
    """Load everything that the programs may need."""
    for package in (mender_client, mender_devserver):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "__main__" not in module.name and ".testing" not in module.name:
                importlib.import_module(module.name)
    for name in _LOADED_LATE:
        importlib.import_module(name)
    call("config", "check", "--root", os.devnull)  # fills the caches of patterns
    gc.collect()
    gc.freeze()


class _Forks:
    """The running forks.

    Args:
        listener: the socket for requests.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._by_end: dict[int, tuple[int, socket.socket]] = {}
        self._by_link: dict[int, int] = {}
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(sys.stdin, select.POLLIN)

    def serve(self) -> Callable[[], None]:
        """Make forks. Returns only in a fork, with its task; ends the process when standard input ends."""
        is_loaded = False
        while True:
            descriptor, _ = self._poll.poll()[0]  # one at a time: descriptor numbers are reused
            if descriptor == sys.stdin.fileno():
                for pid, _ in self._by_end.values():
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            if descriptor == self._listener.fileno():
                if not is_loaded:
                    _load()
                    is_loaded = True
                if become := self._fork():
                    return become
            elif descriptor in self._by_end:
                self._bury(descriptor)
            else:
                self._poll.unregister(descriptor)
                os.kill(self._by_link.pop(descriptor), signal.SIGKILL)  # no longer needed

    def _fork(self) -> Callable[[], None] | None:
        link = self._listener.accept()[0]
        request, descriptors, _, _ = socket.recv_fds(link, _MOST_BYTES, 3)
        if not request:  # the requesting process has been killed
            link.close()
            return None
        pid = os.fork()
        if pid == 0:
            argv, environment, directory, umask = ast.literal_eval(request.decode())
            return functools.partial(_become, argv, environment, directory, umask, descriptors)
        for one in descriptors:
            os.close(one)
        end = os.pidfd_open(pid)
        self._by_end[end], self._by_link[link.fileno()] = (pid, link), pid
        self._poll.register(end, select.POLLIN)
        self._poll.register(link, 0)
        with suppress(BrokenPipeError):
            link.send(str(pid).encode())
        return None

    def _bury(self, end: int) -> None:
        """Send the exit status of a fork to the process that requested it, if it still exists."""
        pid, link = self._by_end.pop(end)
        self._poll.unregister(end)
        os.close(end)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if self._by_link.pop(link.fileno(), None):
            self._poll.unregister(link)
        with link, suppress(BrokenPipeError):
            link.send(str(code).encode())


def _become(
    argv: list[str], environment: dict[bytes, bytes], directory: str, umask: int, descriptors: list[int]
) -> None:
    """Take on the properties that a process inherits from its parent."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(directory)
    os.umask(umask)
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()
    sys.argv[:] = argv
    for number, (name, mode, buffering) in enumerate((("stdin", "r", -1), ("stdout", "w", -1), ("stderr", "w", 1))):
        old = getattr(sys, name)
        new = open(number, mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115 - for good
        if isinstance(new, io.TextIOWrapper):
            new.reconfigure(write_through=bool(environment.get(b"PYTHONUNBUFFERED")))
        setattr(sys, name, new)


def _run() -> int:
    """Run the program that this process has become."""
    try:
        if sys.argv[0] == sys.executable or sys.argv[0].endswith(("/python", "/python3")):
            _run_python()
            threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does at its end
            return 0
        if sys.argv[0].endswith("mender-devserver"):
            return devserver.main()
        return client.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as Python does
        traceback.print_exc()
        return 1


def _run_python() -> None:
    """Do the same as Python with ``-c``, ``-m`` or a file, including the exit."""
    sys.executable, option, *words = sys.argv
    sys.argv[:] = [option, *words[1:]] if option in ("-c", "-m") else [option, *words]
    if option == "-m":
        sys.path[0] = os.getcwd()
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    elif option != "-c":
        sys.path[0] = os.path.dirname(os.path.realpath(option))
        runpy.run_path(option, run_name="__main__")
    else:
        sys.path[0] = ""
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(words[0], "<string>", "exec"), main.__dict__)


def _end(code: int) -> None:
    """Exit without unloading what was loaded, which would take longer than everything else."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path[0] = str(PROGRAM.parent)
    _Forks(socket.socket(fileno=int(sys.argv[1]))).serve()()
    _end(_run())
