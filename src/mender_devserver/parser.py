"""The command line's grammar: every command, its arguments and their help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from mender_devserver.faults import Kind
from mender_devserver.settings import NAMES

USAGE_EXIT = 64
DEFAULT_DIRECTORY = Path("mender-devserver")

_EPILOG = """\
a first round:
  mender-devserver serve --auto-accept &         run the server; it says its URL and what to trust
  mender-devserver page                          everything below, in a browser
  mender-devserver devices                       who has asked for access
  mender-devserver accept --all                  let them in
  mender-devserver upload release-2.mender       offer an Artifact
  mender-devserver deploy release-2              send it to every accepted device
  mender-devserver status                        how the newest deployment stands
  mender-devserver log                           what a failed device has sent

An id may be cut to its first characters. Exit codes: 0 done, 1 failed, 2 what was asked for is not there, 64 wrong
usage."""


class _Parser(argparse.ArgumentParser):
    """Says 64 for wrong usage, as every command of this package does."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_EXIT, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = _Parser(
        prog="mender-devserver",
        description="A Mender server in one process, for rehearsals and tests.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_serve(commands)
    page = "print the address of the server's page, for a browser; whoever has it can manage the server"
    _add(commands, "page", page)
    _add_devices(commands)
    _add_deployments(commands)
    _add_fault(commands)
    settings = _add(commands, "settings", "show the settings, and change some: " + ", ".join(NAMES))
    settings.add_argument("settings", nargs="*", metavar="NAME=VALUE", help=_setting_help())
    return parser


def _add(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--directory",
        type=Path,
        default=DEFAULT_DIRECTORY,
        metavar="DIR",
        help="the directory of the server (default: %(default)s)",
    )
    common.add_argument("--json", action="store_true", help="print JSON instead of text")
    description = text[0].upper() + text[1:] + "."
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=description, parents=[common], allow_abbrev=False
    )
    return made


def _add_serve(commands: Any) -> None:
    serve = _add(commands, "serve", "run the server until it is stopped, and tell what happens")
    serve.add_argument("--host", default="127.0.0.1", help="name or address to listen on; it is also the one in links")
    serve.add_argument("--port", type=int, default=0, help="port for devices and management (default: a free one)")
    serve.add_argument("--storage-port", type=int, default=0, help="port of the object store (default: a free one)")
    serve.add_argument("--plain", action="store_true", help="plain HTTP; the default is TLS with its own certificate")
    serve.add_argument("--auto-accept", action="store_true", help="accept every new device at once")
    serve.add_argument("--v2", action="store_true", help=NAMES["v2"].partition(": ")[2])


def _add_devices(commands: Any) -> None:
    _add(commands, "devices", "list the devices and their status")
    accept = _add(commands, "accept", "trust devices; the newest key of each")
    accept.add_argument("devices", nargs="*", metavar="DEVICE")
    accept.add_argument("--all", action="store_true", help="all that are pending")
    reject = _add(commands, "reject", "trust a device no longer; its tokens end")
    reject.add_argument("device", metavar="DEVICE")
    preauthorize = _add(commands, "preauthorize", "trust a device before it has ever asked")
    preauthorize.add_argument("identity", nargs="+", metavar="KEY=VALUE", help="the device's identity")
    preauthorize.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="the device's public key, a PEM file"
    )
    decommission = _add(commands, "decommission", "forget a device; when it asks again it is a new one")
    decommission.add_argument("device", metavar="DEVICE")
    inventory = _add(commands, "inventory", "show what a device has told about itself")
    inventory.add_argument("device", metavar="DEVICE")


def _add_deployments(commands: Any) -> None:
    upload = _add(commands, "upload", "offer Artifacts")
    upload.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add(commands, "artifacts", "list the Artifacts")
    deploy = _add(commands, "deploy", "send an Artifact to devices, and print the deployment's id")
    deploy.add_argument("artifact_name", metavar="ARTIFACT_NAME")
    deploy.add_argument(
        "--device", action="append", metavar="DEVICE", help="to this one; may be repeated (default: to all accepted)"
    )
    deploy.add_argument("--force", action="store_true", help="even to devices that say they have it")
    _add(commands, "deployments", "list the deployments")
    newest = "(default: the newest)"
    status = _add(commands, "status", "show how a deployment stands on each device")
    status.add_argument("deployment", nargs="?", metavar="DEPLOYMENT", help=newest)
    log = _add(commands, "log", "show the log that a device has sent for a deployment")
    log.add_argument("deployment", nargs="?", metavar="DEPLOYMENT", help=newest)
    log.add_argument("--device", metavar="DEVICE", help="needed when the deployment has several")
    abort = _add(commands, "abort", "stop a deployment")
    abort.add_argument("deployment", metavar="DEPLOYMENT")


def _add_fault(commands: Any) -> None:
    fault = commands.add_parser(
        "fault",
        help="plan what goes wrong: add, list, clear",
        description="Plan what goes wrong. The first fault that fits a request is used up on it.",
    )
    actions = fault.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "list", "list the faults still to come")
    _add(actions, "clear", "let everything work again")
    add = _add(actions, "add", "add a fault; it may do several things at once")
    add.add_argument("--kind", choices=get_args(Kind), default="any", help="requests that it meets (default: any)")
    add.add_argument("--times", type=int, default=1, metavar="N", help="on how many of them (default: 1)")
    add.add_argument("--for-ever", action="store_true", help="on all of them from now on")
    add.add_argument("--after", type=int, metavar="N", help="let so many pass first")
    add.add_argument("--delay-seconds", type=float, metavar="S", help="wait so long before the answer")
    add.add_argument(
        "--status", type=int, metavar="CODE", help="answer with this status; the request is not carried out"
    )
    add.add_argument("--header", action="append", metavar="NAME:VALUE", help="put into the answer; may be repeated")
    add.add_argument("--body", metavar="TEXT", help="the answer's body")
    add.add_argument("--drop-after-bytes", type=int, metavar="N", help="close the connection after so many body bytes")
    add.add_argument("--reset", action="store_true", help="close it by a TCP reset; alone: before any answer")
    add.add_argument("--stall-after-bytes", type=int, metavar="N", help="fall silent after so many body bytes")
    add.add_argument("--stall-seconds", type=float, metavar="S", help="for so long (default: an hour)")
    add.add_argument("--bytes-per-second", type=float, metavar="N", help="send the body no faster")
    add.add_argument("--ignore-range", action="store_true", help="answer a Range request with the whole Artifact")
    add.add_argument("--etag", metavar="TAG", help="the ETag to claim")
    add.add_argument("--content-range", metavar="TEXT", help="the Content-Range to claim")
    add.add_argument("--expired", action="store_true", help="answer as if the link were over")


def _setting_help() -> str:
    return "; ".join(f"{name}: {text}" for name, text in NAMES.items()).replace("%", "%%")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; wrong usage ends the program with 64."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "accept" and bool(arguments.devices) is arguments.all:
        parser.error("name devices to accept, or say --all")
    return arguments
