"""When the client sends the inventory, and what it contains."""

from __future__ import annotations

import json
import logging

import pytest

from mender_client.core.wire.messages import Request
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
    """A requested inventory is sent once, even if it has not changed."""
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
    """A device that was removed and accepted again soon sends its inventory again."""
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


def refusing(world: World, *refused: tuple[str, str]) -> list[int]:
    """Let the server refuse every inventory that has one of these attributes; returns how many each request had."""
    counts: list[int] = []

    def answer(request: Request) -> Answer | None:
        if request.url.endswith("/inventory/device/attributes"):
            attributes = [(one["name"], one["value"]) for one in json.loads(request.body)]
            counts.append(len(attributes))
            if set(attributes) & set(refused):
                return Answer(400, body=b'{"error": "value: not supported"}')
        return None

    world.transport.answer_to = answer
    return counts


def send_inventory(world: World) -> None:
    """Let the client send the inventory now."""
    client_of(world).request_inventory()
    client_of(world).step()


@pytest.mark.parametrize("bad", [[0], [50], [96], [3, 4], [0, 42, 96]])
def test_refused_attributes(stage: Stage, caplog: pytest.LogCaptureFixture, bad: list[int]) -> None:
    """What the server refuses is found by halving, left out and named, once; the rest is sent."""
    caplog.set_level(logging.WARNING, "mender_client")
    world = World(stage)
    world.device.attributes = [(f"key{number}", "x") for number in range(97)]
    counts = refusing(world, *[(f"key{number}", "x") for number in bad])
    started(world)
    assert 100 - len(bad) == len(world.server.device.inventory)
    assert len(counts) <= 1 + 9 * len(bad)
    named = ", ".join(f"key{number}" for number in sorted(bad))
    (record,) = caplog.records
    assert f"left out {named}, which the server rejects: " in record.getMessage()
    assert "the server answered 400 (value: not supported)" in record.getMessage()
    caplog.clear()
    counts.clear()
    send_inventory(world)
    assert [100 - len(bad)] == counts
    assert [] == caplog.records


def test_refused_until_its_value_changes(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A refused attribute is sent again when its value has changed; refused then, too, it is known by its name."""
    caplog.set_level(logging.WARNING, "mender_client")
    world = World(stage)
    world.device.attributes = [(f"key{number}", "x") for number in range(50)]
    counts = refusing(world, ("key7", "x"), ("key7", "y"))
    started(world)
    assert "key7" not in world.server.device.inventory
    for value, expected in (("y", [53, 52]), ("y", [52]), ("z", [53])):
        counts.clear()
        world.device.attributes[7] = ("key7", value)
        send_inventory(world)
        assert expected == counts
    assert "z" == world.server.device.inventory["key7"]
    assert 1 == len(caplog.records)


def test_refused_by_a_gateway(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Where every inventory is refused, attributes are searched for once, and none is left out afterwards."""
    caplog.set_level(logging.WARNING, "mender_client")
    world = World(stage)
    world.device.attributes = [(f"key{number}", "x") for number in range(97)]
    counts: list[int] = []

    def refuse(request: Request) -> Answer | None:
        if not request.url.endswith("/inventory/device/attributes"):
            return None
        counts.append(len(json.loads(request.body)))
        return Answer(400)

    world.transport.answer_to = refuse
    started(world)
    assert len(counts) <= 30
    counts.clear()
    run_for(world, 24 * 3600)
    assert {100} == set(counts)
    assert "left out" not in caplog.text
    world.transport.answer_to = lambda request: None
    send_inventory(world)
    assert 100 == len(world.server.device.inventory)


@pytest.mark.parametrize("refusals", range(1, 12))
def test_refused_by_a_gateway_for_a_moment(stage: Stage, caplog: pytest.LogCaptureFixture, refusals: int) -> None:
    """If a gateway refuses only the first requests, no attribute is considered the cause."""
    caplog.set_level(logging.WARNING, "mender_client")
    world = World(stage)
    world.device.attributes = [(f"key{number}", "x") for number in range(97)]
    world.transport.rules.append(at("inventory", Answer(400), *range(1, refusals + 1)))
    started(world)
    run_for(world, 24 * 3600)
    assert 100 == len(world.server.device.inventory)
    assert "left out" not in caplog.text


def test_search_that_breaks_off(stage: Stage) -> None:
    """A search in which the server is in trouble is made again, and ends with all that it takes."""
    world = World(stage)
    world.device.attributes = [(f"key{number}", "x") for number in range(97)]
    refusing(world, ("key50", "x"))
    world.transport.rules.append(at("inventory", Answer(500), 5))
    started(world)
    run_for(world, 24 * 3600)
    assert 99 == len(world.server.device.inventory)


def test_no_device_type(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Without a device type, nothing that could end deployments is sent; the log names what is missing."""
    caplog.set_level(logging.WARNING, "mender_client")
    world = World(stage)
    world.device.provides_error = StorageError("cannot find the device type in /x; write one")
    started(world)
    assert ["auth"] == kinds_since(world, 0)
    assert "cannot find the device type" in caplog.text
    world.device.provides_error = None
    run_for(world, 400)
    assert {"inventory", "next"} <= set(kinds_since(world, 0))
