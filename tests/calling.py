"""Calls a program's ``main`` in this process: the entry point of a real process, in a tenth of the time."""

from __future__ import annotations

import io
import logging
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout

from mender_client.app.cli import main as client_main

_FAULTS = ("Traceback", "Exception ignored", "Logging error")


def call(*words: str, main: Callable[[Sequence[str]], int] = client_main) -> subprocess.CompletedProcess[str]:
    """Run a command until it ends. It must not be the daemon, which handles the signals of its process.

    Args:
        words: the arguments of the program.
        main: the function that is called.

    Returns:
        The exit code and the output, as of a process.
    """
    out, err = io.StringIO(), io.StringIO()
    logger = logging.getLogger("mender_client")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    umask = os.umask(0o022)
    os.umask(umask)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
        os.umask(umask)
    done = subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
    check(done)
    return done


def check(done: subprocess.CompletedProcess[str]) -> None:
    """Check that the output shows no fault of the program."""
    said = (done.stdout or "") + done.stderr
    assert [] == [fault for fault in _FAULTS if fault in said], said
