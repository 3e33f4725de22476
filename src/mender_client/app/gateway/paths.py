"""The paths of the files of a gateway's device: the operator's files in one directory, its state in another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.app.paths import Paths
from mender_client.core.keyvalue import KeyValues
from mender_client.dataclass import dataclass

if TYPE_CHECKING:
    from typing import Any

DEVICES = Path("/etc/mender/devices")
"""The directory with the descriptions of devices, unless ``--devices`` names another one."""

STATES = "devices"
"""The directory in the gateway's data directory that holds the data directory of each device."""


@dataclass(frozen=True)
class DeviceEntry:
    """A device as the operator has described it.

    Attributes:
        name: its name on the gateway; the server doesn't know it.
        base: the directory that paths are relative to, and that contains the files that no key names.
        keys: the keys of its description; see ``entries.KEYS``.
        is_folder: whether it has its own directory, which may contain its own settings.
    """

    name: str
    base: Path
    keys: Mapping[str, Any]
    is_folder: bool

    @property
    def group(self) -> str:
        """The group of devices that share something which not all of them can use at once; empty for none."""
        group: str = self.keys.get("Group", "")
        return group

    def path(self, key: str, usual: str) -> Path:
        """The path that a key names; by default, the usual name in ``base``."""
        given = self.keys.get(key)
        return self.base / (given if isinstance(given, str) else usual)


@dataclass(frozen=True)
class DevicePaths(Paths):
    """The files of a device of a gateway.

    Attributes:
        entry: how the operator has described it.
        devices: the directory with the descriptions of all devices.
    """

    entry: DeviceEntry
    devices: Path

    @classmethod
    def of(cls, entry: DeviceEntry, gateway: Paths, devices: Path) -> DevicePaths:
        """The files of a device.

        Args:
            entry: how the operator has described it.
            gateway: the gateway's own paths.
            devices: the directory with the descriptions of all devices.
        """
        own = entry.base / "mender.conf" if entry.is_folder else gateway.config
        data = gateway.data / STATES / entry.name
        return cls(gateway.root, own, gateway.config, data, entry, devices)

    is_of_gateway = True

    @property
    def daemon_lock(self) -> Path:  # type: ignore[override]  # the gateway's: one process runs all devices
        return self.data.parent.parent / "gateway.lock"

    @property
    def identity_script(self) -> Path:  # type: ignore[override]
        return self.entry.path("Identity", "identity")

    @property
    def identity_values(self) -> KeyValues | None:
        given = self.entry.keys.get("Identity")
        return KeyValues(tuple(given.items()), ()) if isinstance(given, dict) else None

    @property
    def device_type(self) -> Path:  # type: ignore[override]
        return self.entry.base / "device_type"

    @property
    def given_device_type(self) -> str:
        given: str = self.entry.keys.get("DeviceType", "")
        return given

    @property
    def inventory_directory(self) -> Path:  # type: ignore[override]
        return self.entry.path("Inventory", "inventory")

    @property
    def modules_directory(self) -> Path:  # type: ignore[override]
        return self.entry.path("Modules", "modules")

    @property
    def sub_updater(self) -> Path:  # type: ignore[override]
        return self.entry.path("SubUpdater", "install")

    @property
    def artifact_info(self) -> Path:  # type: ignore[override]
        return self.data / "artifact_info"

    @property
    def device_configuration(self) -> Path:  # type: ignore[override]
        return self.data / "device-config.json"

    @property
    def root_scripts(self) -> Path:
        return self.entry.base / "scripts"

    @property
    def variables(self) -> Mapping[str, str]:
        given: Mapping[str, str] = self.entry.keys.get("Variables", {})
        return {
            **given,
            "MENDER_DEVICE": self.entry.name,
            "MENDER_DEVICES": str(self.devices),
            "MENDER_DATA_DIR": str(self.data),
            "MENDER_GATEWAY_CONFIG": str(self.fallback_config),
        }

    def moved(self) -> dict[str, str]:
        return {**super().moved(), "MENDER_CONF_DIR": str(self.entry.base)}


def devices_directory(given: str | None, root: Path) -> Path:
    """The directory with the descriptions of devices.

    Args:
        given: the value of ``--devices``; None for the usual directory.
        root: the root directory, which the usual directory is below.
    """
    if given is None:
        return root / DEVICES.relative_to("/")
    return Path(os.path.abspath(given))
