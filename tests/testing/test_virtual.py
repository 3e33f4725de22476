"""A virtual device is a device for the server, and a few lines of a test."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mender_client import Deployment
from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact
from mender_devserver import DevServer
from mender_devserver.testing import VirtualDevice
from waiting import PATIENCE_S

IMAGE = b"image" * 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that accepts all devices and offers release-2."""
    with DevServer(tmp_path / "server", tls=False, auto_accept=True) as running:
        path = tmp_path / "release-2.mender"
        with path.open("wb") as file:
            source = PayloadSource("rootfs.img", len(IMAGE), lambda: io.BytesIO(IMAGE))
            write_artifact(file, rootfs_image("release-2", ["virtual"], compression=Compression.NONE), [source])
        running.upload(path)
        yield running


def test_device_updates(server: DevServer, tmp_path: Path) -> None:
    """A device is identified by its directory's name, sends its inventory, updates, and reports the new version."""
    with VirtualDevice(server.url, tmp_path / "one", inventory={"kernel": "6.1"}) as device:
        device.run_until(lambda: bool(server.devices() and server.devices()[0].inventory), timeout_seconds=PATIENCE_S)
        assert {"name": "one"} == server.devices()[0].identity
        assert "6.1" == server.devices()[0].inventory["kernel"]
        deployment_id, device_id = server.deploy("release-2"), server.devices()[0].id
        device.run_until(lambda: server.status(deployment_id, device_id) == "success", timeout_seconds=PATIENCE_S)
        assert ["downloading", "installing", "success"] == server.statuses(deployment_id, device_id)
        assert "release-2" == device.artifact_name


def test_device_fails_as_it_is_told(server: DevServer, tmp_path: Path) -> None:
    """An exception in the simulated installation fails the deployment, and its text is in the log."""

    def install(artifact: Path, deployment: Deployment) -> bool:
        assert artifact.exists()
        raise RuntimeError(f"{deployment.artifact_name} does not boot")

    with VirtualDevice(server.url, tmp_path / "one", install=install) as device:
        device.run_until(lambda: bool(server.devices()), timeout_seconds=PATIENCE_S)
        deployment_id, device_id = server.deploy("release-2"), server.devices()[0].id
        device.run_until(lambda: server.status(deployment_id, device_id) == "failure", timeout_seconds=PATIENCE_S)
        assert "release-2 does not boot" in str(server.log(deployment_id, device_id))
        assert "release-1" == device.artifact_name


def test_devices_live_side_by_side(server: DevServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Several devices run in one process, each in its own thread; none has a line of another's log."""

    def install(artifact: Path, deployment: Deployment) -> bool:
        raise RuntimeError(f"{artifact.parent.name} does not boot")

    caplog.set_level(logging.INFO, logger="mender_client")
    names = ("one", "two", "three")
    devices = [VirtualDevice(server.url, tmp_path / name, install=install).start() for name in names]
    try:
        server.wait_until(lambda: len(server.devices()) == len(names))
        deployment_id = server.deploy("release-2")
        server.wait_until(lambda: server.deployments()[0].status == "finished", timeout_seconds=PATIENCE_S)
    finally:
        for device in devices:
            device.close()
    for known in server.devices():
        log = str(server.log(deployment_id, known.id))
        assert [known.identity["name"]] == [name for name in names if f"{name} does not boot" in log]


def test_device_comes_back(server: DevServer, tmp_path: Path) -> None:
    """A second device on the same directory is the same device to the server."""
    for _ in range(2):
        with VirtualDevice(server.url, tmp_path / "one") as device:
            device.run_until(
                lambda: bool(server.devices() and server.devices()[0].inventory), timeout_seconds=PATIENCE_S
            )
    assert 1 == len(server.devices())
    assert 1 == len(server.devices()[0].auth_sets)


def test_patience_ends(server: DevServer, tmp_path: Path) -> None:
    """A condition that isn't met in time is an error, not a hanging test."""
    with (
        VirtualDevice(server.url, tmp_path / "one") as device,
        pytest.raises(TimeoutError, match=r"cannot wait longer than 0.1 s"),
    ):
        device.run_until(lambda: False, timeout_seconds=0.1)
