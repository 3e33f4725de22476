"""Authorise, poll, wait: the client between deployments."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from urllib.parse import urlsplit

import pytest

from mender_client.core.model import Software
from mender_client.core.standalone import Position, StandaloneUpdate
from mender_client.dataclass import replace
from mender_client.errors import Interrupted, KeyFileError, ScriptError
from mender_devserver.deployments import Poll
from world import URL, Answer, Lost, Options, Refused, Stage, World, at

from .acting import client_of, kinds_since, next_requests, run_for, started, with_deployment

HOUR = 3600.0


def test_first_step(stage: Stage) -> None:
    """A client that starts authorises, sends its inventory and polls, in this order."""
    world = started(World(stage))
    assert ["auth", "inventory", "next v2", "next"] == kinds_since(world, 0)


def test_forms_are_tried_and_remembered(stage: Stage) -> None:
    """The newest form of the request is tried first, then v1 POST, then v1 GET; the one that works is remembered."""
    world = World(stage)
    world.transport.rules.append(lambda kind, number: Answer(405) if kind == "next" and number == 1 else None)
    started(world)
    assert ["POST v2", "POST v1", "GET v1"] == next_requests(world)
    client_of(world).request_poll()
    client_of(world).step()
    assert ["GET v1"] == next_requests(world)[3:]


def test_newest_form(stage: Stage) -> None:
    """A server that knows the newest form is asked in no other."""
    world = World(stage)
    world.server.state.v2 = True
    started(world)
    assert ["POST v2"] == next_requests(world)


def test_no_form_works(stage: Stage) -> None:
    """A server that knows none of the forms is asked again later, from the newest on."""
    world = World(stage)
    world.transport.rules.append(at("next", Answer(404)))
    started(world)
    run_for(world, 100)
    assert ["POST v2", "POST v1", "GET v1"] * 3 == next_requests(world)[:9]


def test_one_more_authorisation(stage: Stage) -> None:
    """On a 401 the client authorises once more and repeats the call once."""
    world = started(World(stage))
    world.server.state.devices.revoke_tokens(world.server.device.id)
    before = len(world.transport.requests)
    client_of(world).request_poll()
    client_of(world).step()
    assert ["next", "auth", "next"] == kinds_since(world, before)


def test_second_refusal(stage: Stage) -> None:
    """A second 401 is not repeated in the same step but waited out, and the next step begins with a new token."""
    world = World(stage)
    world.transport.rules.append(at("next v2", Answer(401), 1, 2))
    started(world)
    assert ["auth", "inventory", "next v2", "auth", "next v2"] == kinds_since(world, 0)
    run_for(world, 61)
    assert "auth" == kinds_since(world, 5)[0]


def test_waiting_for_acceptance(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A device that nobody has accepted asks again and again, and says only once for what it waits."""
    caplog.set_level(logging.INFO, "mender_client")
    world = World(stage)
    world.server.state.devices.auto_accept = False
    started(world)
    run_for(world, 2 * HOUR)
    assert {"auth"} == set(kinds_since(world, 0))
    assert 1 == caplog.text.count("pending acceptance")
    world.server.state.devices.accept(world.server.device.id)
    run_for(world, 400)
    assert {"auth", "inventory", "next v2", "next"} == set(kinds_since(world, 0))


@pytest.mark.parametrize("error", [ScriptError("cannot run it"), KeyFileError("cannot read it")])
def test_no_identity_no_request(stage: Stage, error: ScriptError) -> None:
    """Without an identity no request is sent, and the client looks again later."""
    world = World(stage)
    world.device.identity_error = error
    started(world)
    assert [] == kinds_since(world, 0)
    world.device.identity_error = None
    run_for(world, 400)
    assert "auth" in kinds_since(world, 0)


def test_several_servers(stage: Stage) -> None:
    """Servers are tried in order, and after a failure the first one is tried first again."""
    world = World(stage, Options(server_urls=("https://first.invalid", URL)))
    world.transport.hosts_down.add("first.invalid")
    started(world)
    assert ["auth", "auth", "inventory"] == kinds_since(world, 0)[:3]
    world.transport.hosts_down = {"mender.invalid"}
    client_of(world).request_poll()
    run_for(world, 400)
    assert world.transport.sent[-1].url.startswith("https://first.invalid")


def authorised_by(world: World) -> list[str]:
    """The hosts that were asked for a token, in order."""
    return [urlsplit(request.url).netloc for request in world.transport.sent if "auth_requests" in request.url]


