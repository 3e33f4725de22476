"""The options that ``mender-fleet`` adds to those of Locust, and their evaluation."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mender_client.core.reach import Reach, reach_of
from mender_devserver.contact import load_contact

from .shares import parse_shares

LEAST_SECONDS = 1
"""The shortest interval that the client accepts."""
_INVENTORY_SECONDS = 8 * 3600
RETRY_SECONDS = 300


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    group = parser.add_argument_group("fleet options")
    _add_server(group)
    _add_devices(group)
    _add_report(group)


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--devserver", default="", metavar="DIR", help="the directory of a dev server: its URL, certificate and token"
    )
    group.add_argument(
        "--this-is-my-server", action="store_true", default=False, help="needed for a server on another machine"
    )
    group.add_argument("--certificate", default="", metavar="FILE", help="a certificate to trust, PEM")
    group.add_argument("--tenant-token-file", default="", metavar="FILE", help="the tenant token of the devices")
    group.add_argument(
        "--preauthorize", action="store_true", default=False, help="preauthorize each device before its first request"
    )
    group.add_argument(
        "--accept", action="store_true", default=False, help="accept the devices of this fleet when they are pending"
    )
    group.add_argument(
        "--accept-rate",
        type=_number(float, above=0),
        default=20.0,
        metavar="NUMBER",
        help="how many devices --accept accepts in a second, at most (default: 20)",
    )
    group.add_argument(
        "--management-token-file",
        default="",
        metavar="FILE",
        help="a token of the server's management API, for --preauthorize and --accept",
    )


def _add_devices(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--shares",
        type=_shares,
        default="",
        metavar="KIND=NUMBER,...",
        help="how many devices are of each kind, in proportion "
        "(default: healthy=90,failing=3,slow=3,vanishing=2,unaccepted=1,hasty=1)",
    )
    group.add_argument(
        "--poll",
        type=_number(int, above=0),
        default=1800,
        metavar="SECONDS",
        help="how often a device polls (default: 1800)",
    )
    group.add_argument(
        "--speed-up",
        type=_number(float, above=0),
        default=1.0,
        metavar="FACTOR",
        help="divide all intervals by this, to see hours in minutes (default: 1)",
    )
    group.add_argument("--device-type", default="simulated", metavar="TYPE", help="of all devices (default: simulated)")
    group.add_argument(
        "--artifact", default="release-1", metavar="NAME", help="what is installed at first (default: release-1)"
    )
    group.add_argument(
        "--install-seconds",
        type=_number(float),
        default=30.0,
        metavar="SECONDS",
        help="how long an installation takes (default: 30)",
    )
    group.add_argument(
        "--attributes",
        type=_number(int),
        default=60,
        metavar="NUMBER",
        help="how many inventory attributes a device has (default: 60)",
    )
    group.add_argument(
        "--link-speed",
        type=_number(int, above=0),
        default=20_000,
        metavar="BYTES",
        help="of slow devices, bytes per second (default: 20000)",
    )
    group.add_argument(
        "--seed-file",
        default="fleet.seed",
        metavar="FILE",
        help="what all keys are made from; give all workers the same (default: fleet.seed)",
    )
    group.add_argument(
        "--key-type", choices=("ed25519", "p256"), default="ed25519", help="the type of the keys (default: ed25519)"
    )


def _add_report(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--picture", default="", metavar="FILE", help="draw the deployments over time, SVG")


def _number(kind: Callable[[str], Any], *, above: float | None = None) -> Callable[[str], Any]:
    """The type of a numeric option: greater than ``above`` if that is given, otherwise at least 0."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{text}' is not a {'whole ' if kind is int else ''}number") from error
        if not (value >= 0 if above is None else value > above) or value == math.inf:
            raise argparse.ArgumentTypeError(f"'{text}' is too {'large' if value > 0 else 'small'}")
        return value

    return parse


def _shares(text: str) -> str:
    """The type of ``--shares``: validates the text but returns it unchanged, so that Locust's page can show it."""
    try:
        if text:
            parse_shares(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def server_of(host: str | None, options: Any) -> tuple[str, str]:
    """The URL of the server and the certificate to trust; an empty certificate means those of the system.

    Raises:
        MenderError: there is no dev server in the directory.
    """
    if not options.devserver:
        return host or "", options.certificate
    contact = load_contact(Path(options.devserver), "--devserver")
    return host or contact.url, options.certificate or contact.certificate


def foreign_server(url: str, options: Any) -> str:
    """Why this server must not be loaded; empty if it is on this machine, or if the user has confirmed it."""
    if options.this_is_my_server or reach_of(urlsplit(url).hostname or "") <= Reach.DEVICE:
        return ""
    return (
        f"cannot simulate devices at {url}: it is not on this machine, and a fleet can bring a server down. "
        "If it is yours, pass --this-is-my-server"
    )


def wrong_usage(url: str, options: Any, *, has_page: bool) -> str:
    """The problem with the options; empty if there is none.

    Args:
        url: the URL of the server.
        options: the options of the command line.
        has_page: whether a server can still be entered on Locust's page.
    """
    if not url:
        return (
            ""
            if has_page
            else "cannot simulate devices: specify a server with --server, or a dev server with --devserver"
        )
    if (options.preauthorize or options.accept) and not (options.devserver or options.management_token_file):
        return "cannot accept devices: pass --management-token-file, or specify a dev server with --devserver"
    return foreign_server(url, options)


def settings_of(host: str | None, options: argparse.Namespace, more: Mapping[str, object]) -> dict[str, object]:
    """The settings in the ``mender.conf`` of a device.

    Args:
        host: the server as given to Locust.
        options: the options of the command line.
        more: additional settings of a kind of device.
    """
    url, certificate = server_of(host, options)
    settings: dict[str, Any] = {
        "ServerURL": url,
        "UpdatePollIntervalSeconds": _faster(options.poll, options),
        "InventoryPollIntervalSeconds": _faster(_INVENTORY_SECONDS, options),
        "RetryPollIntervalSeconds": _faster(RETRY_SECONDS, options),
        **more,
    }
    if certificate:
        settings["ServerCertificate"] = certificate
    if token := tenant_token(options.tenant_token_file):
        settings["TenantToken"] = token
    return settings


@cache
def tenant_token(file: str) -> str:
    """The tenant token in a file; empty without one.

    Raises:
        OSError: the file can't be read.
        ValueError: the token is not a string.
    """
    return Path(file).read_text().strip() if file else ""


def _faster(seconds: float, options: argparse.Namespace) -> int:
    faster: float = seconds / options.speed_up
    return max(LEAST_SECONDS, round(faster))
