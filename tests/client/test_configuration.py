"""When the client reports the device's configuration, and what it reports."""

from __future__ import annotations

import json
import logging

import pytest

from world import Answer, Stage, World, at

from .acting import client_of, kinds_since, run_for, started

INTERVAL = 8 * 3600.0


def configured(stage: Stage, text: str) -> World:
    """A started device on which an update module has stored a configuration."""
    world = World(stage)
    world.device.configuration = text
    return started(world)


def reports_since(world: World, number: int) -> int:
    """The number of configuration reports after the first ``number`` requests."""
    return kinds_since(world, number).count("configuration")


def test_configuration_is_reported(stage: Stage) -> None:
    """The stored configuration is reported with the first inventory, and then only after it has changed."""
    world = configured(stage, '{"timezone": "UTC"}')
    assert {"timezone": "UTC"} == world.server.device.reported
    before = len(world.transport.requests)
    run_for(world, 2.5 * INTERVAL)
    assert 0 == reports_since(world, before)
    world.device.configuration = "{}"
    client_of(world).request_inventory()
    run_for(world, INTERVAL)
    assert ({}, 1) == (world.server.device.reported, reports_since(world, before))


def test_device_without_configuration(stage: Stage) -> None:
    """A device that has no configuration reports none."""
    world = started(World(stage))
    assert (None, 0) == (world.server.device.reported, reports_since(world, 0))


UNUSABLE = [
    ("", "it is not JSON"),
    ("[]", "it is not a JSON object"),
    ('{"a": 1}', "the value of 'a' is not a string"),
    ('{"a": null}', "the value of 'a' is not a string"),
    ('{"": "x"}', "the key '' is empty"),
    (json.dumps({f"k{one}": "" for one in range(101)}), "it has 101 keys"),
    (json.dumps({"a": "x" * 4097}), "longer than 4096"),
    ("NaN", "it is not a JSON object"),
    ("[" * 100_000, "it is nested too deeply"),
    ("1" * 5000, "it is not "),  # Python before 3.10.7 can read it
    (json.dumps({f"k{one}": "ä" * 4096 for one in range(100)}), "bytes, more than 1048576"),
]


@pytest.mark.parametrize(("text", "reason"), UNUSABLE, ids=[reason for _, reason in UNUSABLE])
def test_unusable_configuration(stage: Stage, caplog: pytest.LogCaptureFixture, text: str, reason: str) -> None:
    """A configuration that the server would refuse isn't sent; the reason is logged once, and the client polls."""
    with caplog.at_level(logging.WARNING):
        world = configured(stage, text)
        client_of(world).request_inventory()
        run_for(world, INTERVAL)
    assert 0 == reports_since(world, 0)
    (message,) = [message for message in caplog.messages if "INV03" in message]
    assert reason in message
    assert "next" in kinds_since(world, 0)


def test_any_key(stage: Stage) -> None:
    """A configuration is reported whatever its keys and values contain: dots, line ends, NUL, lone surrogates."""
    odd = {"a.b": "c", "a": "", "end\nof line": "\r\n", "\0": "\0", "\ud800": "\udfff", "k" * 4096: "😀" * 4096}
    world = configured(stage, json.dumps(odd))
    assert 1 == reports_since(world, 0)


def test_report_is_repeated(stage: Stage) -> None:
    """A report that the server answers with an error is repeated with the retries of the inventory."""
    world = World(stage)
    world.transport.rules.append(at("configuration", Answer(500), 1, 2))
    world.device.configuration = '{"a": "b"}'
    run_for(started(world), INTERVAL)
    assert ({"a": "b"}, 3) == (world.server.device.reported, reports_since(world, 0))


def test_server_without_the_service(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A server without a configuration service is sent the report with each inventory; this is logged once."""
    world = World(stage)
    world.transport.rules.append(at("configuration", Answer(404)))
    world.device.configuration = '{"a": "b"}'
    with caplog.at_level(logging.WARNING):
        run_for(started(world), 2.5 * INTERVAL)
    assert 1 == sum("no configuration service" in message for message in caplog.messages)
    assert 3 == reports_since(world, 0)
