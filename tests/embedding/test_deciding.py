"""Decisions of operators about updates, in a program that embeds the client."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

import pytest

from mender_client import BusyError, Client, GatePoint, NothingToDecideError
from mender_devserver import DevServer
from waiting import wait_until

from .conftest import Embed, wait_for_poll


def only_device(server: DevServer) -> str:
    """The device that the program has registered."""
    (device,) = server.devices()
    return device.id


def held(server: DevServer, embed: Embed) -> tuple[Client, str]:
    """A client with an update that waits before its download."""
    client = embed(lambda artifact, deployment: True, poll_seconds=3600)
    client.step()
    deployment = server.deploy("release-2", [only_device(server)])
    client.pause("anna", "the machine runs", is_all=True)
    for _ in range(2):
        client.step()
    return client, deployment


def test_pause_and_unpause(server: DevServer, embed: Embed) -> None:
    """A paused update waits, even after a restart of the program, which can look up the gate and the reason."""
    client, deployment = held(server, embed)
    waiting = client.waiting
    assert waiting is not None
    assert (GatePoint.DOWNLOAD, "paused by anna: the machine runs") == (waiting.point, waiting.reason)
    client = embed(lambda artifact, deployment: True)
    client.step()
    assert client.waiting is not None
    assert "all updates: no longer on hold" == client.unpause("anna", is_all=True)
    for _ in range(2):
        client.step()
    assert "success" == server.statuses(deployment, only_device(server))[-1]
    assert client.waiting is None


def test_decisions_from_another_thread(server: DevServer, embed: Embed) -> None:
    """A decision in another thread takes effect in ``run`` at once, although it would wait for another hour."""
    client, deployment = held(server, embed)
    device = only_device(server)
    client.postpone(datetime.now(timezone.utc) + timedelta(hours=4), "bert", is_all=True)
    server.clear_requests()
    running = threading.Thread(target=client.run)
    running.start()
    try:
        wait_for_poll(server)
        client.refuse("bert", "wrong machine", is_all=True)
        wait_until(lambda: "failure" in server.statuses(deployment, device))
    finally:
        client.stop()
        running.join()
    assert "wrong machine" in str(server.log(deployment, device))


def test_nothing_in_progress(embed: Embed) -> None:
    """A decision about the update in progress is an error if there is none."""
    with pytest.raises(NothingToDecideError):
        embed().approve("anna")


def test_step_by_step(server: DevServer, embed: Embed) -> None:
    """A program that calls download() gets an error while the update waits at a gate, and can try again later."""
    client = embed()
    client.authorise()
    server.deploy("release-2", [only_device(server)])
    client.pause("anna", is_all=True)
    assert client.check() is not None
    with pytest.raises(BusyError, match="is waiting at a gate"):
        client.download()
    client.unpause("anna", is_all=True)
    assert client.check() is not None
    assert client.download() is not None
