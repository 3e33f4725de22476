"""The current client with a data directory of version 1.0.0; see ``tests/data/state-1.0.0``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mender_client.client.engine import LOCK_CHECK_SECONDS
from mender_client.core.machine import ENDS, TRANSITIONS, Flow, State
from mender_client.core.model import Link, NextForm
from mender_client.core.state_document import SCHEMA, decode_record, encode_record
from mender_client.system.snapshot import read_client_status
from world import NEW, Options, Stage, World
from world.stores import ARTIFACT, JOURNAL, LOCK, PARTIAL, SUB_UPDATER_LOG

from .acting import client_of, run_for, started

DATA = Path(__file__).parents[1] / "data" / "state-1.0.0"
STATES = {
    "downloading": State.DOWNLOADING,
    "verified": State.VERIFIED,
    "handing-over": State.HANDING_OVER,
    "installing": State.INSTALLING,
}
CASES = ("idle", *STATES, "undelivered")


def newer(document: dict[str, Any]) -> dict[str, Any]:
    """The document with additional fields, as a later version may have written it."""
    update = document["update"]
    return {**document, "extra": [1], "update": None if update is None else {**update, "colour": "blue"}}


def deployment_of(document: dict[str, Any]) -> str:
    """The id of the deployment in a document; empty if there is none."""
    about = [document["update"] or {}, *document["outcomes"]]
    return str(about[0].get("deployment_id") or (about[1]["deployment_id"] if about[1:] else ""))


def device(name: str, *, is_newer: bool = False, has_boot_service: bool = False) -> World:
    """A device that boots with such a data directory, and a server that has the same deployment."""
    world = World(Stage(DATA), Options(has_boot_service=has_boot_service))
    document = json.loads((DATA / name / JOURNAL).read_text())
    promise = (document["update"] or {}).get("promise", {"etag": "e"})
    world.server.offer(DATA / "release-2.mender", NEW, etag=promise["etag"].strip('"'))
    started(world)
    deployment_id = deployment_of(document)
    ours = world.server.deploy(NEW) if deployment_id else ""
    if ours:
        assert world.new_parts().engine.ask() is not None  # as 1.0.0 did
    text = json.dumps(newer(document) if is_newer else document).replace(deployment_id or "none", ours or "none")
    world.disk.put(JOURNAL, text.encode())
    for file in (PARTIAL, SUB_UPDATER_LOG):
        if (DATA / name / file).exists():
            world.disk.put(file, (DATA / name / file).read_bytes())
    if (DATA / name / LOCK).exists():
        world.disk.put(LOCK, ours.encode())
    if name not in ("idle", "downloading"):
        world.disk.put(ARTIFACT, (DATA / "release-2.mender").read_bytes())
    world.boot_up()
    return world


@pytest.mark.parametrize("name", CASES)
def test_everything_is_understood(name: str) -> None:
    """Every field that 1.0.0 wrote is read; fields that it did not have get the values of its behaviour."""
    record = decode_record(json.loads((DATA / name / JOURNAL).read_text()))
    assert ("", {}) == (record.unread.summary, dict(record.unknown))
    assert record.accepted is not None
    update = record.update
    assert STATES.get(name) == (None if update is None else update.state)
    if update is not None:
        assert (Flow.HANDOVER, NextForm.V1_POST, "", {}) == (
            update.flow, update.form, update.link.uri, dict(update.unknown)
        )  # fmt: skip


@pytest.mark.parametrize(("name", "doing"), [("idle", "stopped"), ("installing", "installing")])
def test_status_file(name: str, doing: str) -> None:
    """The status file of 1.0.0 is read, with the last activity of its daemon in current terms."""
    found = read_client_status(DATA / name / "status.json")
    assert found is not None
    assert (doing, "1.0.0") == (found[0].doing, found[0].version)


@pytest.mark.parametrize("is_newer", [False, True], ids=["as it is", "with unknown fields"])
@pytest.mark.parametrize("name", ["downloading", "verified"])
def test_update_goes_on(name: str, is_newer: bool) -> None:
    """An update that had not been handed over continues; what is on disk is not downloaded again."""
    world = device(name, is_newer=is_newer, has_boot_service=True)
    kept = len(world.disk.read(PARTIAL) or world.disk.read(ARTIFACT) or b"")
    world.live()
    assert ("success", ["downloading", "installing", "success"]) == (world.server.status, world.server.statuses)
    assert (DATA / "release-2.mender").stat().st_size - kept == world.transport.fetched
    assert ({"extra": [1]} if is_newer else {}) == dict(world.journal.load().unknown)


@pytest.mark.parametrize("name", ["handing-over", "installing"])
def test_nothing_is_started_again(name: str) -> None:
    """If the sub-updater may have started, the client starts nothing, waits for it, and accepts its report."""
    world = device(name)
    client = client_of(world)
    run_for(world, 600)
    assert (LOCK_CHECK_SECONDS, {}) == (client.step(), dict(world.starts))
    world.new_outcomes().report(world.server.deployment_id, is_success=True, reporter="the sub-updater")
    world.lock.remove()
    run_for(world, 60)
    assert ("success", None) == (world.server.status, world.journal.load().update)


@pytest.mark.parametrize("name", ["handing-over", "installing"])
def test_lock_that_goes_without_a_report(name: str) -> None:
    """If the lock is removed without a report, artifact_info decides the outcome, which is a failure here."""
    world = device(name)
    run_for(world, 60)
    world.lock.remove()
    run_for(world, 60)
    assert ("failure", {}) == (world.server.status, dict(world.starts))


@pytest.mark.parametrize("is_newer", [False, True], ids=["as it is", "with unknown fields"])
def test_pending_report_is_sent(is_newer: bool) -> None:
    """An outcome that 1.0.0 could not deliver is delivered, and the Artifact is removed."""
    world = device("undelivered", is_newer=is_newer)
    run_for(world, 60)
    assert ("failure", (), None) == (world.server.status, world.journal.load().outbox, world.disk.read(ARTIFACT))


def test_idle_device_polls() -> None:
    """A device without a deployment polls, and unknown fields of its state file are kept."""
    world = device("idle", is_newer=True)
    before = world.transport.counts["next"]
    run_for(world, 60)
    assert before < world.transport.counts["next"]
    assert {"extra": [1]} == dict(world.journal.load().unknown)


NAMES_OF_1_0_0 = {"downloading", "proven", "handing-over", "in-hands", "settling"}


@pytest.mark.parametrize(
    "state", [one for one in TRANSITIONS[Flow.HANDOVER] if one not in ENDS], ids=lambda state: state.value
)
def test_way_back_to_1_0_0(state: State) -> None:
    """Each state is stored in a form that 1.0.0 reads: a name that it knows, and all its fields with the same types."""
    then = json.loads((DATA / "installing" / JOURNAL).read_text())
    record = decode_record(then)
    assert record.update is not None
    now = encode_record(replace(record, update=replace(record.update, state=state, link=Link("https://x.invalid/?a"))))
    assert now["update"]["state"] in NAMES_OF_1_0_0
    assert SCHEMA == then["schema"]
    for document, former in ((now, then), (now["update"], then["update"])):
        assert {key: type(value) for key, value in former.items()} == {key: type(document[key]) for key in former}
