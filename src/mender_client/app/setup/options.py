"""The command line of ``setup``. Names of options are those of the field's client, where it has them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mender_client.errors import MenderError

from .setup_options import SetupOptions

_POLLS = {
    "update_poll": "UpdatePollIntervalSeconds",
    "inventory_poll": "InventoryPollIntervalSeconds",
    "retry_poll": "RetryPollIntervalSeconds",
}
_DEMO = {"update_poll": 5, "inventory_poll": 30, "retry_poll": 5}
_MOST_TOKEN_BYTES = 65536


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``setup``."""
    add = parser.add_argument
    add("--yes", action="store_true", help="ask nothing and write; needed when standard input is no terminal")
    add("--server-url", metavar="URL", help="address of the server")
    add("--server-cert", metavar="FILE", help="certificates (PEM) to trust; copied below --root when not there yet")
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--tenant-token", metavar="TOKEN", help="the organisation's token; other users can see it in the process list"
    )
    token.add_argument(
        "--tenant-token-file", metavar="FILE", help="read it from the first line of a file; - reads standard input"
    )
    add("--device-type", metavar="TYPE", type=_line, help="for which Artifacts are made")
    add("--artifact-name", metavar="NAME", type=_line, help="what is installed (default: as it is, else unknown)")
    add("--update-poll", metavar="SECONDS", type=int, help="time between two questions for a deployment")
    add("--inventory-poll", metavar="SECONDS", type=int, help="time between two inventories")
    add("--retry-poll", metavar="SECONDS", type=int, help="the longest wait after a failure")
    add("--demo", action="store_true", help="short intervals, for a first try: {update_poll}, {inventory_poll} and "
        "{retry_poll} seconds".format(**_DEMO))  # fmt: skip
    add("--install-scripts", action="store_true", help="install the identity and inventory scripts")
    add(
        "--identity", metavar="KEY=VALUE", type=_pair, action="append", default=[],
        help="have the identity script print this; may be repeated",
    )  # fmt: skip
    add("--rootfs-part-a", metavar="DEVICE", type=_line, help="one root file system partition, for the sub-updater")
    add("--rootfs-part-b", metavar="DEVICE", type=_line, help="the other one")
    add("--install-sub-updater", action="store_true", help="install the sub-updater for two partitions (A/B)")
    add("--install-unit", action="store_true", help="install the systemd unit, and that of the sub-updater with it")
    add(
        "--from", dest="origin", choices=("archived", "mender"),
        help="take over a device of the archived Python client, or of the Go or C++ client",
    )  # fmt: skip


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("must be one line of text")
    return text.strip()


def _pair(text: str) -> str:
    key, separator, _ = text.partition("=")
    if not key.strip() or not separator or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return text


def setup_options_of(options: argparse.Namespace) -> SetupOptions:
    """What the options say.

    Raises:
        MenderError: the file of the token can't be read.
    """
    settings: dict[str, Any] = {}
    if options.server_url is not None:
        settings["ServerURL"] = options.server_url.rstrip("/")
    token = options.tenant_token
    if options.tenant_token_file is not None:
        token = _first_line(options.tenant_token_file)
    if token is not None:
        settings["TenantToken"] = token
    settings.update({name: value for name, value in _partitions(options) if value is not None})
    settings.update(_polls(vars(options)))
    return SetupOptions(
        settings=settings,
        server_certificate=options.server_cert,
        device_type=options.device_type,
        artifact_name=options.artifact_name,
        identity=tuple(options.identity),
        is_scripts_wanted=options.install_scripts,
        is_sub_updater_wanted=options.install_sub_updater,
        is_unit_wanted=options.install_unit,
        origin=options.origin,
    )


def _partitions(options: argparse.Namespace) -> tuple[tuple[str, str | None], ...]:
    return ("RootfsPartA", options.rootfs_part_a), ("RootfsPartB", options.rootfs_part_b)


def _polls(options: Mapping[str, Any]) -> dict[str, int]:
    given = {name: options[name] for name in _POLLS if options[name] is not None}
    chosen = {**_DEMO, **given} if options["demo"] else given
    return {_POLLS[name]: seconds for name, seconds in chosen.items()}


def _first_line(name: str) -> str:
    read: Callable[[], str] = sys.stdin.readline
    if name != "-":

        def read() -> str:
            with Path(name).open(encoding="utf-8") as file:
                return file.readline(_MOST_TOKEN_BYTES)

    try:
        token = read().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise MenderError(f"cannot read the tenant token from {name}: {why}") from error
    if not token:
        raise MenderError(f"cannot read the tenant token from {name}: its first line is empty")
    return token
