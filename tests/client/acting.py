"""Helpers for tests that take the place of the device's service manager."""

from __future__ import annotations

from collections.abc import Callable

from mender_client.client.agent import Agent
from world import NEW, World


def client_of(world: World) -> Agent:
    """The running client."""
    assert world.client is not None
    return world.client


def started(world: World) -> World:
    """A world whose device is up and known to the server: first inventory sent, first poll done."""
    while world.client is None or (not world.transport.requests and world.turns < 3):
        world.turn()
    return world


def run_for(world: World, seconds: float, *, each: Callable[[], None] = lambda: None) -> None:
    """Run the client, and nothing else, for a number of seconds."""
    end = world.clock.seconds + seconds
    while world.clock.seconds < end:
        wait = client_of(world).step()
        each()
        world.clock.seconds += max(wait, 0.1)


def with_deployment(world: World, artifact: str = NEW) -> World:
    """A started world with a deployment waiting."""
    world.server.offer(world.stage.path(artifact), NEW)
    started(world)
    world.server.deploy(NEW)
    return world


def kinds_since(world: World, number: int) -> list[str]:
    """The kinds of the requests after the first ``number``."""
    return [kind for _, kind in world.transport.requests[number:]]


def next_requests(world: World) -> list[str]:
    """The method and the API version of every request for a deployment so far."""
    return [
        f"{request.method} {request.url.partition('/devices/')[2].partition('/')[0]}"
        for request in world.transport.sent
        if "/deployments/next" in request.url
    ]
