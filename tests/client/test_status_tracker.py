"""What the workflow reports to its observers."""

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
    """An observer that keeps what is reported to it; see ``core.ports.Observer``."""

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
        """The latest status."""
        return self.told[-1]


def watched(stage: Stage, options: Options | None = None) -> tuple[World, Onlooker]:
    """A world with an observer."""
    world, onlooker = World(stage, options), Onlooker()
    world.observers.append(onlooker)
    return world, onlooker


def test_idle_client(stage: Stage) -> None:
    """A waiting client reports the times of its next poll and inventory, its server, and that it is accepted."""
    world, onlooker = watched(stage)
    started(world)
    last = onlooker.last
    assert (WAITING, Authorisation.ACCEPTED, "https://mender.invalid", 1) == (
        last.doing, last.authorisation, last.server_url, last.counts.polls
    )  # fmt: skip
    assert last.contact < last.next_poll < last.next_inventory


def test_one_poll_is_told_once(stage: Stage) -> None:
    """A poll without a deployment is reported once, since an observer may write to flash."""
    world, onlooker = watched(stage)
    started(world)
    before = len(onlooker.told)
    run_for(world, 10 * HOUR)
    polls = onlooker.last.counts.polls
    assert polls - 1 <= len(onlooker.told) - before <= polls + 2


def test_nothing_happens_nothing_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A client that has nothing to do for a day logs nothing."""
    world, _ = watched(stage)
    started(world)
    caplog.set_level(logging.INFO, "mender_client")
    caplog.clear()  # another test may have lowered the level before
    run_for(world, 24 * HOUR)
    assert [] == caplog.messages


def test_waiting_for_acceptance(stage: Stage) -> None:
    """A device that nobody has accepted is reported as waiting, not as failing."""
    world, onlooker = watched(stage)
    world.server.state.devices.auto_accept = False
    started(world)
    run_for(world, HOUR)
    assert (Authorisation.WAITING, 0, {}) == (
        onlooker.last.authorisation, onlooker.last.failure.in_a_row, onlooker.last.counts.failures
    )  # fmt: skip


def test_outage(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The failures of an outage are counted; it is logged once when it begins and once when it is over."""
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
    """An update is reported state by state with its byte counts; the outcome records its start and its byte counts."""
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
    """A requested poll is counted and reported as soon as it is done, whether or not it succeeded."""
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
    """A download is reported at its beginning, every five seconds, and at its end; each piece is a sign of life."""
    clock, onlooker = WorldClock(), Onlooker()
    tracker = StatusTracker(clock, [onlooker])
    for done in range(1, 101):
        tracker.downloaded(Progress(done * 1000, 100000, 0))
        clock.seconds += 0.125
    assert [1000, 41000, 81000, 100000] == [one.download.done for one in onlooker.told]
    assert 8000 == onlooker.told[1].download.bytes_per_second
    assert 100 <= onlooker.beats


def test_failed_update(stage: Stage) -> None:
    """A failed deployment is reported as the last failure, and the client waits for the next poll."""
    world, onlooker = watched(stage, Options(has_script=False))
    with_deployment(world)
    client_of(world).request_poll()
    client_of(world).step()
    assert (WAITING, "update", 0) == (onlooker.last.doing, onlooker.last.failure.job, onlooker.last.failure.in_a_row)
    assert {"failed": 1} == onlooker.last.counts.deployments


def test_no_stale_rate(stage: Stage) -> None:
    """While an interrupted download waits for its next attempt, its rate is reported as 0."""
    clock, onlooker = WorldClock(), Onlooker()
    tracker = StatusTracker(clock, [onlooker])
    tracker.downloaded(Progress(0, 1000, 0))
    clock.seconds += 10
    tracker.downloaded(Progress(500, 1000, 0))
    assert 50 == onlooker.last.download.bytes_per_second
    tracker.interrupted()
    assert Download(500, 1000, 0, 0) == onlooker.last.download
