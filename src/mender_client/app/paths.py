"""The paths of the files on the device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass

if TYPE_CHECKING:
    from mender_client.core.keyvalue import KeyValues


class _InData:
    """A file in the data directory, given by its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, paths: Paths, owner: type[Paths]) -> Path:
        return paths.data / self._name


class _InRoot(_InData):
    """A file or directory below the root directory, given by its absolute path."""

    def __get__(self, paths: Paths, owner: type[Paths]) -> Path:
        return paths.below_root(self._name)


@dataclass(frozen=True)
class Paths:
    """The files and directories of the contract; see ``docs/reference/files.md``.

    Args:
        root: the root directory that all paths are below; ``/`` on a device.
        config: the main configuration file.
        fallback_config: the fallback configuration file.
        data: the data directory; it must survive updates of the root file system.
    """

    root: Path
    config: Path
    fallback_config: Path
    data: Path

    key = _InData("mender-agent.pem")
    device_type = _InData("device_type")  # unless DeviceTypeFile names another file
    artifact = _InData("artifact.mender")
    update_lock = _InData("update.lock")  # of the contract with the sub-updater
    daemon_lock = _InData("daemon.lock")
    connect_lock = _InData("connect.lock")
    command_lock = _InData("standalone.lock")
    bootstrap = _InData("bootstrap.mender")
    journal = _InData("journal.json")  # the state file
    status = _InData("status.json")
    sub_updater_log = _InData("sub-updater.log")
    module_tree = _InData("modules/v3/payloads/0000/tree")
    artifact_scripts = _InData("scripts")
    artifact_info = _InRoot("/etc/mender/artifact_info")
    identity_script = _InRoot("/usr/share/mender/identity/mender-device-identity")
    inventory_directory = _InRoot("/usr/share/mender/inventory")
    sub_updater = _InRoot("/usr/share/mender/install")
    modules_directory = _InRoot("/usr/share/mender/modules/v3")
    device_configuration = _InRoot("/var/lib/mender-configure/device-config.json")

    @classmethod
    def locate(
        cls,
        *,
        root: str | None = None,
        config: str | None = None,
        fallback_config: str | None = None,
        data: str | None = None,
    ) -> Paths:
        """Compute the paths from the options of the command line.

        Every path, including a given one, is placed below the root directory unless it is there already.
        """
        base = Path("/" + os.path.abspath(root or "/").lstrip("/"))  # POSIX allows "//" to be another root
        data_directory = _below(base, data or "/var/lib/mender")
        return cls(
            root=base,
            config=_below(base, config or "/etc/mender/mender.conf"),
            fallback_config=_below(base, fallback_config) if fallback_config else data_directory / "mender.conf",
            data=data_directory,
        )

    @property
    def identity_values(self) -> KeyValues | None:
        """The identity if it isn't the output of the identity script; else None."""
        return None

    @property
    def given_device_type(self) -> str:
        """The device type if it isn't in a file; else empty."""
        return ""

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables for the device's programs; only a device of a gateway has any, such as its name."""
        return {}

    @property
    def is_of_gateway(self) -> bool:
        """Whether the device isn't the machine that the client runs on."""
        return False

    @property
    def connect_config(self) -> Path:
        """The main configuration of ``connect``."""
        return self.config.with_name("mender-connect.conf")

    @property
    def fallback_connect_config(self) -> Path:
        """The fallback configuration of ``connect``, for keys that the main one lacks."""
        return self.fallback_config.with_name("mender-connect.conf")

    @property
    def root_scripts(self) -> Path:
        """The state scripts that belong to the root file system."""
        return self.config.parent / "scripts"

    def moved(self) -> dict[str, str]:
        """The environment variables that tell update modules and state scripts about directories in unusual places.

        With ``--root``, they also name that directory, as for the sub-updater.
        """
        places = {"MENDER_CONF_DIR": self.config.parent, "MENDER_DATASTORE_DIR": self.data}
        usual = Paths.locate()
        normal = (usual.config.parent, usual.data)
        moved = {name: str(place) for (name, place), one in zip(places.items(), normal, strict=True) if place != one}
        return moved if self.root == usual.root else {**moved, "MENDER_ROOT": str(self.root)}

    def below_root(self, path: str) -> Path:
        """A path of the device, below the root directory."""
        return _below(self.root, path)


def _below(root: Path, path: str) -> Path:
    if root == Path("/"):
        return Path(os.path.abspath(path))
    # as in a chroot, ".." does not lead out of it
    inside = Path("/" + os.path.normpath("/" + path).lstrip("/"))
    return inside if inside.is_relative_to(root) else root / inside.relative_to("/")
