"""Runs scripts within limits, and starts programs that outlive this process.

They run without a shell, in a clean environment, without inherited descriptors, and in their own process group, so that
a timeout ends a script together with everything that it started.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mender_client.core.text import ending, printable
from mender_client.core.update import ProcessRef
from mender_client.dataclass import dataclass
from mender_client.errors import Interrupted, ScriptError

from .files import sync_directory
from .process_table import ENDED, GROUP, SESSION, START_TIME, STATE, ProcessTable

CLEAN_ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
SCRIPT_UMASK = 0o077
"""Files created by a script are private to its user."""

SPAWNED_UMASK = 0o022
"""The usual umask of a service: the sub-updater writes system files that others read, such as artifact_info."""

_KEPT_OF_STDERR = 4096
_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class ScriptLimits:
    """How long a script may run, and how much it may write to standard output."""

    seconds: float = 60.0
    output_bytes: int = 1024 * 1024


class ProgramError(ScriptError):
    """A program ran and failed.

    Args:
        program: its name.
        how: what happened, with the last line of ``complaint``.
        complaint: the end of its standard error.
        code: its exit code, or the negative number of the signal that ended it.
    """

    def __init__(self, program: str, how: str, complaint: str, code: int = 1) -> None:
        super().__init__("SCR01", f"cannot use {program}: it {how}", remedy="run it by hand, as the client's user")
        self.complaint = complaint
        self.code = code


def run_script(
    argv: Sequence[str],
    *,
    limits: ScriptLimits,
    variables: Mapping[str, str] | None = None,
    pass_descriptors: Sequence[int] = (),
    is_stopping: Callable[[], bool] = lambda: False,
) -> bytes:
    """Run a program to its end and return its standard output.

    Args:
        argv: the program and its arguments.
        limits: its limits.
        variables: variables to add to its clean environment.
        pass_descriptors: descriptors that stay open in the program.
        is_stopping: called at least twice a second; if it returns true, the program is ended.

    Raises:
        ProgramError: it failed.
        ScriptError: it can't be started, printed too much or took too long.
        Interrupted: the client is to stop.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**CLEAN_ENVIRONMENT, **(variables or {})},
            cwd="/",
            umask=SCRIPT_UMASK,
            start_new_session=True,
            pass_fds=tuple(pass_descriptors),
        )
    except (OSError, ValueError) as error:  # a variable may come from the server and be invalid
        raise cannot_run(argv[0], error) from error
    with process:
        try:
            output, complaint = _collect(process, argv[0], limits, is_stopping)
            code = process.wait(timeout=_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            text = f"cannot use {argv[0]}: it closed its output but did not exit"
            remedy = "make it exit; it must not wait for what it runs in the background"
            raise ScriptError("SCR02", text, remedy=remedy) from None
        finally:
            _end_group(process)
    if code != 0:
        complaints = complaint.decode("utf-8", "replace").strip()
        said = printable(complaints.rpartition("\n")[2])
        raise ProgramError(argv[0], ending(code) + (f" ({said})" if said else ""), complaints, code)
    return output


def cannot_run(program: str, error: OSError | ValueError) -> ScriptError:
    """The error for a program that could not be started."""
    remedy = "check its first line"
    if isinstance(error, FileNotFoundError):
        remedy = "install it, or the interpreter in its first line"
    elif isinstance(error, PermissionError):
        remedy = "make it executable"
    return ScriptError("SCR03", f"cannot run {program}: {getattr(error, 'strerror', error)}", remedy=remedy)


def _collect(
    process: subprocess.Popen[bytes], name: str, limits: ScriptLimits, is_stopping: Callable[[], bool]
) -> tuple[bytes, bytes]:
    """Read both outputs until they end, or until the process has exited and only a child holds them open."""
    assert process.stdout is not None  # noqa: S101 - both are PIPE
    assert process.stderr is not None  # noqa: S101
    end = time.monotonic() + limits.seconds
    output, complaint = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, complaint)
        while selector.get_map():
            if is_stopping():
                raise Interrupted("the client was asked to stop")
            left = end - time.monotonic()
            if left <= 0:
                text = f"cannot use {name}: it did not exit within {limits.seconds:g} s"
                remedy = "find out what it is waiting for: run it by hand, as the client's user"
                raise ScriptError("SCR04", text, remedy=remedy)
            has_exited = process.poll() is not None  # before the wait: by then, all that it printed can be read
            ready = selector.select(min(left, 0.5))
            if not ready and has_exited:
                break
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
            del complaint[:-_KEPT_OF_STDERR]
            if len(output) > limits.output_bytes:
                text = f"cannot use {name}: it printed more than {limits.output_bytes} bytes"
                raise ScriptError("SCR05", text, remedy="make it print less")
    return bytes(output), bytes(complaint)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _leave_trace(output: Path, told: int) -> None:
    """In the child: redirect both outputs to the file and make it durable; an error number is written to ``told``."""
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        sync_directory(output.parent)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
    except OSError as error:
        os.write(told, bytes([error.errno or errno.EIO]))
        raise


