"""The guide's tests of a stranger's programs are tests that pass, with nothing but the installed plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .pages import PROJECT, examples

PAGE = PROJECT / "docs/guide/test-your-sub-updater.md"
MODULES_PAGE = PROJECT / "docs/guide/update-modules.md"


def block(page: Path, heading: str, language: str) -> str:
    """The first block of a language below a heading."""
    return next(block.text for where, block in examples(page) if where == heading and block.language == language)


def passed(place: Path, test: str) -> str:
    """How many tests pass, in the words of pytest."""
    (place / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    return "".join(re.findall(r"^\d+ .*(?= in )", done.stdout, re.MULTILINE)) or done.stdout + done.stderr


def test_the_first_test(tmp_path: Path) -> None:
    """Ten lines of shell and a test of under fifteen lines, as they stand on the page."""
    test = block(PAGE, "A first test", "python")
    assert len(test.split("\n\n\n")[0].splitlines()) < 15
    (tmp_path / "install").write_text(block(PAGE, "A first test", "sh"))
    assert "2 passed" == passed(tmp_path, test)


def test_an_update_module(tmp_path: Path) -> None:
    """Ten lines of shell install, roll back, and are tested in fifteen lines, with every failure and power cut."""
    module, test = block(MODULES_PAGE, "Write your own", "sh"), block(PAGE, "Update modules", "python")
    assert (True, True) == (len(module.splitlines()) <= 10, len(test.replace("\n\n\n", "\n").splitlines()) <= 15)
    (tmp_path / "model").write_text(module)
    assert "2 passed" == passed(tmp_path, test)
