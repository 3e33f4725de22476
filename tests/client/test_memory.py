"""Memory that runs out is a failure of what was being done, and never the end of the client."""

from __future__ import annotations

import logging

import pytest

from world import NEW, Stage, World

from .acting import client_of, run_for, started, with_deployment

KINDS = ["auth", "inventory", "next", "next v2", "status downloading", "status installing"]


def short_of_memory(world: World, kind: str, *, times: int) -> None:
    """Start the client again, and let memory run out in the next requests of a kind."""
    world.client = world.new_client()
    first = world.transport.counts[kind] + 1

    def run_out(a_kind: str, number: int) -> None:
        if a_kind == kind and number < first + times:
            raise MemoryError

    world.transport.before_request = run_out


@pytest.mark.parametrize("kind", KINDS)
def test_request(stage: Stage, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """A request for which there is no memory is tried again until it works."""
    caplog.set_level(logging.INFO, "mender_client")
    world = with_deployment(World(stage))
    short_of_memory(world, kind, times=3)
    while not client_of(world).has_handed_over:
        world.clock.seconds += client_of(world).step()
    assert "this device has too little memory; free some memory" in caplog.text


def test_for_good(stage: Stage) -> None:
    """A poll that always runs out of memory is retried as rarely as one without a reply."""
    world = started(World(stage))
    short_of_memory(world, "next v2", times=1_000_000)
    before = world.transport.counts["next v2"]
    run_for(world, 24 * 3600)
    assert 24 <= world.transport.counts["next v2"] - before < 1000


def test_download(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Memory that runs out in a download fails its deployment, and the client goes on."""
    world = with_deployment(World(stage))
    short_of_memory(world, "download", times=1)
    while not world.server.is_over:
        run_for(world, 60)
    assert "failure" == world.server.status
    assert "this device has too little memory for it" in caplog.text
    world.server.deploy(NEW)
    client_of(world).request_poll()
    client_of(world).step()
    assert client_of(world).has_handed_over