class SystemProcesses(ProcessTable):
    """Starts programs that outlive this process and finds them again; see ``core.ports.Processes``.

    Args:
        output: the file to which their output is appended; its existence shows that one was started.
        announce: called with True before a program is started, and with False if that fails.
        proc: where procfs is mounted.
    """

    def __init__(
        self, output: Path, announce: Callable[[bool], None] = lambda _: None, proc: Path = Path("/proc")
    ) -> None:
        super().__init__(proc)
        self._output = output
        self._announce = announce

    def spawn(self, argv: Sequence[str], variables: Mapping[str, str]) -> ProcessRef:
        """As the port says, in a new session; the trace is the file for the program's output.

        The child creates the file durably and then executes the program. So if the file doesn't exist, nothing was
        started, even after a power cut; if it exists, the program starts even if this process is killed meanwhile. The
        child shares this process's flock locks until then, so that nobody can take them without seeing the file.
        """
        reason, told = os.pipe()
        self._announce(True)
        try:
            process = subprocess.Popen(  # preexec_fn only makes a few system calls and takes no lock
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**CLEAN_ENVIRONMENT, **variables},
                cwd="/",
                umask=SPAWNED_UMASK,
                start_new_session=True,
                preexec_fn=lambda: _leave_trace(self._output, told),
            )
        except OSError as error:
            self._remove_trace()
            raise cannot_run(argv[0], error) from error
        except subprocess.SubprocessError as error:
            self._remove_trace()
            why = os.strerror(os.read(reason, 1)[0])
            text = f"cannot open {self._output} for the output of {argv[0]}: {why}"
            raise ScriptError("SCR06", text, remedy="check its owner and mode, and the disk") from error
        finally:
            os.close(reason)
            os.close(told)
        process.returncode = 0  # init adopts it when this process exits
        fields = self._stat(process.pid)  # it exists even if the program has already ended
        return ProcessRef(process.pid, self.boot_id(), 0 if fields is None else int(fields[START_TIME]))

    def _remove_trace(self) -> None:
        """Record that nothing was started; the installer remembers it as well, in case the disk can't be written."""
        self._announce(False)
        with contextlib.suppress(OSError):
            os.unlink(self._output)

    def has_spawned(self) -> bool:
        try:
            self._output.lstat()
        except OSError as error:
            return not isinstance(error, FileNotFoundError)  # when in doubt, assume that one was started
        return True

    def stop(self, process: ProcessRef | None, variable: str, value: str, *, is_forced: bool) -> bool:
        found = {one.pid for one in self._having(variable, value)}
        if process is not None:
            found |= self._members(process)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it has just ended, or we may not signal it
                os.kill(pid, signal.SIGKILL if is_forced else signal.SIGTERM)
        return bool(found)

    def _members(self, process: ProcessRef) -> set[int]:
        """The running processes in the session and process group of a spawned program.

        The kernel doesn't reuse the pid while any of them is running, but it may do so when all have ended. So if the
        program itself has ended, the others count as its processes only if one of them has inherited its output.
        """
        if process.boot_id != self.boot_id() or not process.start_time:
            return set()
        leader = self._stat(process.pid)
        if leader is not None and int(leader[START_TIME]) != process.start_time:
            return set()
        found = {
            pid
            for pid in self._pids()
            if (fields := self._stat(pid)) is not None
            and str(process.pid) in (fields[GROUP], fields[SESSION])
            and int(fields[START_TIME]) >= process.start_time
            and fields[STATE] not in ENDED
        }
        return found if leader is not None or any(self._writes_output(pid) for pid in found) else set()

    def _writes_output(self, pid: int) -> bool:
        """Whether stdout or stderr of this process is the file for the output of spawned programs."""
        for descriptor in ("1", "2"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self._proc / str(pid) / "fd" / descriptor), os.stat(self._output)):
                    return True
        return False
