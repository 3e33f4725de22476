"""Small helpers with which a test plays the device's service manager."""

from __future__ import annotations

from collections.abc import Callable

from mender_client.client.agent import Agent
from world import NEW, World


def client_of(world: World) -> Agent:
    """The client that runs."""
    assert world.client is not None
    return world.client


def started(world: World) -> World:
    """A world whose device is up and known to the server: first inventory sent, first poll done."""
    while world.client is None or (not world.transport.requests and world.turns < 3):
        world.turn()
    return world


def run_for(world: World, seconds: float, *, each: Callable[[], None] = lambda: None) -> None:
    """Let the client live for a while; only it runs."""
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
    """Every request for a deployment so far, by its form."""
    return [
        f"{request.method} {request.url.partition('/devices/')[2].partition('/')[0]}"
        for request in world.transport.sent
        if "/deployments/next" in request.url
    ]
