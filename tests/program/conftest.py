"""A server over TLS, a device that it trusts, and more of both for who wants them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mender_devserver import DevServer
from ports import restartable
from program.gateway import GatewayStage, MakeStage
from program.stage import Device

MakeDevice = Callable[..., Device]


@pytest.fixture(scope="session")
def certificate_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's directory with nothing in it but its certificate, which takes a while to make."""
    directory = tmp_path_factory.mktemp("certificate")
    with DevServer(directory):
        pass
    return directory


@pytest.fixture
def server(tmp_path: Path, certificate_directory: Path) -> Iterator[DevServer]:
    """A server that speaks TLS."""
    directory = tmp_path / "server"
    shutil.copytree(certificate_directory, directory)
    with restartable(directory) as running:
        yield running


@pytest.fixture
def make_device(tmp_path: Path, server: DevServer) -> Iterator[MakeDevice]:
    """Makes devices whose processes end with the test, and none of which may ever show a traceback."""
    made: list[Device] = []

    def make(name: str = "device", **how: object) -> Device:
        device = Device(tmp_path / name, server, **how)  # type: ignore[arg-type]  # passed on as it is
        made.append(device)
        return device

    yield make
    for device in made:
        device.close()
        assert "Traceback" not in device.said
        assert "Exception ignored" not in device.said


@pytest.fixture
def device(make_device: MakeDevice) -> Device:
    """A device that the server trusts."""
    return make_device()


@pytest.fixture
def make_stage(tmp_path: Path, server: DevServer) -> Iterator[MakeStage]:
    """Makes gateways whose processes end with the test, and none of which may ever show a traceback."""
    made: list[GatewayStage] = []

    def make(**settings: object) -> GatewayStage:
        made.append(GatewayStage(tmp_path / f"gateway-{len(made)}", server, **settings))
        return made[-1]

    yield make
    for stage in made:
        stage.close()
        assert "Traceback" not in stage.said
        assert "GTW07" not in stage.said
