"""A server, a caller and a device for each test that wants sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devserver.caller import Caller, Gadget, calling, make_artifact
from mender_devserver import DevServer
from ports import restartable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that speaks plain HTTP and accepts everybody; TLS has tests of its own."""
    with restartable(tmp_path / "server", tls=False, auto_accept=True) as running:
        yield running


@pytest.fixture
def caller() -> Iterator[Caller]:
    """A caller for plain HTTP."""
    with calling() as made:
        yield made


@pytest.fixture
def gadget(server: DevServer, caller: Caller) -> Gadget:
    """An accepted device with a token."""
    made = Gadget(caller, server.url)
    made.authorize()
    return made


@pytest.fixture
def release(server: DevServer, gadget: Gadget, tmp_path: Path) -> str:
    """The id of a deployment of ``release-2`` to the device."""
    server.upload(make_artifact(tmp_path / "release-2.mender", "release-2"))
    return server.deploy("release-2")
