"""The program's memory: what it never uses is not loaded."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from mender_client.app.lean import load_urllib3
load_urllib3()
load_urllib3()
assert "urllib3.poolmanager" in sys.modules
assert not {"zipfile", "csv"} & set(sys.modules), "urllib3 brought what it doesn't need"
from importlib.metadata import version
assert version("urllib3")
"""


def test_urllib3_comes_alone() -> None:
    """urllib3 comes without readers of zip and CSV files, and whoever wants importlib.metadata gets the real one."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)
