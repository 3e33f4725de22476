"""The settings requested from ``setup``, by options or by answers to its questions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mender_client.app.config import KEYS
from mender_client.dataclass import dataclass, replace
from mender_client.errors import MenderError

from .existing_device import ExistingDevice


@dataclass(frozen=True)
class SetupOptions:
    """The requested setup; None leaves what exists unchanged.

    Attributes:
        settings: values of keys of ``mender.conf``.
        server_certificate: a file on this machine that contains the certificates to trust.
        device_type: the type of the device.
        artifact_name: the name of the installed Artifact.
        identity: the ``key=value`` lines that the identity script will print; empty for none.
        is_scripts_wanted: install the identity and inventory scripts.
        is_sub_updater_wanted: install the A/B sub-updater.
        is_modules_wanted: install the update modules.
        is_unit_wanted: install the systemd units.
        is_dbus_wanted: install the D-Bus files and the unit that share the authorisation with add-ons.
        origin: the client to migrate from, ``python`` or ``mender``.
        is_image: prepare an image for devices, each of which generates its own key later.
    """

    settings: dict[str, Any]
    server_certificate: str | None = None
    device_type: str | None = None
    artifact_name: str | None = None
    identity: tuple[str, ...] = ()
    is_scripts_wanted: bool = False
    is_sub_updater_wanted: bool = False
    is_modules_wanted: bool = False
    is_unit_wanted: bool = False
    is_dbus_wanted: bool = False
    origin: str | None = None
    is_image: bool = False


def ask(wanted: SetupOptions, device: ExistingDevice) -> SetupOptions:
    """Ask the user for what neither the options nor the device specify."""
    if not device.has_server and "ServerURL" not in wanted.settings:
        wanted = _ask_for_server(wanted, device)
    if device.device_type is None and wanted.device_type is None:
        wanted = replace(
            wanted,
            device_type=_ask("Device type", default=os.uname().nodename if device.paths.root == Path("/") else ""),
        )
    has_identity = wanted.identity or wanted.is_scripts_wanted or os.path.lexists(device.paths.identity_script)
    if not has_identity and agree("Install the identity and inventory scripts?"):
        wanted = replace(wanted, is_scripts_wanted=True)
    has_unit = wanted.is_unit_wanted or device.has_unit or not device.has_systemd
    if not has_unit and agree("Install the systemd unit?"):
        wanted = replace(wanted, is_unit_wanted=True)
    return wanted


def _ask_for_server(wanted: SetupOptions, device: ExistingDevice) -> SetupOptions:
    settings = dict(wanted.settings)
    address = next(key for key in KEYS if key.name == "ServerURL").kind.check
    settings["ServerURL"] = _ask("Server address", check=address)
    if "TenantToken" not in settings:
        from getpass import getpass

        token = _answer(lambda: getpass("Tenant token, not shown (leave empty for none): ")).strip()
        if token:
            settings["TenantToken"] = token
    certificate = wanted.server_certificate
    if certificate is None:
        text = "Server certificate, a PEM file (leave empty if the server's certificate is signed by a public CA): "
        while (certificate := _answer(lambda: input(text)).strip() or None) and not device.has_file(certificate):
            print("  there is no such file")
    return replace(wanted, settings=settings, server_certificate=certificate)


def _ask(what: str, *, default: str = "", check: Callable[[str], object] = str) -> str:
    while True:
        answer = _answer(lambda: input(f"{what} [{default}]: " if default else f"{what}: ")).strip() or default
        try:
            if answer and check(answer):
                return answer
        except ValueError as error:
            print(f"  {what.lower()} {error}")


def agree(question: str) -> bool:
    while True:
        answer = _answer(lambda: input(f"{question} [Y/n] ")).strip().lower()
        if answer in ("", "y", "yes"):
            return True
        if answer in ("n", "no"):
            return False


def _answer(question: Callable[[], str]) -> str:
    try:
        return question()
    except EOFError:
        print(file=sys.stderr)
        text = "cannot set up: standard input ended, and nothing was written"
        raise MenderError("SET01", text, remedy="run setup again") from None
