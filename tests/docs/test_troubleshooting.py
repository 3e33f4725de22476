"""The troubleshooting page has every message of the client and every check of ``doctor``, and no others."""

from __future__ import annotations

import ast
import re

import message_areas
import messages
import pytest

from mender_client.app.doctor import CHECKS

from .pages import PROJECT

PAGE = (PROJECT / "docs/guide/troubleshooting.md").read_text("utf-8")
DOCTOR = PAGE.partition("\n## What doctor checks\n")[2].partition("\n## Messages\n")[0]


def test_the_page_is_fresh() -> None:
    """The messages on the page are those in the code; each has a code, and no code has two messages."""
    assert messages.page() == PAGE, "run make docs"


def test_each_note_has_its_message() -> None:
    """Each further explanation belongs to a message on the page, so that the message can still occur."""
    assert [] == [code for code in message_areas.NOTES if f'<a id="{code.lower()}">' not in PAGE]


def test_each_check_has_its_section() -> None:
    """The sections are the lines of ``doctor``, by name and in order."""
    assert list(CHECKS) == re.findall(r"^### (.+)$", DOCTOR, re.MULTILINE)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('raise StorageError("STO01", f"cannot read {path}: {why}")', [("STO01", "cannot read …: …", "")]),
        ('raise KeyFileError("KEY01", "no key", remedy="make one")', [("KEY01", "no key", "make one")]),
        ('x = Diagnostic("CFG01", "a" f"{b}{c}", "do it")', [("CFG01", "a…", "do it")]),
        ('def f():\n    text = f"in {a}"\n    return Diagnostic("CFG01", text, why.remedy)', [("CFG01", "in …", "")]),
        ('super().__init__("SCR01", f"cannot use {it}")', [("SCR01", "cannot use …", "")]),
        ('_WORD = "sign it"\nArtifactError("ART01", "bad", remedy=_WORD)', [("ART01", "bad", "sign it")]),
        ('ArtifactError("bad")', [("", "bad", "")]),
        ("raise KeyFileError(why.code, text, remedy=why.remedy)", []),
        ('raise ValueError("must be a string")', []),
        ('print("ART01 is a code")', []),
    ],
)
def test_messages_are_found(code: str, found: list[tuple[str, str, str]]) -> None:
    """A message is found wherever the code creates it, with its remedy; so is one without a code."""
    families = frozenset({"ArtifactError", "Diagnostic", "KeyFileError", "StorageError"})
    assert found == [(one.code, one.template, one.remedy) for one in messages.find(ast.parse(code), families, "x.py")]
