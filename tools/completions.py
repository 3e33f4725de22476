"""Writes the completions of bash, zsh and fish of all programs from their parsers.

    python tools/completions.py            write them
    python tools/completions.py --check    only say which file is stale; exit code 1 when one is

shtab makes them; what the words of an argument stand for is told to it here, so that the device needs no shtab.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import shtab
from fresh import write_all
from grammar import children

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "src"))

from mender_client.app.cli import build_parser  # noqa: E402 - the checkout's own package
from mender_client.app.config import KEYS  # noqa: E402
from mender_devserver.parser import build_parser as build_devserver_parser  # noqa: E402
from mender_fleet.parser import build_parser as build_fleet_parser  # noqa: E402

# the places where the shells look, below a prefix
PLACES = {
    "bash": "bash-completion/completions/{program}",
    "zsh": "zsh/site-functions/_{program}",
    "fish": "fish/vendor_completions.d/{program}.fish",
}
_FILES = frozenset({"FILE", "ARTIFACT", "OUT"})
_DIRECTORYS = frozenset({"DIR"})
_WORDS = {"keys": [key.name for key in KEYS], "log_level": ["debug", "info", "warning", "error", "critical"]}
"""Words that a parser checks itself, because its message says more than that of a choice."""


def complete(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion of one program for one shell."""
    _say_what_words_are(parser)
    text: str = shtab.complete(parser, shell=shell)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _say_what_words_are(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if action.metavar in _FILES or action.metavar in _DIRECTORYS:
            action.complete = shtab.FILE if action.metavar in _FILES else shtab.DIRECTORY  # type: ignore[attr-defined]
        action.choices = _WORDS.get(action.dest, action.choices)
    commands = children(parser)
    if commands is None:
        return
    for choice in commands._choices_actions:
        commands.choices[choice.dest].description = choice.help  # the whole description is too long for a list
    for child in commands.choices.values():
        _say_what_words_are(child)


def _files() -> dict[Path, str]:
    return {
        PROJECT / directory / place.format(program=parser.prog): complete(parser, shell)
        for directory, parser in (
            ("support/completions", build_parser()),
            ("devserver/completions", build_devserver_parser()),
            ("devserver/completions", build_fleet_parser()),
        )
        for shell, place in PLACES.items()
    }


if __name__ == "__main__":
    sys.exit(write_all(_files()))
