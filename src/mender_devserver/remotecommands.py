"""The commands that use device connect: a terminal on a device, file transfers and port forwarding."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from mender_client.commandline import Argument, Command
from mender_devserver.contact import Contact

_DEVICE = Argument("device", metavar="DEVICE")


def _terminal(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    from mender_devserver.terminal import run_terminal  # these need aiohttp, which is slow to import

    run_terminal(contact, arguments.device)
    return None, ""


def _copy(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    from mender_devserver.copying import copy

    file, place = copy(contact, arguments.source, arguments.target)
    return {**asdict(file), "target": place}, f"{place}  {file.size_bytes} bytes  sha256 {file.sha256}"


def _port_forward(contact: Contact, arguments: argparse.Namespace) -> tuple[object, str]:
    from mender_devserver.portforward import run_forwards

    run_forwards(contact, arguments.device, arguments.forwards, arguments.bind)
    return None, ""


REMOTE_COMMANDS = (
    Command(
        "terminal",
        "open a terminal on a connected device; Ctrl-] leaves it",
        _terminal,
        (_DEVICE,),
        more="Without a terminal to run in, it types what it reads from standard input, and Ctrl-D at the end.",
    ),
    Command(
        "cp",
        "copy a file to a connected device, or from one",
        _copy,
        (
            Argument("source", metavar="SOURCE", help="a local file, or DEVICE:/PATH"),
            Argument("target", metavar="TARGET", help="DEVICE:/PATH, or a local path; may be a directory"),
        ),
        more="The permissions are kept. The digest that it prints is that of what was read and written here; a device "
        "with this client logs the same one.",
    ),
    Command(
        "port-forward",
        "forward local ports to ports that a connected device reaches, until it is stopped",
        _port_forward,
        (
            _DEVICE,
            Argument(
                "forwards",
                nargs="+",
                metavar="[udp/]LOCAL:[HOST:]PORT",
                help="a port here, and host and port as the device reaches them (default: the device itself); a LOCAL "
                "of 0 selects a free port",
            ),
            Argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="listen here (default: 127.0.0.1)"),
        ),
    ),
)
