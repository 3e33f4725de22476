"""The command line of ``mender-devserver``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mender_client import commandline
from mender_client.commandline import Argument, Program
from mender_devserver.commands import COMMANDS

DEFAULT_DIRECTORY = Path("mender-devserver")

_EXAMPLE = """\
a first update:
  mender-devserver serve --auto-accept &         run the server; it prints its URL and its certificate
  mender-devserver page                          print the address of its page, for a browser
  mender-devserver devices                       list the devices
  mender-devserver accept --all                  accept those that are pending
  mender-devserver upload release-2.mender       upload an Artifact
  mender-devserver deploy release-2              deploy it to every accepted device
  mender-devserver status                        show the status of the newest deployment
  mender-devserver log                           show the log of a failed device"""

DEVSERVER = Program(
    name="mender-devserver",
    description="A Mender server in one process, for demos and tests.",
    commands=COMMANDS,
    common=(
        Argument(
            "--directory",
            type=Path,
            default=DEFAULT_DIRECTORY,
            metavar="DIR",
            help=f"the directory of the server (default: {DEFAULT_DIRECTORY})",
        ),
        Argument("--json", action="store_true", help="print JSON instead of text"),
    ),
    epilog="The first characters of an id are enough.\n"
    "exit codes: 0 done; 1 failed; 2 no such device, Artifact, deployment or log; 64 wrong usage; 130 interrupted",
    example=_EXAMPLE,
)


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the program; see ``commandline.build_parser``."""
    return commandline.build_parser(DEVSERVER, words)


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line; wrong usage ends the program with 64."""
    parser = build_parser(words)
    arguments = parser.parse_args(words)
    if "all" in arguments and bool(arguments.devices) is arguments.all:
        parser.error("specify devices to accept, or pass --all")
    return arguments
