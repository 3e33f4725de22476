"""Whether the updates of the in-memory world notice each change of the state tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_every_mutant_is_caught_or_harmless() -> None:
    """Every single-entry change of TRANSITIONS and RESUME is caught, or does no harm for a reason that is given."""
    done = subprocess.run([sys.executable, str(RUN), "--quiet"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
