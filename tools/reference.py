"""Writes the generated parts of the reference: the keys of ``mender.conf``, their schema, and the command line.

    python tools/reference.py            write them
    python tools/reference.py --check    only report which pages are stale; exit code 1 if any is

The prose of a page is written by hand; the text between the marks ``<!-- generated: NAME -->`` and ``<!-- end -->`` is
replaced.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from fresh import write_all
from grammar import common_options, forms, help_text, own_arguments, usage, walk

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "src"))

from mender_client.app.cli import build_parser  # noqa: E402
from mender_client.app.command import PROGRAM  # noqa: E402 - the checkout's own package
from mender_client.app.config import ACCEPTED_KEYS, KEYS, RETIRED_KEYS, Key  # noqa: E402
from mender_client.app.config.connect_keys import CONNECT_KEYS  # noqa: E402
from mender_client.app.config.schema import build_schema  # noqa: E402

_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def render(page: str) -> str:
    """Return the page with its generated parts replaced.

    Raises:
        KeyError: a mark names an unknown part.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{_PARTS[match[2]]()}\n{match[3]}", page)


# -- mender.conf ---------------------------------------------------------------------------------------------


def _keys(keys: Sequence[Key] = KEYS) -> str:
    rows = [(f"`{key.name}`", key.form, _default(key.default), key.help) for key in keys]
    return _table(("key", "value", "default", "meaning"), rows)


def _default(value: object) -> str:
    if value in ("", ()):
        return "none"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _names(names: Sequence[str]) -> str:
    return "".join(f"- `{name}`\n" for name in names)


# -- the command line ----------------------------------------------------------------------------------------


def _common_options() -> str:
    parser = build_parser()
    return _arguments(parser, common_options(parser))


def _commands() -> str:
    return "\n".join(_command(path, parser, about) for path, parser, about in walk(build_parser(), (PROGRAM,)))


def _command(path: tuple[str, ...], parser: argparse.ArgumentParser, about: str) -> str:
    own = own_arguments(parser)
    text = f"### {' '.join(path[1:])}\n\n    {usage(path, parser)}\n\n{about[:1].upper()}{about[1:].rstrip('.')}.\n"
    return f"{text}\n{_arguments(parser, own)}" if own else text


def _arguments(parser: argparse.ArgumentParser, actions: Sequence[argparse.Action]) -> str:
    rows = [(", ".join(f"`{form}`" for form in forms(one)), help_text(parser, one)) for one in actions]
    return _table(("argument", "meaning"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


_PARTS = {
    "keys": _keys,
    "connect-keys": lambda: _keys(CONNECT_KEYS.keys),
    "accepted-connect-keys": lambda: _names(CONNECT_KEYS.silent),
    "accepted-keys": lambda: _names(ACCEPTED_KEYS),
    "retired-keys": lambda: _names(RETIRED_KEYS),
    "common-options": _common_options,
    "commands": _commands,
}

SCHEMA = PROJECT / "docs/reference/mender.conf.schema.json"
PAGES = tuple(PROJECT / "docs/reference" / name for name in ("configuration.md", "command-line.md"))


def generated() -> dict[Path, str]:
    """All files with generated parts, and their required content."""
    schema = json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"
    return {**{page: render(page.read_text("utf-8")) for page in PAGES}, SCHEMA: schema}


if __name__ == "__main__":
    sys.exit(write_all(generated()))
