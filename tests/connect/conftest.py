"""A device that runs ``connect``, and its server."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connect.user import User
from mender_devserver import DevServer
from program.conftest import certificate_directory, device, make_device, server
from program.stage import Device, Process

__all__ = ["certificate_directory", "device", "make_device", "server"]

Reach = Callable[..., User]


def allow(device: Device, **keys: Any) -> None:
    """Write ``mender-connect.conf``."""
    device.write("etc/mender/mender-connect.conf", json.dumps({"User": "root", **keys}))


def start(device: Device, **keys: Any) -> Process:
    """Start ``connect`` with these settings."""
    allow(device, **keys)
    return device.start("connect")


@contextmanager
def connected(directory: Path, certificate_directory: Path, **keys: Any) -> Iterator[Device]:
    """A device with its own server and ``connect``, which must keep running to the end and log no traceback."""
    shutil.copytree(certificate_directory, directory / "server")
    with DevServer(directory / "server") as server:
        device = Device(directory / "device", server)
        try:
            process = start(device, **keys)
            server.connected_device(device.id)
            yield device
            assert process.is_alive, process.text
        finally:
            device.close()
        assert "Traceback" not in device.said


@pytest.fixture(scope="session")
def shared_device(tmp_path_factory: pytest.TempPathFactory, certificate_directory: Path) -> Iterator[Device]:
    """A connected device with the default settings, for tests that leave it unchanged."""
    with connected(tmp_path_factory.mktemp("shared"), certificate_directory) as device:
        yield device


@pytest.fixture
def user(shared_device: Device) -> User:
    """A new user of the shared device."""
    return User(shared_device.server.connected_device(shared_device.id), str(uuid.uuid4()))


@pytest.fixture(scope="session")
def reached(tmp_path_factory: pytest.TempPathFactory, certificate_directory: Path) -> Iterator[Device]:
    """A connected device for users of the dev server, all of whom are a single user to the device."""
    many = {"MaxPerUser": 100}
    with connected(tmp_path_factory.mktemp("reached"), certificate_directory, Sessions=many) as device:
        yield device


@pytest.fixture
def reach(device: Device) -> Reach:
    """Starts ``connect`` on the device with these settings, and returns a user of the device."""

    def reach(**keys: Any) -> User:
        start(device, **keys)
        return User(device.server.connected_device(device.id))

    return reach
