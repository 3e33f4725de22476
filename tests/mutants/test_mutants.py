"""Whether the updates of the in-memory world notice each change of the state tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN, MODULES = Path(__file__).with_name("run.py"), Path(__file__).with_name("modules.py")
SAMPLE = ("--sample", "8", "--every", "30")
"""Mutants of a fixed seed, and fewer cases to judge them, where not all of them are tried."""


def test_every_mutant_is_caught_or_harmless(is_nightly: bool) -> None:
    """Every single-entry change of TRANSITIONS and RESUME is caught, or does no harm for a reason that is given."""
    argv = [sys.executable, str(RUN), "--quiet", *([] if is_nightly else SAMPLE)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout


def test_every_mutant_of_the_flow_modules_is_caught_or_harmless(is_nightly: bool) -> None:
    """Every single-entry change of its tables is caught, or does no harm for a reason that is given."""
    argv = [sys.executable, str(MODULES), *([] if is_nightly else ["--sample", "10"])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
