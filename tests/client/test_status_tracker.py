"""What the workflow tells those who look on."""

from __future__ import annotations

import logging

import pytest

from mender_client.client.status_tracker import StatusTracker
from mender_client.client.stream import Progress
from mender_client.core.client_status import WAITING, Authorisation, ClientStatus, Download
from world import NEW, Options, Stage, World
from world.clock import WorldClock

from .acting import client_of, run_for, started, with_deployment

HOUR = 3600.0


class Onlooker:
    """Keeps what it is told; see ``core.ports.Observer``."""

    def __init__(self) -> None:
        self.told: list[ClientStatus] = []
        self.beats = 0

    def noticed(self, client_status: ClientStatus) -> None:
        """Keep it."""
        self.told.append(client_status)

    def alive(self) -> None:
        """Count it."""
        self.beats += 1

    @property
    def last(self) -> ClientStatus:
        """How the client stands now."""
        return self.told[-1]


def watched(stage: Stage, options: Options | None = None) -> tuple[World, Onlooker]:
    """A world with somebody who looks on."""
    world, onlooker = World(stage, options), Onlooker()
    world.observers.append(onlooker)
    return world, onlooker


def test_idle_client(stage: Stage) -> None:
    """A client that waits tells what comes next and when, who answered, and that it is accepted."""
    world, onlooker = watched(stage)
    started(world)
    last = onlooker.last
    assert (WAITING, Authorisation.ACCEPTED, "https://mender.invalid", 1) == (
        last.doing, last.authorisation, last.server_url, last.counts.polls
    )  # fmt: skip
    assert last.contact < last.next_poll < last.next_inventory


def test_one_poll_is_told_once(stage: Stage) -> None:
    """A poll without a deployment is told once, since whoever looks on may write to flash."""
    world, onlooker = watched(stage)
    started(world)
    before = len(onlooker.told)
    run_for(world, 10 * HOUR)
    polls = onlooker.last.counts.polls
    assert polls - 1 <= len(onlooker.told) - before <= polls + 2


def test_nothing_happens_nothing_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A client that finds nothing to do logs nothing, however long."""
    world, _ = watched(stage)
    started(world)
    caplog.set_level(logging.INFO, "mender_client")
    caplog.clear()  # another test may have lowered the level before
    run_for(world, 24 * HOUR)
    assert [] == caplog.messages


def test_waiting_for_acceptance(stage: Stage) -> None:
    """A device that nobody has accepted is told as waiting, not as failing."""
    world, onlooker = watched(stage)
    world.server.state.devices.auto_accept = False
    started(world)
    run_for(world, HOUR)
    assert (Authorisation.WAITING, 0, {}) == (
        onlooker.last.authorisation, onlooker.last.failure.in_a_row, onlooker.last.counts.failures
    )  # fmt: skip


def test_outage(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """An outage is counted and logged once when it begins and once when it is over."""
    world, onlooker = watched(stage)
    started(world)
    caplog.set_level(logging.INFO, "mender_client")
    caplog.clear()  # another test may have lowered the level before
    world.transport.hosts_down = {"mender.invalid"}
    run_for(world, HOUR)
    failure = onlooker.last.failure
    assert "poll" == failure.job
    assert 3 < failure.in_a_row == onlooker.last.counts.failures["other"]
    assert failure.since < failure.at
    world.transport.hosts_down = set()
    run_for(world, HOUR)
    assert (failure.text, 0) == (onlooker.last.failure.text, onlooker.last.failure.in_a_row)
    assert [failure.text, f"poll: succeeded after {failure.in_a_row} failures"] == caplog.messages


def test_update(stage: Stage) -> None:
    """An update is told state by state, and its bytes are counted; the record keeps when it began and what it cost."""
    world, onlooker = watched(stage)
    with_deployment(world)
    client_of(world).request_poll()
    client_of(world).step()
    doings = list(dict.fromkeys(one.doing for one in onlooker.told if one.deployment_id))
    assert ["downloading", "verified", "handing-over", "installing"] == doings
    size = len(stage.content(NEW))
    assert (size, 0) == (onlooker.last.counts.bytes_fetched, onlooker.last.counts.bytes_resumed)
    assert Download(size, size, 0, 0) == onlooker.last.download
    world.live()
    (outcome,) = world.journal.load().outcomes
    assert (size, 0) == (outcome.fetched_bytes, outcome.resumed_bytes)
    assert outcome.began < outcome.at
    assert {"succeeded": 1} == world.journal.load().totals


def test_requests_are_told(stage: Stage) -> None:
    """What was requested is counted when it is done, whether or not it succeeded, and told at once."""
    world, onlooker = watched(stage)
    started(world)
    before = onlooker.last
    assert NEW != before.installed != ""
    for count in (1, 2):
        client_of(world).request_poll()
        client_of(world).step()
        assert before.counts.requests + count == onlooker.last.counts.requests
        world.transport.hosts_down = {"mender.invalid"}
    assert before.news != onlooker.last.news


def test_download_is_told_now_and_then(stage: Stage) -> None:
    """A download is told at its beginning, every five seconds, and at its end; each piece is a sign of life."""
    clock, onlooker = WorldClock(), Onlooker()
    tracker = StatusTracker(clock, [onlooker])
    for done in range(1, 101):
        tracker.downloaded(Progress(done * 1000, 100000, 0))
        clock.seconds += 0.125
    assert [1000, 41000, 81000, 100000] == [one.download.done for one in onlooker.told]
    assert 8000 == onlooker.told[1].download.bytes_per_second
    assert 100 <= onlooker.beats


def test_failed_update(stage: Stage) -> None:
    """A deployment that failed is told as the last failure, and the client goes on waiting for the next poll."""
    world, onlooker = watched(stage, Options(has_script=False))
    with_deployment(world)
    client_of(world).request_poll()
    client_of(world).step()
    assert (WAITING, "update", 0) == (onlooker.last.doing, onlooker.last.failure.job, onlooker.last.failure.in_a_row)
    assert {"failed": 1} == onlooker.last.counts.deployments


def test_no_stale_rate(stage: Stage) -> None:
    """While a download waits for its next try, no rate of before is shown."""
    clock, onlooker = WorldClock(), Onlooker()
    tracker = StatusTracker(clock, [onlooker])
    tracker.downloaded(Progress(0, 1000, 0))
    clock.seconds += 10
    tracker.downloaded(Progress(500, 1000, 0))
    assert 50 == onlooker.last.download.bytes_per_second
    tracker.interrupted()
    assert Download(500, 1000, 0, 0) == onlooker.last.download
