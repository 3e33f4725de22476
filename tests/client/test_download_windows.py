"""Downloads by the clock: one that leaves its window stops, and goes on where it stopped when it opens again."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from mender_client.core.artifact import rootfs_image
from mender_client.core.gates import GatePoint
from world import NEW, ModuleOptions, Options, Stage, World
from world.clock import START
from world.stage import build_artifact

from .acting import client_of, with_deployment
from .by_the_clock import downloads_in

RATE, WINDOW = 50, "01:00-01:05 50"
"""The Artifact takes longer than that, so it takes two windows."""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage with a large Artifact."""
    stage = Stage(tmp_path)
    stage.add(NEW, build_artifact(rootfs_image(NEW, ("board",)), b"x" * 20_000))
    return stage


def world_of(stage: Stage, *, modules: bool, is_spooled: bool = True) -> World:
    """A device that downloads for five minutes each night, and a large Artifact that waits for it."""
    options = Options(modules=ModuleOptions() if modules else None, has_boot_service=not modules, is_spooled=is_spooled)
    world = with_deployment(World(stage, options))
    downloads_in(WINDOW)(world)
    return world


def until(world: World, day: int, hour: int, minute: int) -> None:
    """Let time pass until then."""
    client_of(world).request_poll()
    end = (datetime(2026, 1, day, hour, minute, tzinfo=timezone.utc) - START).total_seconds()
    while world.clock.seconds < end and world.server.status not in ("success", "failure"):
        world.turn()


FLOWS = pytest.mark.parametrize("modules", [False, True], ids=["handover", "modules"])


@FLOWS
def test_waits_for_its_window(stage: Stage, *, modules: bool) -> None:
    """Outside of its windows no byte is downloaded, and the update says what it waits for and until when."""
    world = world_of(stage, modules=modules)
    until(world, 1, 0, 50)
    update = world.journal.load().update
    assert update is not None
    assert update.waiting is not None
    assert (0, GatePoint.DOWNLOAD, "no download at this time", "2026-01-01T01:00:00+00:00") == (
        world.transport.fetched,
        update.waiting.point,
        update.waiting.reason,
        update.waiting.until,
    )


@FLOWS
def test_leaves_its_window(stage: Stage, *, modules: bool) -> None:
    """A download that leaves its window stops, and is resumed the next night: no byte comes twice."""
    world = world_of(stage, modules=modules)
    until(world, 1, 23, 0)
    assert 300 * RATE == pytest.approx(world.transport.fetched, abs=1024)
    world.live()
    assert ("success", len(stage.content(NEW)), 1) == (
        world.server.status,
        world.transport.fetched,
        world.server.statuses.count("downloading"),
    )


@FLOWS
def test_restarts_between_its_windows(stage: Stage, *, modules: bool) -> None:
    """A client that is started again between two windows waits for the next one, and goes on where it stopped."""
    world = world_of(stage, modules=modules)
    until(world, 1, 12, 0)
    fetched = world.transport.fetched
    world.client = world.new_client()
    until(world, 1, 23, 0)
    assert fetched == world.transport.fetched
    world.live()
    assert ("success", len(stage.content(NEW))) == (world.server.status, world.transport.fetched)


@FLOWS
def test_aborted_between_its_windows(stage: Stage, *, modules: bool) -> None:
    """A deployment that is aborted between two windows ends with the next poll."""
    world = world_of(stage, modules=modules)
    until(world, 1, 12, 0)
    world.server.abort()
    until(world, 1, 14, 0)
    assert ("aborted", None) == (world.server.status, world.journal.load().update)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_stream_in_windows_that_are_too_short(
    stage: Stage, caplog: pytest.LogCaptureFixture, *, is_restarted: bool
) -> None:
    """A stream that starts over in each window is logged, and abandoned after three times the size of the Artifact."""
    world = world_of(stage, modules=True, is_spooled=False)
    nights = 0
    while world.server.status not in ("success", "failure"):
        nights += 1
        until(world, nights, 12, 0)
        if is_restarted:
            world.client = world.new_client()
    assert (6, "failure") == (nights, world.server.status)
    said = [one for one in caplog.messages if "starts over in the next one" in one]
    assert (5, True) == (len(said), "let the Artifact be stored (SpoolArtifact)" in said[0])
    assert "too short: 91.5 KiB were downloaded of an Artifact of 28.5 KiB" in world.journal.load().outcomes[-1].reason


def test_a_stream_begins_anew(stage: Stage) -> None:
    """A stream into an update module starts over in each window, and completes in one that is long enough."""
    world = world_of(stage, modules=True, is_spooled=False)
    until(world, 1, 12, 0)
    first = world.transport.fetched
    until(world, 2, 12, 0)
    assert 2 * first == pytest.approx(world.transport.fetched, abs=1024)
