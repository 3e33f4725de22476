"""The example of a virtual device in the guide is a program that works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/guide/devserver-page.md"


def test_example_works(tmp_path: Path) -> None:
    """The example runs as it stands and shows an accepted device."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    command = [sys.executable, "-W", "error", "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (0, "{'name': 'device-1'} accepted\n", "") == (done.returncode, done.stdout, done.stderr)
