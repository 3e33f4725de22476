"""Whether the updates of the in-memory world detect each change to the state tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN, MODULES = Path(__file__).with_name("run.py"), Path(__file__).with_name("modules.py")
SAMPLE = ("--sample", "8", "--every", "30")
"""Mutants from a fixed seed, and fewer cases to judge them, if not all of them are tested."""


def test_every_mutant_is_caught_or_harmless(is_nightly: bool) -> None:
    """Every single-entry change to TRANSITIONS and RESUME is detected, or is harmless for a given reason."""
    argv = [sys.executable, str(RUN), "--quiet", *([] if is_nightly else SAMPLE)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout


def test_every_mutant_of_the_flow_modules_is_caught_or_harmless(is_nightly: bool) -> None:
    """Every single-entry change to its tables is detected, or is harmless for a given reason."""
    argv = [sys.executable, str(MODULES), *([] if is_nightly else ["--sample", "10"])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
