"""When and what the client tells about the device."""

from __future__ import annotations

import logging

import pytest

from mender_client.errors import StorageError
from world import NEW, Answer, Stage, World, at

from .acting import client_of, kinds_since, run_for, started, with_deployment

INTERVAL = 8 * 3600.0


def sent_since(world: World, number: int) -> int:
    """How many inventories went out."""
    return kinds_since(world, number).count("inventory")


def test_what_is_sent(stage: Stage) -> None:
    """The scripts' attributes go out together with the device's own; a repeated key makes a list."""
    world = World(stage)
    world.device.attributes = [("ip", "1"), ("ip", "2"), ("device_type", "a lie")]
    started(world)
    assert {
        "device_type": "board",
        "artifact_name": "release-1",
        "mender_client_version": "1.0",
        "ip": ["1", "2"],
    } == world.server.device.inventory


def test_unchanged_is_skipped(stage: Stage) -> None:
    """An inventory that the server has accepted under the same token is not sent again."""
    world = started(World(stage))
    before = len(world.transport.requests)
    run_for(world, 2.5 * INTERVAL)
    assert 0 == sent_since(world, before)


def test_changed_is_sent(stage: Stage) -> None:
    """A changed inventory is sent when its interval is over."""
    world = started(World(stage))
    before = len(world.transport.requests)
    world.device.attributes.append(("kernel", "6.2"))
    run_for(world, 1.2 * INTERVAL)
    assert 1 == sent_since(world, before)


def test_forced(stage: Stage) -> None:
    """Who asks for it gets an inventory sent, changed or not, once."""
    world = started(World(stage))
    before = len(world.transport.requests)
    client_of(world).request_inventory()
    run_for(world, 1.2 * INTERVAL)
    assert 1 == sent_since(world, before)


def test_forced_and_failed(stage: Stage) -> None:
    """An inventory that was asked for and could not be sent is sent later."""
    world = started(World(stage))
    world.transport.rules.append(at("inventory", Answer(500), 2))
    before = len(world.transport.requests)
    client_of(world).request_inventory()
    run_for(world, 600)
    assert 2 == sent_since(world, before)


@pytest.mark.parametrize("is_noticed", [True, False])
def test_decommissioned_and_accepted_again(stage: Stage, is_noticed: bool) -> None:
    """A device that was forgotten and accepted anew sends its inventory afresh, soon."""
    world = started(World(stage))
    world.server.state.devices.auto_accept = not is_noticed
    world.server.state.decommission(world.server.device.id)
    before = len(world.transport.requests)
    client_of(world).request_poll()
    client_of(world).step()
    if is_noticed:
        world.server.state.devices.accept(world.server.device.id)
    run_for(world, 3600)
    assert 1 == sent_since(world, before)
    assert "board" == world.server.device.inventory["device_type"]


def test_after_each_deployment(stage: Stage) -> None:
    """After a deployment the inventory is sent with the new name."""
    world = with_deployment(World(stage))
    world.live()
    assert NEW == world.server.device.inventory["artifact_name"]


def test_left_out(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What the server would refuse is left out, with one warning that names it."""
    world = World(stage)
    world.device.attributes = [(f"key{number}", "x") for number in range(120)]
    started(world)
    assert 100 == len(world.server.device.inventory)
    assert "left out" in caplog.text
    assert "key97" in caplog.text
    assert "and 13 more" in caplog.text
    caplog.clear()
    client_of(world).request_inventory()
    client_of(world).step()
    assert "left out" not in caplog.text
    world.device.attributes = [("n" * 2000, "x")]
    client_of(world).request_inventory()
    client_of(world).step()
    assert "left out" in caplog.text


def test_no_device_type(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Without a device type nothing is said that could end deployments; the log says what is missing."""
    caplog.set_level(logging.WARNING, "mender_client")
    world = World(stage)
    world.device.provides_error = StorageError("cannot find the device type in /x; write one")
    started(world)
    assert ["auth"] == kinds_since(world, 0)
    assert "cannot find the device type" in caplog.text
    world.device.provides_error = None
    run_for(world, 400)
    assert {"inventory", "next"} <= set(kinds_since(world, 0))
