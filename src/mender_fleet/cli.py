"""``mender-fleet``: Locust with the devices of this package and defaults for a fleet. It accepts all Locust options."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from .parser import PROGRAM, build_parser

_RAMP = 100
"""The number of seconds within which a fleet is switched on by default."""
_NAMES = {"--server": "--host", "--devices": "--users"}
_OF_PARSER = frozenset({"-h", "--help", "-V", "--version"})


def locust_arguments(arguments: list[str]) -> list[str]:
    """The command line for Locust, with options renamed, and with our locustfile and a spawn rate added."""
    told = [_renamed(one) for one in arguments]
    names = {one.partition("=")[0] for one in told}
    if not names & {"-f", "--locustfile"}:
        told = ["--locustfile", str(Path(__file__).with_name("locustfile.py")), *told]
    users = _value(told, "--users", "-u")
    if users.isdecimal() and not names & {"-r", "--spawn-rate", "--worker"}:
        told += ["--spawn-rate", str(max(1, int(users) // _RAMP))]
    if not names & {"--web-host", "--worker"}:
        told += ["--web-host", "127.0.0.1"]  # anyone who can reach the page can start a fleet
    return told


def _renamed(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return _NAMES.get(name, name) + equals + value


def _value(arguments: list[str], *names: str) -> str:
    for place, one in enumerate(arguments):
        name, equals, value = one.partition("=")
        if name in names:
            return value if equals else "".join(arguments[place + 1 : place + 2])
    return ""


def main(arguments: list[str] | None = None) -> None:
    """Run Locust, or print help or version; ``arguments`` defaults to the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if _OF_PARSER.intersection(arguments):
        build_parser().parse_args(["--help" if {"-h", "--help"}.intersection(arguments) else "--version"])
    if find_spec("locust") is None:
        sys.exit(f"{PROGRAM}: cannot start: Locust isn't installed; run pip install 'mender-devserver[fleet]'")
    from locust.main import main as locust_main

    sys.argv = [PROGRAM, *locust_arguments(arguments)]
    locust_main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
