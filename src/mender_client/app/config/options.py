"""The command line of ``config …``; what does the work is imported when a command is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from mender_client.app.exitcodes import ExitCode
from mender_client.app.paths import Paths

Locate = Callable[[argparse.Namespace], Paths]


def add_commands(parser: argparse.ArgumentParser, common: dict[str, Any], locate: Locate) -> None:
    """Add the commands to ``config``.

    Args:
        parser: the parser of ``config``.
        common: further arguments for each command's parser: the common options.
        locate: finds the files that the common options name.
    """
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=type(parser))

    def verb(name: str, text: str, run: Callable[[argparse.Namespace], ExitCode]) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text, **common)
        sub.set_defaults(run=run)
        return sub

    def check(options: argparse.Namespace) -> ExitCode:
        from .commands import check

        return check(locate(options), is_json=options.json)

    def show(options: argparse.Namespace) -> ExitCode:
        from .commands import show

        return show(locate(options), overrides=_overrides(options), is_json=options.json)

    def explain(options: argparse.Namespace) -> ExitCode:
        from .commands import explain

        return explain(options.keys)

    for one in (
        verb("check", "tell everything that is wrong or odd in mender.conf, both files at once", check),
        verb("show", "print the merged configuration and where each value comes from; secrets are masked", show),
    ):
        one.add_argument("--json", action="store_true", help="print JSON, for programs")
    explained = verb("explain", "print what keys of mender.conf mean: value, unit, default, example", explain)
    explained.add_argument("keys", metavar="KEY", nargs="*", help="the keys (default: all)")


def _overrides(options: argparse.Namespace) -> dict[str, tuple[str, Any]]:
    """What options of the command line set in place of the files: option and value, by key."""
    overrides: dict[str, tuple[str, Any]] = {}
    if options.log_level:
        overrides["DaemonLogLevel"] = ("--log-level", options.log_level)
    if options.skipverify:
        overrides["SkipVerify"] = ("--skipverify", True)
    return overrides
