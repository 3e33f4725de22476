"""A gateway inside another program, which describes the devices.

The devices share resources and are scheduled as in the command ``gateway``; the program supplies their identity,
inventory and installation, as for ``Client``.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from mender_client.app.config import check_settings
from mender_client.app.gateway.device import GatewayDevice
from mender_client.app.gateway.host import DeviceHost, GatewayHost
from mender_client.app.gateway.identities import Identities
from mender_client.app.gateway.paths import STATES
from mender_client.app.observers import Observers
from mender_client.app.paths import Paths
from mender_client.app.update_module import UpdateModule
from mender_client.client.rounds import Rounds
from mender_client.core.turns import Turns
from mender_client.errors import UsageError
from mender_client.installers.callback import InstallFunction
from mender_client.system.files import make_directory
from mender_client.system.locks import DaemonLock
from mender_client.system.workers import Workers

from .description import DescribedDevice, DeviceDescription
from .program import EmbeddingProgram

_logger = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Gateway:
    """Many Mender clients inside another program, with a few threads for all of them.

    Call ``run`` from one thread; the other methods may be called from any thread. The functions and update modules that
    install are called in threads of the gateway, several at once for different devices.

    Args:
        settings: as for ``Client``, but not the path of a file; they apply to every device.
        data: the data directory, which contains one for each device; created if it doesn't exist.
        workers: how many devices authenticate, poll and send their inventory at once.
        at_once: how many devices are updated at once.
        groups: how many devices of a group are updated at once; 1 for a group that isn't listed.

    Raises:
        ConfigError: settings are invalid; the error lists all of them.
        BusyError: another gateway uses the data directory.
        StorageError: the data directory can't be used.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        data: Path | str,
        workers: int = 8,
        at_once: int = 4,
        groups: Mapping[str, int] | None = None,
    ) -> None:
        self._paths = Paths.locate(data=str(Path(data).absolute()))
        loaded = check_settings(settings)
        self._config = loaded.config
        for warning in loaded.warnings:
            _logger.warning("%s", warning)
        make_directory(self._paths.data / STATES)
        self._lock = DaemonLock(self._paths.data / "gateway.lock")
        self._lock.acquire()
        self._host = GatewayHost(self._config, self._paths)
        self._clock = self._host.clock
        self._pools = (Workers(workers, "poll"), Workers(workers, "slow"), Workers(at_once, "update"))
        self._rounds = Rounds(
            clock=self._clock,
            turns=Turns(at_once, groups or {}),
            polls=self._pools[0].submit,
            slow=self._pools[1].submit,
            updates=self._pools[2].submit,
            wake=self._clock.wake,
        )
        self._requests: deque[Callable[[], None]] = deque()
        self._devices: dict[str, GatewayDevice] = {}
        self._identities = Identities()
        self._is_closed = False

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(
        self,
        name: str,
        device: DeviceDescription,
        *,
        install: InstallFunction | None = None,
        modules: Mapping[str, Callable[[str], UpdateModule]] | None = None,
        group: str = "",
    ) -> None:
        """Add a device.

        Args:
            name: its name and that of its data directory: letters, digits, ``.``, ``_`` and ``-``, at most 64.
            device: the description of the device.
            install: installs its Artifacts.
            modules: the update modules to use instead of ``install``, as for ``Client``.
            group: the group of devices with which it shares a limit on simultaneous updates; empty for none.

        Raises:
            UsageError: the name can't be used or is taken, or not exactly one of ``install`` and ``modules`` is given.
        """
        if not _NAME.fullmatch(name):
            text = f"cannot add a device: its name can't be {name!r:.80}"
            raise UsageError("API15", text, remedy="use letters, digits, '.', '_' and '-', 64 at most")
        if name in self._devices:
            raise UsageError("API16", f"cannot add the device {name}: it already exists", remedy="remove it first")
        if (install is None) == (modules is None):
            text = f"cannot add the device {name}: there must be exactly one way to install"
            raise UsageError("API17", text, remedy="pass install= or modules=")
        paths = Paths.locate(data=str(self._paths.data / STATES / name))
        program = EmbeddingProgram(
            device=DescribedDevice(device), paths=paths, install=install, modules=modules, reboot=None
        )
        host = DeviceHost(self._host, Observers())
        made = self._devices[name] = GatewayDevice(
            name, group, host, self._identities, self._config, paths, program=program
        )
        self._request(lambda: self._take(made))

    def _take(self, device: GatewayDevice) -> None:
        if self._devices.get(device.name) is not device:
            return  # removed in the meantime
        if self._rounds.is_at_work(device.name):
            self._requests.append(lambda: self._take(device))  # a removed device of the same name is finishing its step
            return
        device.resume()
        self._rounds.add(device, standing=device.standing)

    def remove(self, name: str) -> None:
        """Remove a device. A step in progress is finished; the data directory is kept.

        Raises:
            UsageError: there is no such device.
        """
        if self._devices.pop(name, None) is None:
            raise UsageError("API18", f"cannot remove the device {name!r:.80}: it does not exist")
        self._request(lambda: self._drop(name))

    def _drop(self, name: str) -> None:
        self._identities.release(name)
        if name in self._rounds.members:
            self._rounds.drop(name)

    def report(self, name: str, *, success: bool, reason: str = "") -> None:
        """Report the outcome of an installation whose function has returned None; arguments as for ``Client.report``.

        The outcome is stored first, and sent in the next step of the device.

        Raises:
            UsageError: there is no such device, or it has no deployment that is waiting for a report.
            StorageError: the outcome can't be stored.
        """
        device = self._devices.get(name)
        if device is None or not device.report(is_success=success, reason=reason):
            text = f"cannot report for the device {name!r:.80}: no deployment is waiting for a report"
            raise UsageError("API19", text, remedy="let install return None for a deployment that is reported later")
        device.request_poll()
        self._request(lambda: self._rounds.hurry((name,)))

    def poll_now(self) -> None:
        """Make every device poll for a deployment, regardless of the schedule."""
        self._request(self._poll_all)

    def _poll_all(self) -> None:
        for member in self._rounds.members.values():
            if isinstance(member, GatewayDevice):
                member.request_poll()
        self._rounds.hurry(self._rounds.members)

    def _request(self, request: Callable[[], None]) -> None:
        self._requests.append(request)
        if not self._is_closed:
            self._clock.wake()

    def run(self) -> None:
        """Run the steps of the devices until ``stop`` is called."""
        while not self._clock.is_stopping:
            for _ in range(len(self._requests)):
                self._requests.popleft()()
            wait = self._rounds.run_due()
            self._host.rest_idle()
            self._clock.wait(60.0 if wait is None else min(wait, 60.0))

    def stop(self) -> None:
        """Stop ``run`` for good, and interrupt whatever it is doing; safe in a signal handler."""
        if not self._is_closed:
            self._clock.stop()
            self._host.transport.stop()

    def close(self) -> None:
        """Stop, wait for the steps in progress, and release the data directory; ``run`` must have returned."""
        if not self._is_closed:
            self.stop()
            self._is_closed = True
            for pool in self._pools:
                pool.close()
            self._host.close()
            self._lock.release()
