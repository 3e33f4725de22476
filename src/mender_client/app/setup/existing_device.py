"""The state of a device before ``setup``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mender_client.app.config import KEYS, ConfigFindings, examine
from mender_client.app.paths import Paths
from mender_client.core.keyvalue import parse_key_value_file
from mender_client.errors import ConfigError, StorageError
from mender_client.system.files import open_input, reading_remedy

UNITS = "/etc/systemd/system"
PACKAGED_UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system")
"""The directories for the units of packages; a unit of the same name in ``UNITS`` takes precedence."""
CLIENT_UNIT = "mender-python-client.service"
CONNECT_UNIT = "mender-connect-python.service"
"""The unit for remote access, installed if there is a mender-connect.conf."""
DBUS_UNIT = "mender-dbus-python.service"
"""The unit that shares the authorisation with add-ons, installed on request."""
SUB_UPDATER_UNIT = "mender-sub-updater.service"
CONFIGURATION_UNIT = "mender-configure-apply-device-config.service"
"""Applies the configuration that mender-configure has stored, at each boot."""


class ExistingDevice:
    """A device before it is set up.

    Raises:
        ConfigError: its configuration has errors, and can't be extended.
    """

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.findings: ConfigFindings = examine(paths.config, paths.fallback_config, is_server_needed=False)
        if self.findings.problems:
            raise ConfigError(self.findings.problems)
        self._defaults = {key.name: key.default for key in KEYS}

    def setting(self, name: str) -> Any:
        """The effective value of a key of ``mender.conf``."""
        return self.findings.values.get(name, self._defaults[name])

    @property
    def has_server(self) -> bool:
        return bool(self.setting("ServerURL") or self.setting("Servers"))

    @property
    def key(self) -> Path | None:
        """The file of the device key, which may not exist; None when the key is in a token."""
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
        """Whether a file or directory exists, below the root directory or on this machine."""
        return self.paths.below_root(os.path.abspath(path)).exists() or os.path.exists(path)

    @property
    def has_systemd(self) -> bool:
        """Whether there is a directory for units."""
        return self.unit(CLIENT_UNIT).parent.is_dir()

    @property
    def has_unit(self) -> bool:
        """Whether the client's unit is installed, by ``setup`` or by a package."""
        return os.path.lexists(self.unit(CLIENT_UNIT)) or self.packaged_unit(CLIENT_UNIT) is not None

    @property
    def has_remote_access(self) -> bool:
        """Whether there is a mender-connect.conf, which allows remote access."""
        return self.paths.connect_config.exists() or self.paths.fallback_connect_config.exists()

    def packaged_unit(self, name: str) -> Path | None:
        """The file of a unit that a package has installed; None when there is none."""
        files = (self.paths.below_root(f"{place}/{name}") for place in PACKAGED_UNITS)
        return next((file for file in files if os.path.lexists(file)), None)

    def unit(self, name: str) -> Path:
        return self.paths.below_root(f"{UNITS}/{name}")


def content(path: Path) -> bytes | None:
    """The content of a file; None when it doesn't exist.

    Raises:
        StorageError: it can't be read.
    """
    try:
        with open_input(path) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        text = f"cannot read {path}: {error.strerror}"
        remedy = reading_remedy(error, path) or "check its owner and mode"
        raise StorageError("SET10", text, remedy=remedy) from error