def test_server_in_trouble(stage: Stage) -> None:
    """A server that issues tokens but replies with 5xx is tried last; after an expired token, the first is first."""
    world = World(stage, Options(server_urls=("https://first.invalid", URL)))
    world.transport.rules.append(at("next v2", Answer(503), 1))
    started(world)
    run_for(world, 400)
    assert ["first.invalid", "mender.invalid"] == authorised_by(world)
    world.server.state.devices.revoke_tokens(world.server.device.id)
    client_of(world).request_poll()
    client_of(world).step()
    assert ["first.invalid"] == authorised_by(world)[2:]


def test_one_server_in_trouble(stage: Stage) -> None:
    """The token of the only server is kept while the server has problems."""
    world = World(stage)
    world.transport.rules.append(at("next v2", Answer(503), 1))
    started(world)
    run_for(world, 400)
    assert ["mender.invalid"] == authorised_by(world)


def test_all_servers_down(stage: Stage) -> None:
    """When no server answers, all have been tried."""
    world = World(stage, Options(server_urls=("https://first.invalid", URL)))
    world.transport.hosts_down = {"first.invalid", "mender.invalid"}
    started(world)
    assert ["auth", "auth"] == kinds_since(world, 0)


@pytest.mark.parametrize("kind", ["auth", "inventory", "next v2"])
def test_retry_after_wins(stage: Stage, kind: str) -> None:
    """A server that answers 429 with Retry-After is asked again no sooner than it wants."""
    world = World(stage)
    world.transport.rules.append(at(kind, Answer(429, {"retry-after": "1000"}), 1))
    started(world)
    run_for(world, 2 * HOUR)
    first, second, *_ = [seconds for seconds, a_kind in world.transport.requests if a_kind == kind]
    assert 1000 <= second - first <= 1110


@pytest.mark.parametrize("fault", [Refused(), Lost(), Answer(500), Answer(502, {}, b"bad gateway"), Answer(200)])
def test_back_off(stage: Stage, fault: Refused | Lost | Answer) -> None:
    """A failing server is asked after about a minute, and the waiting time grows to the cap, not beyond."""
    world = World(stage)
    world.transport.rules.append(at("auth", fault))
    started(world)
    run_for(world, 4 * HOUR)
    times = [seconds for seconds, _ in world.transport.requests]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert 40 <= gaps[0] <= 60
    assert max(gaps) <= 300
    assert min(gaps[-20:]) >= 200


def test_outage_of_hours(stage: Stage) -> None:
    """An outage of a day costs a bounded number of requests, and afterwards everything goes on."""
    world = started(World(stage))
    world.transport.is_down = True
    before = len(world.transport.requests)
    run_for(world, 24 * HOUR)
    assert len(world.transport.requests) - before <= 24 * 18
    world.transport.is_down = False
    run_for(world, 600)
    assert "next" == kinds_since(world, before)[-1]


def test_a_fleet_does_not_return_in_step(stage: Stage) -> None:
    """Devices that lost the same server at the same moment come back spread over the last third of their wait."""
    returns: Counter[int] = Counter()
    for seed in range(200):
        world = World(stage, seed=seed)
        world.transport.is_down = True
        started(world)
        returns[int(world.clock.seconds)] += 1
    assert max(returns.values()) <= 30
    assert len(returns) >= 15


@pytest.mark.parametrize("years", [-30, 30])
def test_clock_jumps(stage: Stage, years: int) -> None:
    """A wall clock that jumps by years neither stalls the client nor makes it storm."""
    world = started(World(stage))
    before = len(world.transport.requests)
    world.clock.wall_error = timedelta(days=365 * years)
    run_for(world, 8 * HOUR)
    assert 14 <= kinds_since(world, before).count("next") <= 18


