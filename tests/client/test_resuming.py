"""A restarted client continues from the stored state, whichever process stored it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mender_client.core.machine import Event, State
from mender_client.core.model import Status
from mender_client.errors import Interrupted
from world import NEW, Answer, Options, Refused, Stage, World, at
from world.stores import ARTIFACT, JOURNAL

from .acting import client_of, kinds_since, next_requests, run_for, started, with_deployment


def interrupted(stage: Stage, options: Options | None = None) -> World:
    """A device whose client was killed in the middle of a download."""
    world = with_deployment(World(stage, options))
    world.transport.cut_bodies_at = lambda number: 1500
    world.clock.stops_after_sleeps = 1
    client_of(world).request_poll()
    with pytest.raises(Interrupted):
        client_of(world).step()
    world.transport.cut_bodies_at = lambda number: None
    world.clock.stops_after_sleeps = None
    world.client = world.new_client()
    return world


def stored(world: World) -> dict[str, Any]:
    """The state file."""
    return dict(json.loads(world.disk.read(JOURNAL) or b"{}"))


def test_nothing_is_asked_that_is_known(stage: Stage) -> None:
    """A restarted client resumes the download by the link that is stored, without asking for the deployment again."""
    world = interrupted(stage)
    before = len(world.transport.requests)
    client_of(world).step()
    assert ["auth", "inventory", "status downloading", "download", "status installing"] == kinds_since(world, before)
    assert client_of(world).has_handed_over


def test_link_that_expired_meanwhile(stage: Stage) -> None:
    """A stored link that has expired is replaced by a fresh one, which is stored as well."""
    world = interrupted(stage)
    before, old = len(world.transport.requests), stored(world)["update"]["link"]
    count = world.transport.counts["download"]
    world.transport.rules.append(at("download", Answer(403), count + 1))
    client_of(world).step()
    assert client_of(world).has_handed_over
    assert ["download", "next", "download", "status installing"] == kinds_since(world, before)[3:]
    assert old != stored(world)["update"]["link"]


def test_storage_that_has_moved_meanwhile(stage: Stage) -> None:
    """Where nobody answers at a stored link, the server is asked for a fresh one before the next try."""
    world = interrupted(stage)
    before, count = len(world.transport.requests), world.transport.counts["download"]
    world.transport.rules.append(at("download", Refused(), count + 1))
    client_of(world).step()
    assert ["download", "next", "download", "status installing"] == kinds_since(world, before)[3:]


def test_aborted_meanwhile(stage: Stage) -> None:
    """An update that was aborted while the client was off ends there, and the server is asked for another at once."""
    world = interrupted(stage)
    world.server.abort()
    before = len(world.transport.requests)
    run_for(world, 10)
    assert ["auth", "inventory", "status downloading", "next v2", "next"] == kinds_since(world, before)[:5]
    assert (None, None) == (world.journal.load().update, world.disk.read(ARTIFACT))


def test_form_of_later_polls(stage: Stage) -> None:
    """An update offered in an older form of the request is continued in that form; later polls use the newest one."""
    world = interrupted(stage)
    world.server.state.v2 = True
    world.transport.rules.append(at("download", Answer(403)))
    before = len(next_requests(world))
    run_for(world, 7200)
    assert "failure" == world.server.status
    assert ("POST v1", "POST v2") == (next_requests(world)[before], next_requests(world)[-1])


# -- an update that another version began ---------------------------------------------------------------------


CHANGES = [{"state": "artifact-commit"}, {"flow": "unheard-of", "state": "reboot"}, {"form": "v3 POST"}]


def of_another_version(world: World, change: Mapping[str, str]) -> None:
    """Let the state file be that of a newer version."""
    document = stored(world)
    song = {"deployment_id": world.server.deployment_id, "kind": "song"}
    changed = {**document, "update": {**document["update"], **change}, "outbox": [*document["outbox"], song]}
    world.disk.put(JOURNAL, json.dumps({**changed, "schema": 2}).encode())
    world.client = world.new_client()


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_update_of_another_version_fails(
    stage: Stage, change: Mapping[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """An update that can't be continued, after a rollback to this version, is reported as failure and not repeated."""
    world = interrupted(stage)
    of_another_version(world, change)
    run_for(world, 60)
    assert ("failure", {}) == (world.server.status, dict(world.starts))
    assert 1 == caplog.text.count("another version of the client began it")
    (kept,) = stored(world)["outbox"]
    assert ("song", None, None) == (kept["kind"], stored(world)["update"], world.disk.read(ARTIFACT))
    world.server.deploy(NEW)
    run_for(world, 3600)
    assert 1 == sum(world.starts.values())


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILURE])
def test_report_for_an_update_of_another_version(stage: Stage, change: Mapping[str, str], status: Status) -> None:
    """As long as update.lock is there the client waits, and the report of the sub-updater is believed."""
    world = interrupted(stage, Options(has_boot_service=False))
    deployment_id = world.server.deployment_id
    world.lock.write(deployment_id)
    of_another_version(world, change)
    before = len(world.transport.requests)
    run_for(world, 600)
    assert [] == kinds_since(world, before)
    world.new_outcomes().report(deployment_id, is_success=status is Status.SUCCESS, reporter="the sub-updater")
    world.lock.remove()
    run_for(world, 60)
    assert (status.value, None) == (world.server.status, stored(world)["update"])


def test_timeout_of_an_update_of_another_version(stage: Stage) -> None:
    """SubUpdaterTimeoutSeconds ends the wait for it as well."""
    world = interrupted(stage, Options(has_boot_service=False, sub_updater_timeout_seconds=500))
    world.lock.write(world.server.deployment_id)
    of_another_version(world, CHANGES[0])
    run_for(world, 600)
    assert ("failure", None, None) == (world.server.status, world.lock.read(), stored(world)["update"])


def test_update_without_a_deployment(stage: Stage) -> None:
    """An update that names no deployment can't be reported: it is kept until another one begins."""
    world = started(World(stage))
    world.disk.put(JOURNAL, json.dumps({**stored(world), "update": {"state": "x"}}).encode())
    world.client = world.new_client()
    run_for(world, 60)
    assert {"state": "x"} == stored(world)["update"]
    world.server.offer(stage.path(NEW), NEW)
    world.server.deploy(NEW)
    world.live()
    assert "success" == world.server.status


# -- the loop guard -------------------------------------------------------------------------------------------


def test_start_that_cannot_be_stored(stage: Stage) -> None:
    """A started sub-updater is not started again when its start could not be stored."""
    world = with_deployment(World(stage))

    def refuses(what: str) -> bool:
        return what == "write the journal" and bool(world.starts)

    world.disk.refuses = refuses
    client_of(world).request_poll()
    client_of(world).step()
    assert client_of(world).has_handed_over
    client_of(world).step()
    world.disk.refuses = lambda what: False
    client_of(world).step()
    update = world.journal.load().update
    assert update is not None
    assert (State.INSTALLING, 1) == (update.state, sum(world.starts.values()))


def test_first_report_is_final(stage: Stage) -> None:
    """A second report changes nothing, and is answered with the stored outcome."""
    world = started(World(stage))
    world.journal.update(lambda record: record.concluded("d-1", Event.SUCCESS, now=""))
    outcome = world.new_outcomes().report("d-1", is_success=False, reporter="the sub-updater")
    assert outcome is not None
    assert Status.SUCCESS is outcome.status
