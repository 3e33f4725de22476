"""Writes the manual pages of all programs from their parsers and the table of configuration keys.

    python tools/manual.py            write them
    python tools/manual.py --check    only report which pages are stale; exit code 1 if any is

No library is used, because existing ones take their text from argparse's help output, which depends on the version of
Python, and don't know the keys of ``mender.conf``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fresh import write_all
from grammar import common_options, forms, help_text, own_arguments, usage, walk

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "src"))

from mender_client import __version__  # noqa: E402 - the checkout's own package
from mender_client.app.cli import build_parser  # noqa: E402
from mender_client.app.command import PROGRAM  # noqa: E402
from mender_client.app.config import ACCEPTED_KEYS, KEYS, RETIRED_KEYS  # noqa: E402
from mender_devserver.parser import build_parser as build_devserver_parser  # noqa: E402
from mender_fleet.parser import build_parser as build_fleet_parser  # noqa: E402

CLIENT_FILES = {
    "/etc/mender/mender.conf": "The configuration, see mender.conf(5).",
    "/etc/mender/artifact_info": "What is installed: artifact_name=NAME.",
    "/var/lib/mender": "The data directory: key, state file, downloads, logs, device_type.",
    "/usr/share/mender/identity/mender-device-identity": "The script that prints the identity of the device.",
    "/usr/share/mender/inventory": "The scripts that print the inventory.",
    "/usr/share/mender/install": "The sub-updater, which installs an Artifact.",
}
EXAMPLE = """\
{
  "ServerURL": "https://mender.example.com",
  "ServerCertificate": "/etc/mender/server.crt",
  "UpdatePollIntervalSeconds": 1800
}
"""


def client_page() -> str:
    """``mender-python-client(1)``."""
    parser = build_parser()
    lines = [
        *_head(PROGRAM, 1, "a Mender update client"),
        *_synopsis(PROGRAM, "[OPTIONS] COMMAND [ARGUMENTS]"),
        *_section("description", [parser.description or ""]),
        *_common_options(parser),
        *_commands(parser, PROGRAM),
        *_section("exit status", [(parser.epilog or "").partition(":")[2]]),
        *_section("files"),
    ]
    for file, what in CLIENT_FILES.items():
        lines += _tagged(_bold(file), what)
    return _page([*lines, *_section("see also", ["mender.conf(5), mender-devserver(1)"])])


def devserver_page() -> str:
    """``mender-devserver(1)``."""
    parser = build_devserver_parser()
    example, _, rest = (parser.epilog or "").partition("\n\n")
    return _page(
        [
            *_head("mender-devserver", 1, "a Mender server for demos and tests"),
            *_synopsis("mender-devserver", "[OPTIONS] COMMAND [ARGUMENTS]"),
            *_section("description", [parser.description or ""]),
            *_common_options(parser),
            *_commands(parser, "mender-devserver"),
            *_section("example"),
            *_verbatim(example),
            *_section("notes", [" ".join(rest.split())]),
            *_section("see also", [f"mender-fleet(1), {PROGRAM}(1)"]),
        ]
    )


def fleet_page() -> str:
    """``mender-fleet(1)``."""
    parser = build_fleet_parser()
    example, _, rest = (parser.epilog or "").partition("\n\n")
    notes, _, codes = rest.partition("exit codes: ")
    lines = [
        *_head(parser.prog, 1, "simulates a fleet of Mender devices"),
        *_synopsis(parser.prog, (parser.usage or "").removeprefix(f"{parser.prog} ")),
        *_section("description", [parser.description or "", " ".join(notes.split())]),
    ]
    for group in parser._action_groups:
        if group._group_actions and group.title:
            lines += [*_section(group.title), *_arguments(parser, group._group_actions)]
    lines += [*_section("example"), *_verbatim(example), *_section("exit status", [codes])]
    return _page([*lines, *_section("see also", [f"mender-devserver(1), {PROGRAM}(1)"])])


def configuration_page() -> str:
    """``mender.conf(5)``."""
    lines = [
        *_head("mender.conf", 5, "configuration of the Mender update client"),
        *_section("synopsis", ["/etc/mender/mender.conf"]),
        ".br",
        "/var/lib/mender/mender.conf",
        *_section(
            "description",
            [
                "A JSON object. A key in the first file wins over the same key in the second one. "
                "A name with a dot is a key of an object inside the object."
            ],
        ),
        *_section("keys"),
    ]
    for key in KEYS:
        default = "" if key.default in ("", ()) else f" (default: {_json(key.default)})"
        lines += _tagged(f"{_bold(key.name)}: {_text(key.form)}", f"{key.help.rstrip('.')}{default}.")
    lines += _section("accepted without effect", [", ".join((*ACCEPTED_KEYS, *RETIRED_KEYS)) + "."])
    lines += [*_section("example"), *_verbatim(EXAMPLE)]
    return _page([*lines, *_section("see also", [f"{PROGRAM}(1)"])])


# -- the parts of a page -------------------------------------------------------------------------------------


def _head(name: str, section: int, about: str) -> list[str]:
    heading = f'.TH "{_text(name.upper())}" {section} "" "{PROGRAM} {__version__}" "Mender"'
    return [heading, *_section("name"), f"{_text(name)} \\- {_text(about)}"]


def _synopsis(program: str, words: str) -> list[str]:
    return [*_section("synopsis"), f"{_bold(program)} {_text(words)}"]


def _section(name: str, paragraphs: Sequence[str] = ()) -> list[str]:
    return [f'.SH "{name.upper()}"', *(_line(paragraph) for paragraph in paragraphs)]


def _common_options(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from _section("common options", ["They are accepted before and after the command."])
    yield from _arguments(parser, common_options(parser))


def _commands(parser: argparse.ArgumentParser, program: str) -> Iterator[str]:
    yield from _section("commands")
    for path, command, about in walk(parser, (program,)):
        yield f'.SS "{_text(" ".join(path[1:]))}"'
        yield _line(usage(path, command))
        yield ".PP"
        yield _line(f"{about[:1].upper()}{about[1:].rstrip('.')}.")
        yield from _arguments(command, own_arguments(command))


def _arguments(parser: argparse.ArgumentParser, actions: Iterable[argparse.Action]) -> Iterator[str]:
    for action in actions:
        yield from _tagged(", ".join(_bold(form) for form in forms(action)), help_text(parser, action))


def _tagged(tag: str, text: str) -> list[str]:
    return [".TP", tag, _line(text) or "\\&"]


def _verbatim(text: str) -> list[str]:
    return [".nf", *(_line(line) for line in text.rstrip("\n").splitlines()), ".fi"]


def _line(text: str) -> str:
    """Escape text as a separate line, so that a leading control character isn't interpreted as a request."""
    escaped = _text(text.strip("\n"))
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _text(text: str) -> str:
    """Escape text so that it can be copied: a hyphen remains a hyphen in every encoding."""
    for given, written in (("\\", "\\e"), ("-", "\\-"), ("…", "..."), ("`", "")):
        text = text.replace(given, written)
    return text


def _bold(text: str) -> str:
    return f"\\fB{_text(text)}\\fR"


def _json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _page(lines: Iterable[str]) -> str:
    comment = '.\\" Made by tools/manual.py: run "make docs" instead of changing it.'
    return "\n".join([comment, *(line.strip() or ".PP" for line in lines)]) + "\n"


PAGES = {
    PROJECT / "support/man/mender-python-client.1": client_page,
    PROJECT / "support/man/mender.conf.5": configuration_page,
    PROJECT / "devserver/man/mender-devserver.1": devserver_page,
    PROJECT / "devserver/man/mender-fleet.1": fleet_page,
}

if __name__ == "__main__":
    sys.exit(write_all({file: make() for file, make in PAGES.items()}))
