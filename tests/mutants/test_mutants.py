"""Whether the updates of the in-memory world notice each change of the state tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_every_mutant_is_caught_or_harmless() -> None:
    """Every single-entry change of TRANSITIONS and RESUME is caught, or does no harm for a reason that is given."""
    # the measuring of coverage would double the time, and tell nothing that the other tests don't
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, str(RUN), "--quiet"], capture_output=True, text=True, check=False, env=environment
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
