"""What is on the device already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mender_client.app.config import KEYS, ConfigFindings, examine
from mender_client.app.paths import Paths
from mender_client.core.keyvalue import parse_key_value_file
from mender_client.errors import ConfigError, StorageError

UNITS = "/etc/systemd/system"
PACKAGED_UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system")
"""Where packages put units; one of the same name in ``UNITS`` takes precedence."""
CLIENT_UNIT = "mender-python-client.service"
CONNECT_UNIT = "mender-connect-python.service"
"""Remote access, where mender-connect.conf allows it."""
DBUS_UNIT = "mender-dbus-python.service"
"""The authorisation for add-ons, where it is asked for."""
SUB_UPDATER_UNIT = "mender-sub-updater.service"
CONFIGURATION_UNIT = "mender-configure-apply-device-config.service"
"""Applies what mender-configure has stored, at each start of the device."""


class ExistingDevice:
    """A device before it is set up.

    Raises:
        ConfigError: its configuration has faults; nothing could be built on it.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.findings: ConfigFindings = examine(paths.config, paths.fallback_config, is_server_needed=False)
        if self.findings.problems:
            raise ConfigError(self.findings.problems)
        self._defaults = {key.name: key.default for key in KEYS}

    def setting(self, name: str) -> Any:
        """The value that holds for a key of ``mender.conf``."""
        return self.findings.values.get(name, self._defaults[name])

    @property
    def has_server(self) -> bool:
        return bool(self.setting("ServerURL") or self.setting("Servers"))

    @property
    def key(self) -> Path | None:
        """The file of the device key, there or not; None when the key is no file."""
        named: str = self.setting("Security.AuthPrivateKey")
        if named.startswith("pkcs11:"):
            return None
        return self.paths.below_root(named) if named else self.paths.key

    @property
    def device_type_file(self) -> Path:
        named: str = self.setting("DeviceTypeFile")
        return self.paths.below_root(named) if named else self.paths.device_type

    @property
    def device_type(self) -> str | None:
        """The device type, None when there is none."""
        pairs = parse_key_value_file((content(self.device_type_file) or b"").decode("utf-8", "replace"))
        return next((value for key, value in pairs if key == "device_type" and value), None)

    def has_file(self, path: str) -> bool:
        """Whether there is such a file or directory, below the root or on this machine."""
        return self.paths.below_root(os.path.abspath(path)).exists() or os.path.exists(path)

    @property
    def has_systemd(self) -> bool:
        """Whether units have a place."""
        return self.unit(CLIENT_UNIT).parent.is_dir()

    @property
    def has_unit(self) -> bool:
        """Whether the client's unit is installed, by us or by a package."""
        return os.path.lexists(self.unit(CLIENT_UNIT)) or self.packaged_unit(CLIENT_UNIT) is not None

    @property
    def has_remote_access(self) -> bool:
        """Whether somebody has allowed remote access."""
        return self.paths.connect_config.exists() or self.paths.fallback_connect_config.exists()

    def packaged_unit(self, name: str) -> Path | None:
        """The unit that a package has installed, None when there is none."""
        files = (self.paths.below_root(f"{place}/{name}") for place in PACKAGED_UNITS)
        return next((file for file in files if os.path.lexists(file)), None)

    def unit(self, name: str) -> Path:
        return self.paths.below_root(f"{UNITS}/{name}")


def content(path: Path) -> bytes | None:
    """What a file holds, None when it isn't there.

    Raises:
        StorageError: it can't be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        text = f"cannot read {path}: {error.strerror}"
        raise StorageError("SET10", text, remedy="check its owner and mode") from error
