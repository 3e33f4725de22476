"""A simulated device: the components of the real client, assembled as on a device, with storage in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import Config, check_settings
from mender_client.app.host import Host
from mender_client.app.observers import Observers
from mender_client.app.paths import Paths
from mender_client.client.outcome import Outcomes
from mender_client.core.artifact import NewDigest
from mender_client.core.machine import Event, Flow
from mender_client.core.model import Deployment, Software
from mender_client.core.ports import KeyStore, Lock
from mender_client.embedding.description import DescribedDevice, DeviceDescription
from mender_client.installers.callback import CallbackInstaller
from mender_client.system.clock import SystemClock
from mender_client.system.clockevidence import ClockCheck
from mender_client.system.http import HttpTransport

from .memory import MadeUpLog, MemoryJournal, MemoryMark, MemoryTrace, PassingStore

NOWHERE = Paths.locate(data="/nonexistent")
"""The place of the files that a simulated device doesn't have."""


class PowerCutError(BaseException):
    """A power cut of a simulated device; as a ``BaseException``, it isn't caught by the client."""


class SharedClock(SystemClock):
    """The system clocks, without a file descriptor for waits: under gevent, ``time.sleep`` yields to other devices."""

    def __init__(self) -> None:
        self.is_stopping = False

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def wake(self) -> None:
        """Do nothing: a simulated device is never woken."""

    def close(self) -> None:
        """Do nothing: there is no file descriptor."""


CLOCK = SharedClock()


class SimulatedHost(Host):
    """A host for one device, which has its own connections, although real devices in one process could share them.

    Args:
        transport: the transport of the device.
    """

    def __init__(self, transport: HttpTransport) -> None:
        self.observers = Observers()
        self.clock = CLOCK
        self.clock_check = ClockCheck()
        self.transport = transport


class PretendedInstallation:
    """A simulated installer; see ``app.program.Program``.

    Args:
        description: the device.
        install: simulates the installation; False or an exception makes the deployment fail.
    """

    flow = Flow.HANDOVER

    def __init__(self, description: DeviceDescription, install: Callable[[Deployment], bool]) -> None:
        self.device = DescribedDevice(description)
        self.trace = MemoryTrace()
        self._install = install

    def make_installer(self, lock: Lock, outcomes: Outcomes) -> CallbackInstaller:
        def conclude(deployment_id: str, is_installed: bool) -> None:
            outcomes.conclude(deployment_id, Event.SUCCESS if is_installed else Event.FAILURE)

        def install(_: Path, deployment: Deployment) -> bool:
            return self._install(deployment)

        return CallbackInstaller(install, conclude=conclude, lock=lock, trace=self.trace)

    def make_modules(self, is_stopping: Callable[[], bool]) -> Any:
        raise NotImplementedError("a simulated device has no update modules")

    def save_provides(self, software: Software) -> str:
        return software.artifact_name


class SimulatedParts(DeviceParts):
    """The parts of a device, with files replaced by memory; takes the arguments of ``DeviceParts``.

    Args:
        log_lines: how long the log of a failed deployment is.
    """

    def __init__(
        self,
        host: Host,
        config: Config,
        *,
        key: KeyStore,
        journal: MemoryJournal,
        program: PretendedInstallation,
        lock: MemoryMark,
        log_lines: int,
    ) -> None:
        super().__init__(host, config, NOWHERE, key=key, journal=journal, program=program)
        self.lock = lock
        self._log_lines = log_lines

    @cached_property
    def store(self) -> PassingStore:  # type: ignore[override]  # it has no path
        return PassingStore()

    @cached_property
    def log(self) -> MadeUpLog:  # type: ignore[override]  # it records nothing
        return MadeUpLog(self._log_lines)

    @property
    def new_digest(self) -> NewDigest | None:
        """Hash in the same thread, since thousands of devices can't each use another CPU."""
        return None


class SimulatedDevice:
    """A simulated device that is run step by step and can lose power.

    Args:
        settings: the settings of its ``mender.conf``.
        description: its identity, inventory and software.
        key: its device key.
        install: pretends to install; False, or an exception, fails the deployment.
        make_transport: creates its transport.
        log_lines: how long the log of a failed deployment is.

    Raises:
        ConfigError: the settings are invalid.
    """

    def __init__(
        self,
        settings: Config,
        description: DeviceDescription,
        key: KeyStore,
        *,
        install: Callable[[Deployment], bool],
        make_transport: Callable[[], HttpTransport],
        log_lines: int = 100,
    ) -> None:
        self.description = description
        self.key = key
        self._settings = settings
        self._make_transport = make_transport
        self._journal = MemoryJournal()
        self._lock = MemoryMark()
        self._program = PretendedInstallation(description, install)
        self._log_lines = log_lines
        self._parts = self._power_on()

    def _power_on(self) -> SimulatedParts:
        return SimulatedParts(
            SimulatedHost(self._make_transport()),
            self._settings,
            key=self.key,
            journal=self._journal,
            program=self._program,
            lock=self._lock,
            log_lines=self._log_lines,
        )

    @property
    def log(self) -> MadeUpLog:
        """The log of the current deployment."""
        return self._parts.log

    def step(self) -> float:
        """Perform the actions that are due, and return the seconds until the next step.

        Raises:
            PowerCutError: the power was cut during the step.
        """
        seconds = self._parts.agent.step()
        if not self._parts.agent.is_updating:
            self._parts.forget_update()
        return seconds

    def rest(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._parts.transport.rest()

    def restart(self) -> None:
        """Restart after a power cut: the volatile state of the device is lost, its stored state is kept."""
        self._parts.close()
        self._parts = self._power_on()

    def close(self) -> None:
        """Close the connections."""
        self._parts.close()


def read_settings(settings: Mapping[str, object]) -> Config:
    """Validate the settings of simulated devices; devices with equal settings should share the result.

    Raises:
        ConfigError: the settings are invalid.
    """
    return check_settings(settings).config
