"""The devices of a gateway, whose descriptions may change while it runs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from mender_client import TYPE_CHECKING, __version__
from mender_client.app.config import Config, load_config
from mender_client.app.file_checks import check_configuration_files, check_files
from mender_client.app.observers import Observers
from mender_client.app.paths import Paths
from mender_client.client.rounds import Rounds, Standing
from mender_client.core.client_status import ClientStatus
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME
from mender_client.dataclass import replace
from mender_client.errors import ConfigError, Diagnostic, MenderError
from mender_client.system.snapshot import read_client_status
from mender_client.system.statusfile import StatusFile

from .device import GatewayDevice
from .entries import UNTRUSTED, read_entries
from .host import Hosts
from .identities import Identities
from .paths import DeviceEntry, DevicePaths
from .settings import settings_of

if TYPE_CHECKING:
    _Stamp = tuple[tuple[str, int], ...]

_logger = logging.getLogger(__name__)

ROUTINE_SECONDS = 900.0
"""The minimum time between two writes of routine changes of a device's status: there may be a thousand devices."""


class Fleet:
    """The devices of a gateway.

    Args:
        hosts: the resources that they share.
        config: the gateway's settings.
        paths: the gateway's files.
        devices: the directory with the descriptions of the devices.
        rounds: schedules the steps of the devices.
    """

    def __init__(self, hosts: Hosts, config: Config, paths: Paths, devices: Path, rounds: Rounds) -> None:
        self._hosts = hosts
        self._paths = paths
        self._devices = devices
        self._rounds = rounds
        self._shared = settings_of(config, paths)
        self._made_of: dict[str, tuple[DeviceEntry, Config]] = {}
        self._identities = Identities()
        self._faults: dict[str, str] = {}
        self._stamp: _Stamp | None = None
        self._is_incomplete = False
        self.members: dict[str, GatewayDevice] = {}

    def use(self, config: Config) -> None:
        """Use new settings of the gateway from the next scan on."""
        self._shared = settings_of(config, self._paths)
        self._stamp = None

    def scan(self, *, is_forced: bool = False) -> None:
        """Add new devices, drop those whose description is gone, and recreate those whose description has changed.

        Args:
            is_forced: read all descriptions, even if the directory seems unchanged.

        Raises:
            ConfigError: the directory can't be read.
        """
        stamp = self._look()
        if stamp == self._stamp and not is_forced and not self._is_incomplete:
            return
        found = read_entries(self._devices, self._paths.root)
        faults = {name: str(fault) for name, fault in found.faults.items()}
        if "" not in faults:
            self._rounds.turns.most_of = found.groups
        self._is_incomplete = False
        for name in [one for one in self.members if one not in found.entries]:
            is_folder = self._made_of[name][0].is_folder
            fault = found.faults.get(name) or (None if is_folder else found.faults.get(""))
            if fault is None or fault.code in UNTRUSTED:
                self._drop(name, "is gone" if fault is None else "can no longer be trusted")
        for name, entry in found.entries.items():
            try:
                self._take(name, entry)
            except MenderError as error:
                problems = error.problems if isinstance(error, ConfigError) else (error.diagnostic,)
                faults[name] = "; ".join(map(str, problems))
        self._say(faults)
        self._stamp = stamp

    def _look(self) -> _Stamp:
        """A stamp that changes when a description is added, removed or replaced."""
        try:
            with os.scandir(self._devices) as found:
                return tuple(sorted((one.name, one.stat().st_mtime_ns) for one in found))
        except OSError:
            return ()

    def _take(self, name: str, entry: DeviceEntry) -> None:
        paths = DevicePaths.of(entry, self._paths, self._devices)
        config = self._settings(paths)
        made_of = (entry, config)
        if self._made_of.get(name) == made_of and name in self.members:
            return
        if self._rounds.is_at_work(name):
            self._is_incomplete = True  # two must not use the same files; the next scan tries again
            return
        is_new = name not in self.members
        device = GatewayDevice(
            name,
            entry.group,
            self._hosts.host_of(config, _observers(paths)),
            self._identities,
            config,
            paths,
            first_artifact=entry.keys.get("ArtifactName", UNKNOWN_ARTIFACT_NAME),
        )
        if not is_new:
            self._rounds.drop(name)
            self.members.pop(name).close()
        device.resume()
        self._rounds.add(device, standing=device.standing)
        self.members[name], self._made_of[name] = device, made_of
        _logger.log(logging.INFO if self._stamp is not None else logging.DEBUG, "%s", _taken(name, is_new=is_new))

    def _settings(self, paths: DevicePaths) -> Config:
        if paths.config == paths.fallback_config or not paths.config.exists():
            return self._shared
        check_configuration_files(paths)
        loaded = load_config(paths.config, paths.fallback_config)
        config = settings_of(loaded.config, paths)
        for warning in (*loaded.warnings, *check_files(config, paths)):
            _logger.warning("%s", warning)
        return replace(config, skip_verify=self._shared.skip_verify)

    def _drop(self, name: str, why: str) -> None:
        device = self.members.pop(name)
        self._rounds.drop(name)
        if self._rounds.is_at_work(name):
            self._identities.release(name)  # the running step ends on its own
        else:
            device.close()
        self._made_of.pop(name, None)
        kept = f"; its update is kept in {device.paths.data}" if device.standing is Standing.UPDATING else ""
        _logger.info("device %s: its description %s; it is no longer served%s", name, why, kept)

    def _say(self, faults: Mapping[str, str]) -> None:
        """Log each fault once. Devices that are still served keep their previous descriptions."""
        for name, fault in faults.items():
            if self._faults.get(name) != fault:
                _logger.error("%s", f"device {name}: {fault}" if name else fault)
                if name in self.members:
                    _logger.warning("device %s: its previous description stays in effect", name)
                elif not name and not all(entry.is_folder for entry, _ in self._made_of.values()):
                    _logger.warning("the devices that it described before stay in service")
        self._faults = dict(faults)


def _taken(name: str, *, is_new: bool) -> str:
    return f"device {name}: {'it is new, and served from now on' if is_new else 'its description has changed'}"


def _observers(paths: DevicePaths) -> Observers:
    """The observers of one device: its status file."""
    known = read_client_status(paths.status)
    before = known[0] if known is not None else ClientStatus()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    python = ".".join(str(part) for part in sys.version_info[:3])
    status = before.begun(now, version=__version__, python=python)
    return Observers((StatusFile(paths.status, routine_seconds=ROUTINE_SECONDS, indent=None),), None, status)


def gateway_fault(devices: Path) -> Diagnostic:
    """The message that no device is described."""
    return Diagnostic("GTW08", f"{devices} describes no device", "create a directory there for each device")
