"""Selects one device of a gateway, for commands with ``--device``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mender_client.app.paths import Paths
from mender_client.commandline import Options
from mender_client.core.text import printable
from mender_client.errors import ConfigError, Diagnostic

from .entries import read_entries
from .paths import DevicePaths


def paths_of_device(name: str, gateway: Paths, devices: Path) -> DevicePaths:
    """The files of a device.

    Args:
        name: the name of the device.
        gateway: the gateway's own paths.
        devices: the directory with the descriptions of the devices.

    Raises:
        ConfigError: there is no such device, or its description can't be used.
    """
    found = read_entries(devices, gateway.root)
    entry = found.entries.get(name)
    if entry is not None:
        return DevicePaths.of(entry, gateway, devices)
    fault = found.faults.get(name) or found.faults.get("")
    if fault is None:
        text = f"there is no device {printable(name)} in {devices}"
        fault = Diagnostic("GTW10", text, "list them with 'status --devices DIR'")
    raise ConfigError([fault])


def take_reporter(options: Options, environment: Mapping[str, str]) -> None:
    """Set the options for the device whose sub-updater reports, from its environment.

    This allows a sub-updater to call ``report`` in the same way on a device and on a gateway.
    """
    options.device, options.devices = environment["MENDER_DEVICE"], environment.get("MENDER_DEVICES")
    if own := environment.get("MENDER_DATA_DIR"):
        options.data = str(Path(own).parent.parent)
    options.config = options.config or environment.get("MENDER_GATEWAY_CONFIG")
    options.root = options.root or environment.get("MENDER_ROOT") or None
