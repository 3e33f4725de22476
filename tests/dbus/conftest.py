"""A bus, a server, and a device on both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dbus.bus import IS_ROOT, SystemBus
from mender_devserver import DevServer
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


def start(device: Device, bus: SystemBus) -> Process:
    """Start ``dbus`` on a device, and wait until it is on the bus."""
    process = device.start("dbus", environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    process.wait_for("is on the bus")
    return process


@pytest.fixture
def serve(bus: SystemBus) -> Serve:
    """Starts ``dbus`` on a device, and waits until it is on the bus."""
    return lambda device: start(device, bus)


@dataclass(frozen=True, slots=True)
class Served:
    """A device that is on a bus."""

    device: Device
    bus: SystemBus


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, certificate_directory: Path) -> Iterator[Served]:
    """For all tests that leave the device as it was."""
    directory = tmp_path_factory.mktemp("served")
    shutil.copytree(certificate_directory, directory / "server")
    with DevServer(directory / "server") as server:
        bus, device = SystemBus(directory), Device(directory / "device", server)
        try:
            process = start(device, bus)
            yield Served(device, bus)
            assert process.is_alive, process.text
        finally:
            device.close()
            bus.stop()
        assert "Traceback" not in device.said
