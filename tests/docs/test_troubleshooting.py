"""The page for whoever has trouble knows every message of the client and every check of ``doctor``, and no others."""

from __future__ import annotations

import ast
import re

import messages
import pytest

from mender_client.app.doctor import CHECKS

from .pages import PROJECT

PAGE = (PROJECT / "docs/guide/troubleshooting.md").read_text("utf-8")
DOCTOR, _, MESSAGES = PAGE.partition("\n## What doctor looks at\n")[2].partition("\n## Messages\n")


def listed() -> list[str]:
    """The messages on the page: each is a point of a list, in code."""
    return re.findall(r"^- `(.+)`$", MESSAGES, re.MULTILINE)


def test_each_message_has_its_entry() -> None:
    """What the client can say stands on the page, under its theme."""
    known = set(listed())
    missing = [f"- `{one.template}`    ({one.place})" for one in messages.collect() if one.template not in known]
    assert [] == missing, "add to docs/guide/troubleshooting.md, with cause and remedy:\n" + "\n".join(missing)


def test_each_entry_has_its_message() -> None:
    """What stands on the page can still be said, and stands there once."""
    templates = {one.template for one in messages.collect()}
    stale = [f"- `{entry}`" for entry in listed() if entry not in templates]
    assert [] == stale, "remove from docs/guide/troubleshooting.md:\n" + "\n".join(stale)
    assert len(set(listed())) == len(listed())


def test_each_check_has_its_section() -> None:
    """The sections are the lines of ``doctor``, by name and in order."""
    assert list(CHECKS) == re.findall(r"^### (.+)$", DOCTOR, re.MULTILINE)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('text = f"cannot read {path}: {why}"', ["cannot read …: …"]),
        ('def f():\n    """Say; nothing."""\n    return f"{path} is wide; run chmod"', ["… is wide; run chmod"]),
        ('raise ValueError("must be a text")', ["must be a text"]),
        ("raise ConfigError([f'{key}: is empty'])", ["…: is empty"]),
        ('raise storage_error("make the directory", path, error) from error', ["cannot make the directory …: …"]),
        ('raise KeyError(f"{left}{right}")', []),
        ('raise AssertionError("we are wrong")', []),
        ('logger.warning("%s: lost %d bytes", name, count)', ["…: lost … bytes"]),
        ('logger.info("polling; see you later")', []),
        ('self.problems.append(f"{file}: must be an object")', ["…: must be an object"]),
        ('print("nothing was written; say --yes", file=sys.stderr)', ["nothing was written; say --yes"]),
        ('parser.add_argument("--x", help="needed; always")', []),
    ],
)
def test_messages_are_found(code: str, found: list[str]) -> None:
    """A message is found in each place where it may stand, and nothing else is taken for one."""
    assert found == list(dict.fromkeys(template for _, template in messages.find(ast.parse(code))))
