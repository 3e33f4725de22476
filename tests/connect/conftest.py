"""A device with ``connect`` running, and a server for it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connect.user import User
from program.conftest import certificate_directory, device, make_device, server
from program.stage import Device, Process

__all__ = ["certificate_directory", "device", "make_device", "server"]

Reach = Callable[..., User]
_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def _orphans_go_to_init() -> Iterator[None]:
    """Shells opened in this process make it the parent of orphans, which other tests expect to be reaped."""
    yield
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def allow(device: Device, **keys: Any) -> None:
    """Write ``mender-connect.conf``."""
    device.write("etc/mender/mender-connect.conf", json.dumps({"User": "root", **keys}))


def start(device: Device, **keys: Any) -> Process:
    """Start ``connect``, with these settings."""
    allow(device, **keys)
    return device.start("connect")


@pytest.fixture
def reach(device: Device) -> Reach:
    """Starts ``connect`` on the device with some settings, and returns a user of it."""

    def reach(**keys: Any) -> User:
        start(device, **keys)
        return User(device.server.connected_device(device.id))

    return reach
