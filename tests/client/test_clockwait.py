"""A device whose clock is wrong: it waits for the clock, trusts no server meanwhile, and continues once it is set."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mender_client.errors import ErrorKind, NetworkError
from world import Stage, World

from .acting import client_of, started

ANNOUNCED = (
    "waiting until this device's clock is set; until then no certificate is accepted; set the clock, for instance "
    "by NTP [AUT05]"
)
SET = "the clock was set; asking the server again"
OVER = "certificates are valid again; no longer waiting for the clock"


def doubting(world: World, kind: str) -> None:
    """Let every certificate seem out of date while the device's clock is wrong."""

    def refuse(_: str, __: int) -> None:
        if world.clock.wall_error:
            raise NetworkError("cannot reach the server: its certificate is not trusted", kind=ErrorKind(kind))

    world.clock.wall_error = -timedelta(days=9)
    world.transport.before_request = refuse


def steps(world: World, count: int) -> list[float]:
    """Step so often; the waits between."""
    waits = []
    for _ in range(count):
        waits.append(client_of(world).step())
        world.clock.seconds += waits[-1]
    return waits


@pytest.mark.parametrize("kind", ["clock", "certificate-early", "certificate-expired"])
def test_looks_at_the_clock_and_goes_on(stage: Stage, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """The clock is checked ever less often, without requests; once it is set, requests are sent immediately."""
    caplog.set_level("INFO")
    world = started(World(stage))
    doubting(world, kind)
    client_of(world).request_poll()
    before = len(world.transport.requests)
    assert [2.0, 4.0, 8.0, 16.0] == steps(world, 4)
    assert 1 == len(world.transport.requests) - before
    world.clock.wall_error = timedelta()
    steps(world, 1)
    assert 2 <= len(world.transport.requests) - before
    is_evident = kind == "clock"
    assert [is_evident, True, is_evident] == [text in caplog.messages for text in (ANNOUNCED, SET, OVER)]


def test_says_so_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """However many requests fail, the wait for the clock is logged once."""
    world = started(World(stage))
    doubting(world, "clock")
    for _ in range(3):
        client_of(world).request_poll()
        steps(world, 5)
    assert 1 == caplog.messages.count(ANNOUNCED)


def test_other_faults_leave_the_clock_alone(stage: Stage) -> None:
    """If the server can't be reached, the usual retry intervals apply."""
    world = started(World(stage))
    doubting(world, "refused")
    client_of(world).request_poll()
    assert steps(world, 1)[0] > 30
