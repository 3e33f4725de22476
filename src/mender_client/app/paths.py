"""Where the files are on the device."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
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

    @classmethod
    def locate(
        cls,
        *,
        root: str | None = None,
        config: str | None = None,
        fallback_config: str | None = None,
        data: str | None = None,
    ) -> Paths:
        """Compute the paths from what was given on the command line.

        Every path is moved below the root directory, a given one too, unless it is there already.
        """
        base = Path("/" + os.path.abspath(root or "/").lstrip("/"))  # POSIX lets two slashes be another root
        data_directory = _below(base, data or "/var/lib/mender")
        return cls(
            root=base,
            config=_below(base, config or "/etc/mender/mender.conf"),
            fallback_config=_below(base, fallback_config) if fallback_config else data_directory / "mender.conf",
            data=data_directory,
        )

    def below_root(self, path: str) -> Path:
        """A path of the device, below the root directory."""
        return _below(self.root, path)

    @property
    def key(self) -> Path:
        """The generated device key."""
        return self.data / "mender-agent.pem"

    @property
    def device_type(self) -> Path:
        """The device type, unless DeviceTypeFile says otherwise."""
        return self.data / "device_type"

    @property
    def artifact(self) -> Path:
        """The downloaded Artifact."""
        return self.data / "artifact.mender"

    @property
    def update_lock(self) -> Path:
        """The lock file of the contract with the sub-updater."""
        return self.data / "update.lock"

    @property
    def daemon_lock(self) -> Path:
        """The lock against a second daemon."""
        return self.data / "daemon.lock"

    @property
    def journal(self) -> Path:
        """The state file."""
        return self.data / "journal.json"

    @property
    def status(self) -> Path:
        """The status file, for ``status``."""
        return self.data / "status.json"

    @property
    def sub_updater_log(self) -> Path:
        """The output of the sub-updater."""
        return self.data / "sub-updater.log"

    @property
    def artifact_info(self) -> Path:
        """The name of the installed Artifact."""
        return self.below_root("/etc/mender/artifact_info")

    @property
    def identity_script(self) -> Path:
        """Prints the identity."""
        return self.below_root("/usr/share/mender/identity/mender-device-identity")

    @property
    def inventory_directory(self) -> Path:
        """Holds the inventory scripts."""
        return self.below_root("/usr/share/mender/inventory")

    @property
    def sub_updater(self) -> Path:
        """Installs Artifacts."""
        return self.below_root("/usr/share/mender/install")


def paths_of(options: argparse.Namespace) -> Paths:
    """The paths that the common options of the command line say."""
    return Paths.locate(
        root=options.root, config=options.config, fallback_config=options.fallback_config, data=options.data
    )


def _below(root: Path, path: str) -> Path:
    if root == Path("/"):
        return Path(os.path.abspath(path))
    # as after a chroot: no ".." leads out of it
    inside = Path("/" + os.path.normpath("/" + path).lstrip("/"))
    return inside if inside.is_relative_to(root) else root / inside.relative_to("/")
