"""The guide's test of a stranger's sub-updater is a test that passes, with nothing but the installed plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/guide/test-your-sub-updater.md"


def blocks(language: str) -> list[str]:
    """The page's blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_first_test(tmp_path: Path) -> None:
    """Ten lines of shell and a test of under fifteen lines, as they stand on the page."""
    sub_updater, test = blocks("sh")[0], blocks("python")[0]
    assert len(test.split("\n\n\n")[0].splitlines()) < 15
    (tmp_path / "install").write_text(sub_updater)
    (tmp_path / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
