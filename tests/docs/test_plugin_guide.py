"""The guide's tests of a user's programs are tests that pass, with nothing but the installed plugin."""

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
    """The first block in a language below a heading."""
    return next(block.text for where, block in examples(page) if where == heading and block.language == language)


def passed(place: Path) -> str:
    """The number of passed tests, in pytest's wording."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "."]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    return "".join(re.findall(r"^\d+ .*(?= in )", done.stdout, re.MULTILINE)) or done.stdout + done.stderr


def test_the_tests_of_the_page(tmp_path: Path) -> None:
    """A sub-updater and an update module of ten lines each pass the page's tests of fewer than fifteen lines."""
    test = block(PAGE, "A first test", "python")
    assert len(test.split("\n\n\n")[0].splitlines()) < 15
    (tmp_path / "install").write_text(block(PAGE, "A first test", "sh"))
    (tmp_path / "test_install.py").write_text(test)
    module, test = block(MODULES_PAGE, "Write your own", "sh"), block(PAGE, "Update modules", "python")
    assert (True, True) == (len(module.splitlines()) <= 10, len(test.replace("\n\n\n", "\n").splitlines()) <= 15)
    (tmp_path / "model").write_text(module)
    (tmp_path / "test_model.py").write_text(test)
    assert "4 passed" == passed(tmp_path)
