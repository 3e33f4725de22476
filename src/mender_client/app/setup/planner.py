"""Determines the changes that set up a device as requested."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from mender_client.app.config import examine
from mender_client.app.config.config_file import ConfigFile
from mender_client.core.keyvalue import parse_key_value_file
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME
from mender_client.errors import ConfigError, DeviceError, Diagnostic, MenderError

from .existing_device import (
    CLIENT_UNIT,
    CONFIGURATION_UNIT,
    CONNECT_UNIT,
    DBUS_UNIT,
    SUB_UPDATER_UNIT,
    ExistingDevice,
    content,
)
from .migration import Migration, look
from .plan import Plan
from .setup_options import SetupOptions
from .support import support_file, support_names

_USUAL_PROGRAM = "/usr/bin/mender-python-client"
_USUAL_PYTHON = "/usr/bin/python3"
_PARTITIONS = ("RootfsPartA", "RootfsPartB")
_CERTIFICATE = "/etc/mender/server.crt"
_DBUS_NAME = "io.mender.AuthenticationManager"
_DBUS_FILES = {
    f"{_DBUS_NAME}.conf": "/usr/share/dbus-1/system.d",
    f"{_DBUS_NAME}.service": "/usr/share/dbus-1/system-services",
}


def make_plan(wanted: SetupOptions, device: ExistingDevice, *, find_program: Callable[[], str]) -> Plan:
    """Determine what has to be written, without changing anything.

    Raises:
        ConfigError: the configuration would have errors, all of which are reported.
        MenderError: something is missing, or can't be read.
    """
    plan = Plan()
    taken = look(wanted.origin, device, is_name_given=bool(wanted.artifact_name)) if wanted.origin else None
    settings = dict(wanted.settings)
    if taken is not None:
        settings["IdentityFormat"] = taken.identity_format
        plan.notes += taken.notes
    _check_needed(wanted, device)
    if wanted.server_certificate is not None:
        settings["ServerCertificate"] = _plan_certificate(Path(wanted.server_certificate), device, plan)
    _plan_configuration(settings, device, plan)
    _plan_type(wanted, device, plan)
    _plan_artifact_info(wanted, taken, device, plan)
    _plan_scripts(wanted, device, plan)
    _plan_units(wanted, device, plan, find_program)
    if wanted.is_dbus_wanted:
        for name, directory in _DBUS_FILES.items():
            file = _for_this_program(support_file(f"dbus/{name}"), device, find_program)
            plan.add(device.paths.below_root(f"{directory}/{name}"), file, mode=0o644)
    _plan_key(wanted, device, plan)
    return plan


def _plan_key(wanted: SetupOptions, device: ExistingDevice, plan: Plan) -> None:
    """Plan to generate the key; each device needs its own, so an image must not contain one."""
    if device.key is None:
        return
    is_there = os.path.lexists(device.key)
    if not wanted.is_image and not is_there:
        plan.new_key = device.key
    elif wanted.is_image and is_there:
        plan.notes.append(f"{device.key} would be shared by all devices made from this image: remove it")


def _check_needed(wanted: SetupOptions, device: ExistingDevice) -> None:
    """Report everything that is missing at once."""
    problems = []
    if not device.has_server and not wanted.settings.get("ServerURL"):
        problems.append(Diagnostic("SET06", f"{device.paths.config}: no server is configured", "pass --server-url"))
    if device.device_type is None and not wanted.device_type:
        problems.append(
            Diagnostic("SET07", f"{device.device_type_file}: contains no device type", "pass --device-type")
        )
    if problems:
        raise ConfigError(problems)


def _plan_certificate(file: Path, device: ExistingDevice, plan: Plan) -> str:
    """The path under which the client finds the certificate, which is copied below the root unless it is there."""
    place = device.paths.below_root(str(file.absolute()))
    named = f"/{place.relative_to(device.paths.root)}"
    if place.is_dir():
        return named
    data = content(place if place.exists() else file)
    if data is None or b"-----BEGIN CERTIFICATE-----" not in data:
        why = "there is no such file" if data is None else "it contains no certificate in PEM form"
        raise DeviceError(
            "SET08", f"cannot use the server certificate {file}: {why}", remedy="specify a file in PEM form"
        )
    if place.exists():
        return named
    plan.replace(device.paths.below_root(_CERTIFICATE), data)
    return _CERTIFICATE


def _plan_configuration(settings: dict[str, object], device: ExistingDevice, plan: Plan) -> None:
    main, fallback = device.paths.config, device.paths.fallback_config
    document = ConfigFile(content(main))
    for name, value in settings.items():
        if device.setting(name) != value:
            document.set(name, value)
    data = document.data() if document.lines else content(main) or b"{}"
    problems = examine(main, fallback, instead_of_main=data).problems
    if problems:
        raise ConfigError(problems)
    if document.lines:
        plan.replace(main, data, mode=0o600, lines=tuple(document.lines))


def _plan_type(wanted: SetupOptions, device: ExistingDevice, plan: Plan) -> None:
    old, new = device.device_type, wanted.device_type
    if new and new != old:
        lines = ([] if old is None else [f"- device_type={old}"]) + [f"+ device_type={new}"]
        plan.replace(device.device_type_file, f"device_type={new}\n".encode(), lines=tuple(lines))


def _plan_artifact_info(wanted: SetupOptions, taken: Migration | None, device: ExistingDevice, plan: Plan) -> None:
    file = device.paths.artifact_info
    there = content(file)
    old = dict(parse_key_value_file((there or b"").decode("utf-8", "replace")))
    new = {**old, **(taken.provides if taken is not None else {})}
    if wanted.artifact_name:
        new["artifact_name"] = wanted.artifact_name
    new.setdefault("artifact_name", UNKNOWN_ARTIFACT_NAME)
    if old == new:
        return
    gone = [f"- {key}={value}" for key, value in old.items() if new[key] != value]
    come = [f"+ {key}={value}" for key, value in new.items() if old.get(key) != value]
    plan.replace(file, "".join(f"{key}={value}\n" for key, value in new.items()).encode(), lines=(*gone, *come))


def _plan_scripts(wanted: SetupOptions, device: ExistingDevice, plan: Plan) -> None:
    paths = device.paths
    if wanted.identity:
        lines = "\n".join((*wanted.identity, "END"))
        script = f"#!/bin/sh\n# Written by setup --identity.\ncat <<'END'\n{lines}\n"
        if content(paths.identity_script) not in (None, script.encode()):
            text = (
                f"cannot change the identity: {paths.identity_script} exists, and with another identity the server "
                "would see another device"
            )
            raise MenderError("SET09", text, remedy="remove the script first if that is what you want")
        plan.add(paths.identity_script, script.encode(), mode=0o755)
    elif wanted.is_scripts_wanted:
        plan.add(paths.identity_script, support_file("identity/mender-device-identity"), mode=0o755)
    if wanted.is_scripts_wanted:
        for name in support_names("inventory"):
            plan.add(paths.inventory_directory / name, support_file(f"inventory/{name}"), mode=0o755)
    if wanted.is_sub_updater_wanted:
        plan.add(paths.sub_updater, support_file("install"), mode=0o755)
        plan.add(paths.sub_updater.parent / "rootfs-image", _module("rootfs-image", device), mode=0o755)
        _note_partitions("the sub-updater", wanted, device, plan)
    if wanted.is_modules_wanted:
        _plan_modules(wanted, device, plan)


def _plan_modules(wanted: SetupOptions, device: ExistingDevice, plan: Plan) -> None:
    paths = device.paths
    for name in support_names("modules/v3"):
        plan.add(paths.modules_directory / name, _module(name, device), mode=0o755)
    _note_partitions("the update module rootfs-image", wanted, device, plan)
    if paths.root != Path("/") and not wanted.is_image:
        plan.notes.append(
            f"most update modules are not confined to {paths.root}: with --root, an update may change this machine"
        )
    if wanted.is_sub_updater_wanted or os.path.lexists(paths.sub_updater):
        plan.notes.append(f"updates go to the sub-updater while there is {paths.sub_updater}; see Installer")


def _module(name: str, device: ExistingDevice) -> bytes:
    """An update module that uses the Python of this device."""
    module = support_file(f"modules/v3/{name}")
    if device.paths.root == Path("/") and not os.path.exists(_USUAL_PYTHON):
        module = module.replace(f"#!{_USUAL_PYTHON} ".encode(), f"#!{sys.executable} ".encode(), 1)
    return module


def _note_partitions(what: str, wanted: SetupOptions, device: ExistingDevice, plan: Plan) -> None:
    names = [name for name in _PARTITIONS if not (wanted.settings.get(name) or device.setting(name))]
    if names:
        plan.notes.append(f"{what} can't work without {' and '.join(names)}; see --rootfs-part-a")


def _plan_units(wanted: SetupOptions, device: ExistingDevice, plan: Plan, find_program: Callable[[], str]) -> None:
    are_wanted = wanted.is_unit_wanted
    units = {
        CONFIGURATION_UNIT: are_wanted and wanted.is_modules_wanted,
        SUB_UPDATER_UNIT: are_wanted and wanted.is_sub_updater_wanted,
        CLIENT_UNIT: are_wanted,
        CONNECT_UNIT: are_wanted and device.has_remote_access,
        DBUS_UNIT: wanted.is_dbus_wanted,
    }
    for name in (name for name, is_wanted in units.items() if is_wanted):
        place, packaged = device.unit(name), device.packaged_unit(name)
        if packaged is None:
            plan.add(place, _for_this_program(support_file(f"systemd/{name}"), device, find_program), mode=0o644)
        elif os.path.lexists(place):
            plan.notes.append(f"{place} replaces {packaged} of the package: remove it unless you have adapted it")
        else:
            plan.notes.append(f"{packaged} of the package is used; no unit is written")
            plan.packaged_units.append(name)


def _for_this_program(file: bytes, device: ExistingDevice, find_program: Callable[[], str]) -> bytes:
    """A file that starts the program, with the actual path of the program."""
    if device.paths.root != Path("/") or os.path.exists(_USUAL_PROGRAM):
        return file
    return file.replace(_USUAL_PROGRAM.encode(), find_program().encode())
