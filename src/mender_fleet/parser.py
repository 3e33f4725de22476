"""The command line of ``mender-fleet`` without Locust: for ``--help``, the manual page and the completions."""

from __future__ import annotations

import argparse

from mender_client import __version__

from .options import add_options

PROGRAM = "mender-fleet"
EPILOG = """\
A first fleet, at a dev server:
  mender-devserver serve --auto-accept &
  mender-fleet --devserver mender-devserver --devices 100 --poll 60 --headless

All options of Locust work, also in its configuration file and its environment variables; 'locust --help' lists them.
exit codes: 0 done; 1 a request failed, or the fleet cannot run; 2 or 64 wrong usage"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of our options, and of the Locust options that a fleet needs most."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} (--server URL | --devserver DIR) --devices NUMBER [OPTIONS] (default: CLASS ...)",
        description="Simulate a fleet of devices, each of which is the real client, under the load generator Locust.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    _add_run(parser.add_argument_group("the run"))
    _add_machines(parser.add_argument_group("several processes and machines"))
    add_options(parser)
    return parser


def _add_run(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-h", "--help", action="help", help="show this help message and exit")
    group.add_argument("-V", "--version", action="version", version=version())
    group.add_argument("--server", metavar="URL", help="the server, Locust's --host")
    group.add_argument("--devices", type=int, metavar="NUMBER", help="how many devices, Locust's --users")
    group.add_argument(
        "--spawn-rate",
        type=float,
        metavar="NUMBER",
        help="how many are switched on in a second (default: all in 100 seconds)",
    )
    group.add_argument("--headless", action="store_true", help="start at once, without Locust's page")
    group.add_argument("--web-host", metavar="ADDRESS", help="where Locust's page listens (default: 127.0.0.1)")
    group.add_argument("--run-time", metavar="TIME", help="end after this time, like 90s, 20m or 1h30m")
    group.add_argument("--csv", metavar="PREFIX", help="write what is counted to PREFIX_stats.csv and others")
    group.add_argument("--html", metavar="FILE", help="write a report as a page")
    group.add_argument("--only-summary", action="store_true", help="print no statistics before the end")
    group.add_argument("-f", "--locustfile", metavar="FILE", help="devices of your own, in Python")
    group.add_argument("classes", nargs="*", metavar="CLASS", help="only devices of these classes")


def _add_machines(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--processes", type=int, metavar="NUMBER", help="start so many workers; -1: one per processor")
    group.add_argument("--master", action="store_true", help="be the master of workers on other machines")
    group.add_argument("--expect-workers", type=int, metavar="NUMBER", help="how many workers the master waits for")
    group.add_argument("--worker", action="store_true", help="be a worker")
    group.add_argument("--master-host", metavar="ADDRESS", help="the master of this worker (default: 127.0.0.1)")


def version() -> str:
    """What ``--version`` prints."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return f"{PROGRAM} {__version__} (Locust {version_of('locust')})"
    except PackageNotFoundError:
        return f"{PROGRAM} {__version__} (without Locust)"
