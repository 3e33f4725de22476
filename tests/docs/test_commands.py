"""The commands in the documents are valid for the programs."""

from __future__ import annotations

import argparse
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mender_client.app.cli import build_parser
from mender_devserver.parser import build_parser as build_devserver_parser
from mender_fleet.parser import build_parser as build_fleet_parser

from .pages import PAGES, PROJECT, blocks, name, prose

_MAKE = re.compile(r"(?:^|`|\n *)make ((?:--\w+ )?[a-z]+)\b")
_TYPED = ("sh", "console")


def typed(page: Path) -> Iterator[str]:
    """The lines that a reader types, without prompts and comments, and the inline code."""
    for block in blocks(page):
        if block.language in _TYPED:
            yield from (line.removeprefix("$ ") for line in block.text.replace("\\\n", " ").splitlines())
    yield from re.findall(r"`([^`\n]+)`", prose(page))


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of each call of a program; a mere mention of its name has none."""
    for line in typed(page):
        words = shlex.split(line, comments=True) if line.startswith(program + " ") else []
        while words and words[-1] in ("&", "|"):
            words.pop()
        for stop in (">", "|", "||", "&&", "2>"):
            if stop in words:
                words = words[: words.index(stop)]
        words = [word for word in words if not re.match(r"[0-9]?>", word)]
        if len(words) > 1:
            yield words[1:]


def understands(parser: argparse.ArgumentParser, words: list[str]) -> bool:
    """Whether the parser accepts the words; help and version count as accepted."""
    try:
        parser.parse_args(words)
    except SystemExit as end:
        return end.code == 0
    return True


@functools.cache
def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parsers of our programs."""
    return {
        "mender-python-client": build_parser(),
        "mender-devserver": build_devserver_parser(),
        "mender-fleet": build_fleet_parser(),
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_parse(page: Path) -> None:
    """Every call of one of our programs in a document is accepted by the program's parser."""
    wrong = []
    for program, parser in parsers().items():
        calls = [words for words in commands(page, program) if not {"COMMAND", "…"} & set(words)]
        wrong += [f"{program} {shlex.join(words)}" for words in calls if not understands(parser, words)]
    assert [] == wrong


def test_readme_has_commands_to_parse() -> None:
    """The test above finds invalid calls."""
    calls = list(commands(PROJECT / "README.md", "mender-python-client"))
    assert ["status"] in calls
    assert ["check-update"] in calls


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_knows_its_words(page: Path) -> None:
    """Every ``make WORD`` in a document is a target of the Makefile."""
    known = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    used = {word.rpartition(" ")[2] for line in typed(page) for word in _MAKE.findall(line)}
    assert set() == used - known


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_files_are_there(page: Path) -> None:
    """Every file of the project that a document names in code exists."""
    roots = ("src/", "support/", "demo/", "tests/", "benchmarks/", "tools/", "docs/", "core/", "client/", "system/")
    named = {
        word.partition("::")[0].rstrip("/")
        for line in typed(page)
        for word in line.split()
        if word.startswith((*roots, "app/", "installers/")) and not {"*", "…"} & set(word)
    }
    places = (PROJECT, PROJECT / "src/mender_client")
    assert [] == sorted(one for one in named if not any((place / one).exists() for place in places))
