"""The command line of ``setup``. Options that also exist in other Mender clients have the same names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mender_client.commandline import Argument, OneOf, Options
from mender_client.errors import MenderError

from .setup_options import SetupOptions

_POLLS = {
    "update_poll": "UpdatePollIntervalSeconds",
    "inventory_poll": "InventoryPollIntervalSeconds",
    "retry_poll": "RetryPollIntervalSeconds",
}
_DEMO = {"update_poll": 5, "inventory_poll": 30, "retry_poll": 5}
_MOST_TOKEN_BYTES = 65536


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text")
    return text.strip()


def _pair(text: str) -> str:
    key, separator, _ = text.partition("=")
    if not key.strip() or not separator or not text.isprintable():
        raise ValueError(f"{text!r} is not KEY=VALUE")
    return text


ARGUMENTS = (
    Argument("--yes", action="store_true", help="write without asking; required when standard input is not a terminal"),
    Argument("--server-url", metavar="URL", help="address of the server"),
    Argument("--server-cert", metavar="FILE", help="certificates (PEM) to trust; copied below --root if not there yet"),
    OneOf(
        Argument("--tenant-token", metavar="TOKEN", help="the organisation's token; other users can see it with ps"),
        Argument(
            "--tenant-token-file", metavar="FILE", help="read it from the first line of a file; - reads standard input"
        ),
    ),
    Argument("--device-type", metavar="TYPE", type=_line, help="the device type; Artifacts must be compatible with it"),
    Argument(
        "--artifact-name",
        metavar="NAME",
        type=_line,
        help="name of the installed Artifact (default: unchanged, or unknown)",
    ),
    Argument("--update-poll", metavar="SECONDS", type=int, help="time between two update polls"),
    Argument("--inventory-poll", metavar="SECONDS", type=int, help="time between two inventory updates"),
    Argument("--retry-poll", metavar="SECONDS", type=int, help="the longest wait after a failure"),
    Argument(
        "--demo",
        action="store_true",
        help=f"short intervals for a first try: {', '.join(map(str, _DEMO.values()))} seconds",
    ),
    Argument("--install-scripts", action="store_true", help="install the identity and inventory scripts"),
    Argument(
        "--identity",
        metavar="KEY=VALUE",
        type=_pair,
        action="append",
        default=[],
        help="make the identity script print this; may be repeated",
    ),
    Argument(
        "--rootfs-part-a", metavar="DEVICE", type=_line, help="one root file system partition, for the sub-updater"
    ),
    Argument("--rootfs-part-b", metavar="DEVICE", type=_line, help="the other one"),
    Argument("--install-sub-updater", action="store_true", help="install the sub-updater for two partitions (A/B)"),
    Argument(
        "--install-modules",
        action="store_true",
        help="install the update modules; existing ones are kept",
    ),
    Argument(
        "--install-unit",
        action="store_true",
        help="install the systemd units of the client and the sub-updater, and of connect if there is a "
        "mender-connect.conf",
    ),
    Argument(
        "--install-dbus",
        action="store_true",
        help="install policy, activation file and unit for add-ons such as mender-connect",
    ),
    Argument(
        "--image",
        action="store_true",
        help="prepare an image below --root: generate no device key and contact no server",
    ),
    Argument(
        "--migrate-from",
        choices=("python", "mender"),
        help="migrate a device from the archived Python client, or from the Go or C++ client",
    ),
)


def setup_options_of(options: Options) -> SetupOptions:
    """Convert the options of the command line.

    Raises:
        MenderError: the tenant token can't be read.
    """
    settings: dict[str, Any] = {}
    if options.server_url is not None:
        settings["ServerURL"] = options.server_url.rstrip("/")
    token = options.tenant_token
    if options.tenant_token_file is not None:
        token = _first_line(options.tenant_token_file)
    if token is not None:
        settings["TenantToken"] = token
    partitions = {"RootfsPartA": options.rootfs_part_a, "RootfsPartB": options.rootfs_part_b}
    settings.update({name: value for name, value in partitions.items() if value is not None})
    settings.update(_polls(vars(options)))
    return SetupOptions(
        settings=settings,
        server_certificate=options.server_cert,
        device_type=options.device_type,
        artifact_name=options.artifact_name,
        identity=tuple(options.identity),
        is_scripts_wanted=options.install_scripts,
        is_sub_updater_wanted=options.install_sub_updater,
        is_modules_wanted=options.install_modules,
        is_unit_wanted=options.install_unit,
        is_dbus_wanted=options.install_dbus,
        origin=options.migrate_from,
        is_image=options.image,
    )


def _polls(options: Mapping[str, Any]) -> dict[str, int]:
    given = {name: options[name] for name in _POLLS if options[name] is not None}
    chosen = {**_DEMO, **given} if options["demo"] else given
    return {_POLLS[name]: seconds for name, seconds in chosen.items()}


def _first_line(name: str) -> str:
    try:
        with nullcontext(sys.stdin) if name == "-" else Path(name).open(encoding="utf-8") as file:
            token = file.readline(_MOST_TOKEN_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        text = f"cannot read the tenant token from {name}: {why}"
        raise MenderError("SET03", text, remedy="check its path, owner and mode") from error
    if not token:
        text = f"cannot read the tenant token from {name}: its first line is empty"
        raise MenderError("SET04", text, remedy="write the token there")
    return token
