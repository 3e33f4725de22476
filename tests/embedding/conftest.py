"""A dev server, and a program's directory with a key that is generated once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mender_client import Client, DeviceDescription, InstallFunction
from mender_client.system.crypto import choose_backend
from mender_client.system.keys import DeviceKey
from mender_devserver import DevServer
from ports import restartable
from program.stage import make_artifact
from waiting import wait_until

Embed = Callable[..., Client]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that accepts every device and has release-2."""
    with restartable(tmp_path / "server", tls=False, auto_accept=True) as server:
        server.upload(make_artifact(tmp_path / "release-2.mender", "release-2"))
        yield server


def wait_for_poll(server: DevServer) -> None:
    """Wait until the server has been asked for a deployment since ``clear_requests``."""
    wait_until(lambda: any(exchange.kind == "next" for exchange in server.requests), what="a poll")


@pytest.fixture
def device() -> DeviceDescription:
    """A device as a program describes it."""
    return DeviceDescription(
        identity={"serial": "1234"},
        device_type="testdev",
        artifact_name="release-1",
        inventory={"colour": "blue", "port": ["1", "2"]},
    )


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device key."""
    path = tmp_path_factory.mktemp("key") / "mender-agent.pem"
    DeviceKey(path, choose_backend()).ensure(replace=False)
    return path


@pytest.fixture
def embed(server: DevServer, device: DeviceDescription, key: Path, tmp_path: Path) -> Iterator[Embed]:
    """A function that starts a client in the program's directory; another call is a restart of the program."""
    data, clients = tmp_path / "data", list[Client]()
    data.mkdir(mode=0o700)
    shutil.copy(key, data)

    def start(install: InstallFunction | None = None, *, poll_seconds: int = 1, **others: Any) -> Client:
        if clients:
            clients.pop().close()
        settings: dict[str, object] = {
            "ServerURL": server.url,
            "UpdatePollIntervalSeconds": poll_seconds,
            "InventoryPollIntervalSeconds": poll_seconds,
        }
        settings |= others.pop("settings", {})
        client = Client(settings, data=data, device=device, install=install, **others)
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.close()
