"""The interface of a program that embeds the client, and replaces the device's scripts, files and programs."""

from __future__ import annotations

from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.machine import Flow

if TYPE_CHECKING:
    from typing import Protocol

    from mender_client.client.outcome import Outcomes
    from mender_client.core.model import Software
    from mender_client.core.ports import DeviceData, Installer, Lock, Modules
else:
    Protocol = object


class Program(Protocol):
    """A program that embeds the client, and replaces the device's scripts, files and programs."""

    @property
    def device(self) -> DeviceData:
        """Identity, inventory and provides."""

    @property
    def flow(self) -> Flow:
        """How deployments are carried out."""

    def make_installer(self, lock: Lock, outcomes: Outcomes) -> Installer:
        """Create the installer, to which Artifacts are handed over."""

    def make_modules(self, is_stopping: Callable[[], bool]) -> Modules:
        """Create the object that calls update modules."""

    def save_provides(self, software: Software) -> str:
        """Store what the device provides; see ``ScriptedDevice.save_provides``."""
