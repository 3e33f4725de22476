"""A bus, a server, and a device on both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbus.bus import IS_ROOT, SystemBus
from program.conftest import certificate_directory, device, make_device, server
from program.stage import Device, Process

__all__ = ["certificate_directory", "device", "make_device", "server"]

Serve = Callable[[Device], Process]

needed = [
    pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed"),
    pytest.mark.skipif(not IS_ROOT, reason="the policy lets root alone own the name"),
]
"""What tests with a bus need."""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SystemBus]:
    """A bus with the client's policy."""
    running = SystemBus(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def serve(bus: SystemBus) -> Serve:
    """Starts ``dbus`` on a device, and waits until it is on the bus."""

    def serve(device: Device) -> Process:
        process = device.start("dbus", environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
        process.wait_for("is on the bus")
        return process

    return serve
