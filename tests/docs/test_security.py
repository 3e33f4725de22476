"""The page about security: every defence on it has a test, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

from fuzz.parsers import all_parsers

from .pages import PROJECT

PAGE = (PROJECT / "docs/security.md").read_text("utf-8")
DEFENCES = PAGE.partition("## Defences")[2].partition("\n## ")[0]
ROWS = [line for line in DEFENCES.splitlines() if line.startswith("| ")][1:]


def test_every_defence_names_a_test_that_exists() -> None:
    """Each row of the table of defences ends with a test that exists."""
    assert len(ROWS) > 30
    for row in ROWS:
        named = re.search(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?` \|$", row)
        assert named is not None, row
        text = (PROJECT / named[1]).read_text("utf-8")
        assert named[2] is None or f"def {named[2]}(" in text, row


def test_every_defence_names_code_that_exists() -> None:
    """Each row says where in the code the defence is."""
    for row in ROWS:
        for place in re.findall(r"`([a-z]+/[a-z/]*(?:\.py)?)`", row):
            assert (PROJECT / "src/mender_client" / place).exists(), row


def test_every_fuzzed_parser_has_its_figures(tmp_path: Path) -> None:
    """The table of figures lists exactly the parsers that are fuzzed."""
    figures = PAGE.partition("## Fuzzing")[2].partition("\n## ")[0]
    assert sorted(all_parsers(tmp_path)) == sorted(re.findall(r"^\| `([a-z-]+)` \|", figures, re.MULTILINE))
