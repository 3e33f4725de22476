"""The options that ``mender-fleet`` adds to those of Locust, and what follows from them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mender_client.core.reach import Reach, reach_of
from mender_devserver.contact import load_contact

LEAST_SECONDS = 1
"""The shortest interval of the client."""
_INVENTORY_SECONDS = 8 * 3600


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("mender-fleet options", "")
    group.add_argument("--poll", type=int, default=1800, metavar="SECONDS", help="how often a device polls [1800]")
    group.add_argument(
        "--speed-up",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="divide all intervals by this, to see hours in minutes [1]",
    )
    group.add_argument("--device-type", default="simulated", metavar="TYPE", help="of all devices [simulated]")
    group.add_argument("--artifact", default="release-1", metavar="NAME", help="what is installed at first [release-1]")
    group.add_argument(
        "--install-seconds", type=float, default=30.0, metavar="SECONDS", help="how long an installation takes [30]"
    )
    group.add_argument(
        "--attributes", type=int, default=60, metavar="NUMBER", help="how many inventory attributes a device has [60]"
    )
    group.add_argument(
        "--link-speed", type=int, default=20_000, metavar="BYTES", help="of slow devices, bytes per second [20000]"
    )
    group.add_argument(
        "--seed-file",
        default="fleet.seed",
        metavar="FILE",
        help="what all keys are made from; give all workers the same",
    )
    group.add_argument("--key-type", choices=("ed25519", "p256"), default="ed25519", help="[ed25519]")
    group.add_argument(
        "--devserver", default="", metavar="DIR", help="the directory of a dev server: its URL, certificate and token"
    )
    group.add_argument("--certificate", default="", metavar="FILE", help="a certificate to trust, PEM")
    group.add_argument("--tenant-token-file", default="", metavar="FILE", help="the tenant token of the devices")
    group.add_argument(
        "--preauthorize", action="store_true", default=False, help="preauthorize each device before its first request"
    )
    group.add_argument(
        "--management-token-file",
        default="",
        metavar="FILE",
        help="a token of the server's management API, for --preauthorize",
    )
    group.add_argument("--picture", default="", metavar="FILE", help="draw the deployments over time, SVG")
    group.add_argument(
        "--this-is-my-server", action="store_true", default=False, help="needed for a server on another machine"
    )


def server_of(host: str | None, options: Any) -> tuple[str, str]:
    """The URL of the server and the certificate to trust, empty for the system's.

    Raises:
        MenderError: there is no dev server in the directory.
    """
    if not options.devserver:
        return host or "", options.certificate
    contact = load_contact(Path(options.devserver))
    return host or contact.url, options.certificate or contact.certificate


def foreign_server(url: str, options: Any) -> str:
    """Why this server is not to be loaded, unless somebody says so; empty if it is on this machine."""
    if options.this_is_my_server or reach_of(urlsplit(url).hostname or "") <= Reach.DEVICE:
        return ""
    return (
        f"cannot simulate devices at {url}: it is not on this machine, and a fleet can bring a server down. "
        "If it is yours, pass --this-is-my-server"
    )


def wrong_usage(url: str, options: Any, *, has_page: bool) -> str:
    """What is wrong with the options; empty if nothing is.

    Args:
        url: the server.
        options: of the command line.
        has_page: whether a server can still be entered on Locust's page.
    """
    if not url:
        return (
            "" if has_page else "cannot simulate devices: name a server with --server, or a dev server with --devserver"
        )
    if options.preauthorize and not (options.devserver or options.management_token_file):
        return "cannot preauthorize devices: pass --management-token-file, or name a dev server with --devserver"
    return foreign_server(url, options)


def settings_of(host: str | None, options: argparse.Namespace, more: Mapping[str, object]) -> dict[str, object]:
    """What the ``mender.conf`` of a device holds.

    Args:
        host: the server, as Locust knows it.
        options: of the command line.
        more: the settings of a kind of device.
    """
    url, certificate = server_of(host, options)
    settings: dict[str, Any] = {
        "ServerURL": url,
        "UpdatePollIntervalSeconds": _faster(options.poll, options),
        "InventoryPollIntervalSeconds": _faster(_INVENTORY_SECONDS, options),
        "RetryPollIntervalSeconds": _faster(300, options),
        **more,
    }
    if certificate:
        settings["ServerCertificate"] = certificate
    if options.tenant_token_file:
        settings["TenantToken"] = Path(options.tenant_token_file).read_text().strip()
    return settings


def _faster(seconds: float, options: argparse.Namespace) -> int:
    faster: float = seconds / options.speed_up
    return max(LEAST_SECONDS, round(faster))
