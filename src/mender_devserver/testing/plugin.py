"""The pytest plugin: fixtures with a Mender server and a device to test sub-updaters, and one to test update modules.

pytest loads it if this package is installed. Nothing else is imported until a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mender_devserver import DevServer

    from .directory import DirectoryDevice
    from .modules import ModuleUnderTest


@pytest.fixture
def mender_server(tmp_path: Path) -> Iterator[DevServer]:
    """A Mender server for one test, on loopback."""
    from mender_devserver import DevServer

    with DevServer(tmp_path / "mender-server", tls=False) as server:
        yield server


@pytest.fixture
def mender_device(mender_server: DevServer, tmp_path: Path) -> Iterator[DirectoryDevice]:
    """A device in a directory, accepted by the server: install a sub-updater, then update it."""
    from .directory import DirectoryDevice

    device = DirectoryDevice(tmp_path / "mender-device", mender_server)
    yield device
    device.power_off()


@pytest.fixture
def mender_module(tmp_path: Path) -> Callable[..., ModuleUnderTest]:
    """A function that takes an update module and the files of a payload; see ``ModuleUnderTest``."""
    from functools import partial

    from .modules import ModuleUnderTest

    return partial(ModuleUnderTest, tmp_path / "mender-module")