def test_interval_has_jitter(stage: Stage) -> None:
    """A quiet device polls about every interval, give or take a twentieth, and closes idle connections meanwhile."""
    world = started(World(stage))
    before = len(world.transport.requests)
    run_for(world, 10 * HOUR)
    times = [seconds for seconds, kind in world.transport.requests[before:] if kind == "next"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert 1710 <= min(gaps) < max(gaps) <= 1890
    assert world.transport.rests >= len(gaps)


def test_failures_are_told_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """An outage is one warning in the log, not one a minute."""
    world = started(World(stage))
    world.transport.is_down = True
    caplog.set_level(logging.WARNING, "mender_client")
    run_for(world, 12 * HOUR)
    assert len(caplog.records) <= 3


def test_poll_on_request(stage: Stage) -> None:
    """A requested poll is sent in the next step, without an inventory."""
    world = started(World(stage))
    world.clock.seconds -= 1000
    before = len(world.transport.requests)
    client_of(world).step()
    assert [] == kinds_since(world, before)
    client_of(world).request_poll()
    client_of(world).step()
    assert ["next"] == kinds_since(world, before)


def test_conflict(stage: Stage) -> None:
    """After a 409 to the request for a fresh link the deployment is over on this device, and the client polls on."""
    world = with_deployment(World(stage))
    world.transport.rules += [at("status downloading", Answer(500), 1), at("download", Answer(403), 1)]
    client_of(world).request_poll()
    client_of(world).step()
    assert world.journal.load().update is not None
    assert world.server.on_device is not None
    world.server.on_device.poll = Poll("what-this-device-never-said", "board")
    before = len(world.transport.requests)
    run_for(world, 120)
    assert ["status downloading", "status downloading", "download", "next", "next"] == kinds_since(world, before)
    assert (None, (), "failure") == (
        world.journal.load().update,
        world.journal.load().outbox,
        world.server.status,
    )


def test_same_words_until_the_end(stage: Stage) -> None:
    """A deployment under way is asked for with the data of its first poll, whatever the device would say now."""
    world = with_deployment(World(stage, Options(others={"rootfs.version": "1"})))
    world.transport.rules.append(at("download", Answer(503)))
    world.clock.stops_after_sleeps = 2
    client_of(world).request_poll()
    with pytest.raises(Interrupted):
        client_of(world).step()
    first = world.transport.sent[-2].body
    world.name("A", "changed-meanwhile")
    world.clock.stops_after_sleeps = 4
    world.client = world.new_client()
    with pytest.raises(Interrupted):
        world.client.step()
    polls = [one.body for one in world.transport.sent if one.url.endswith("v1/deployments/device/deployments/next")]
    assert b"release-1" in polls[-1]
    assert first is not None
    assert polls[-1] == polls[-2]


def test_another_deployment_under_way(stage: Stage) -> None:
    """When the server offers another deployment instead of the one under way, that one is dropped."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("status downloading", Answer(500), 1))
    client_of(world).request_poll()
    client_of(world).step()
    first = world.server.deployment_id
    world.server.abort()
    second = world.server.deploy("release-2")
    world.live()
    assert ("success", 0, 1) == (world.server.status, world.starts[first], world.starts[second])


def test_nothing_to_do(stage: Stage) -> None:
    """A step that has nothing to do says how long to wait and sends nothing."""
    world = started(World(stage))
    before = len(world.transport.requests)
    world.clock.seconds -= 1000
    assert client_of(world).step() > 900
    assert [] == kinds_since(world, before)


def test_401_to_a_good_token_is_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A server that refuses a token that it has just given is named in the log, once; waiting for acceptance is not."""
    world = started(World(stage))
    world.transport.rules.append(at("next", Answer(401)))
    caplog.clear()
    for _ in range(4):
        client_of(world).request_poll()
        client_of(world).step()
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert 1 == sum("cannot check for a deployment: the server answered 401" in one.getMessage() for one in warnings)


def test_software_of_the_last_artifact(stage: Stage) -> None:
    """After a success, polls and inventory hold what the Artifact provides, without the sub-updater's help."""
    world = with_deployment(World(stage, Options(others={"rootfs-image.version": "release-1", "color": "blue"})))
    world.live()
    assert "success" == world.server.status
    provides = world.journal.load().provides(world.device.provides())
    digest = provides.others["rootfs-image.checksum"]
    assert {"rootfs-image.version": "release-2", "rootfs-image.checksum": digest, "color": "blue"} == provides.others
    inventory = world.server.device.inventory
    assert ("release-2", "blue") == (inventory["rootfs-image.version"], inventory["color"])
    world.name(world.running, "release-1")  # a roll back outside of the client
    assert {"rootfs-image.version": "release-1", "color": "blue"} == world.journal.load().provides(
        world.device.provides()
    ).others


def test_standalone_update(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """While an update without a server is in progress no deployment is asked for, which is said once; then again."""
    world = with_deployment(World(stage))
    pending = StandaloneUpdate("app", Software("by-hand"), Position.INSTALLED, "")
    world.journal.update(lambda record: replace(record, standalone=pending))
    before = len(world.transport.requests)
    for _ in range(3):
        client_of(world).request_poll()
        client_of(world).step()
    assert "next" not in kinds_since(world, before)
    assert 1 == sum("no update poll: by-hand is being installed" in one.getMessage() for one in caplog.records)
    world.journal.update(lambda record: replace(record, standalone=None))
    world.live()
    assert "success" == world.server.status
