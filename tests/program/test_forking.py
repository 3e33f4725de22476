"""Forks behave like the programs that they replace, for the process that starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import forking
from waiting import PATIENCE_S, wait_until

SHOW = "import os, sys; print(os.environ['WORD'], os.getcwd(), oct(os.umask(0)), sys.argv[1:]); sys.exit({})"
WAIT = "import os, pathlib, time; pathlib.Path('pid').write_text(f'{os.getpid()}\\n'); time.sleep(3600)"


def test_what_a_process_is_given(tmp_path: Path) -> None:
    """Arguments, environment, directory and umask are those of the caller, and so are outputs and exit code."""
    os.umask(0o027)
    done = forking.run([sys.executable, "-c", SHOW.format(3), "x"], {**os.environ, "WORD": "said"}, tmp_path)
    assert (3, f"said {tmp_path} 0o27 ['x']\n", "") == (done.returncode, done.stdout, done.stderr)


def test_what_is_not_caught(tmp_path: Path) -> None:
    """An uncaught exception is printed, and the exit code is 1."""
    done = forking.run([sys.executable, "-c", "raise ValueError('x')"], directory=tmp_path)
    assert (1, True) == (done.returncode, done.stderr.endswith("ValueError: x\n"))


def test_signals_end_it(tmp_path: Path) -> None:
    """The signal that kills it is known."""
    process = forking.start([sys.executable, "-c", WAIT], os.environ, 1, 2, tmp_path)
    assert None is process.poll()
    process.send_signal(signal.SIGTERM)
    assert -signal.SIGTERM == process.wait(PATIENCE_S)


def _started(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A stand-in that waits, and the process that it represents."""
    process = subprocess.Popen([forking.python(), "-c", WAIT], cwd=directory)
    file = directory / "pid"
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return process, int(file.read_text())


def _has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_signals_are_passed_on(tmp_path: Path) -> None:
    """A signal to the stand-in is passed to its process, and ends both."""
    process, pid = _started(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert -signal.SIGTERM == process.wait(PATIENCE_S)
    assert _has_ended(pid)


def test_a_killed_stand_in_takes_its_process_along(tmp_path: Path) -> None:
    """No process keeps running that nobody could end."""
    process, pid = _started(tmp_path)
    process.kill()
    process.wait(PATIENCE_S)
    wait_until(lambda: _has_ended(pid))


def test_a_killed_process_is_told(tmp_path: Path) -> None:
    """As if the stand-in had been killed."""
    process, pid = _started(tmp_path)
    os.kill(pid, signal.SIGKILL)
    assert -signal.SIGKILL == process.wait(PATIENCE_S)


def test_outputs_of_a_stand_in(tmp_path: Path) -> None:
    """Pipes are passed on, in both directions."""
    program = [str(forking.python()), "-c", "import sys; print(sys.stdin.read().upper()); print('no', file=sys.stderr)"]
    done = subprocess.run(program, input="words", capture_output=True, text=True, check=False)
    assert (0, "WORDS\n", "no\n") == (done.returncode, done.stdout, done.stderr)
