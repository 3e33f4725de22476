"""The client while the sub-updater installs an update, and when it has finished, died or run out of time."""

from __future__ import annotations

import logging
import re

import pytest

from mender_client.client.engine import LOCK_CHECK_SECONDS
from mender_client.client.lockwait import LOCK_GRACE_SECONDS, STOP_GRACE_SECONDS
from mender_client.core.gates import GatePoint
from mender_client.core.holding import Waiting
from mender_client.core.machine import Event
from mender_client.core.model import Status
from mender_client.core.record import Message, MessageKind
from mender_client.errors import StorageError
from world import NEW, Answer, Options, Refused, Stage, World, at
from world.stores import LOCK

from .acting import client_of, kinds_since, run_for, started, with_deployment


def handed_over(stage: Stage, options: Options | None = None) -> World:
    """A world in which the sub-updater has just started, and a new client runs beside it."""
    world = with_deployment(World(stage, options))
    client_of(world).request_poll()
    client_of(world).step()
    assert client_of(world).has_handed_over
    world.client = world.new_client()
    return world


def test_wait_while_locked(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """While the lock exists the client keeps no connection, sends nothing, and logs once what it is waiting for."""
    caplog.set_level(logging.INFO, "mender_client")
    world = handed_over(stage)
    before, rests = len(world.transport.requests), world.transport.rests
    run_for(world, 600)
    assert (1, []) == (world.transport.rests - rests, kinds_since(world, before))
    assert 1 == len(re.findall(r"the sub-updater has been installing deployment \S+ since 2026-01-01T", caplog.text))
    assert LOCK_CHECK_SECONDS <= 5.0


def test_sub_updater_dies(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """If the sub-updater ends without a report, the waiting client logs it once."""
    world = handed_over(stage)
    run_for(world, 60)
    assert "[UPD12]" not in caplog.text
    world.process = None
    run_for(world, 600)
    assert 1 == caplog.text.count("the sub-updater died without reporting, or is waiting for a reboot")
    assert "installing" == world.server.status


def test_lock_after_a_boot(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """After a boot, the sub-updater of the previous boot isn't reported as dead: it may be between two boots."""
    world = handed_over(stage, Options(has_boot_service=False))
    world.boot_up()
    run_for(world, 600)
    assert 1 == caplog.text.count("no sub-updater is running; it may be between two boots")


def test_lock_of_somebody_else(stage: Stage) -> None:
    """A lock for a deployment that is unknown to the client also means that an update is in progress."""
    world = World(stage, Options(has_boot_service=False))
    world.lock.write("another-deployment")
    started(world)
    run_for(world, 60)
    assert [] == kinds_since(world, 0)
    world.lock.remove()
    run_for(world, 5)
    assert ["auth", "inventory", "next v2", "next"] == kinds_since(world, 0)


def test_removal_is_noticed(stage: Stage) -> None:
    """The removal of the lock is noticed within five seconds, and the client polls and sends its inventory."""
    world = handed_over(stage)
    run_for(world, 60)
    deployment_id = world.server.deployment_id
    world.journal.update(lambda record: record.concluded(deployment_id, Event.SUCCESS, now=""))
    world.new_parts().outbox.flush()
    world.lock.remove()
    before = len(world.transport.requests)
    run_for(world, 5)
    assert ["auth", "inventory", "next v2", "next"] == kinds_since(world, before)


@pytest.mark.parametrize(("installed", "status"), [(NEW, "success"), ("release-1", "failure")])
def test_no_report_at_all(stage: Stage, installed: str, status: str) -> None:
    """If the lock is removed without a report, artifact_info decides the outcome."""
    world = handed_over(stage)
    run_for(world, 10)
    world.name("A", installed)
    world.lock.remove()
    run_for(world, 5)
    assert status == world.server.status


@pytest.mark.parametrize(("fails", "status"), [(False, "success"), (True, "failure")])
def test_no_report_at_once(stage: Stage, fails: bool, status: str) -> None:
    """If the sub-updater ends without a report before the client checks, the outcome is decided without a restart."""
    world = with_deployment(World(stage, Options(is_silent=True, silent_fails=fails, eager_steps=99)))
    client_of(world).request_poll()
    client_of(world).step()
    assert (False, status) == (client_of(world).has_handed_over, world.server.status)


def test_nobody_can_tell(stage: Stage) -> None:
    """As long as the installed software can't be determined, no outcome is reported."""
    world = handed_over(stage)
    world.device.provides_error = StorageError("cannot find the device type; write one")
    world.lock.remove()
    run_for(world, 600)
    assert "installing" == world.server.status
    world.device.provides_error = None
    world.name("A", NEW)
    run_for(world, 60)
    assert "success" == world.server.status


def test_sub_updater_timeout(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """After SubUpdaterTimeoutSeconds the sub-updater is stopped, and the failure reported with its log."""
    world = handed_over(stage, Options(sub_updater_timeout_seconds=500))
    logging.getLogger("mender_client").addHandler(world.log)
    try:
        run_for(world, 495)
        assert "installing" == world.server.status
        run_for(world, 120)
    finally:
        logging.getLogger("mender_client").removeHandler(world.log)
    assert ("failure", None, None) == (world.server.status, world.lock.read(), world.journal.load().update)
    log = world.server.on_device.log if world.server.on_device else None
    assert "SubUpdaterTimeoutSeconds" in str(log)
    assert world.stops[0] is False, "it may end by itself first"
    assert world.stops[-1] is True, "no second sub-updater may start beside it"


def test_sub_updater_that_cannot_be_ended(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The client waits only a few minutes for a sub-updater that can't be killed, and the log names its process."""
    world = handed_over(stage, Options(sub_updater_timeout_seconds=500, is_stuck=True))
    assert world.process is not None
    which = f"process {world.process.process.pid}"
    run_for(world, 500 + 2 * STOP_GRACE_SECONDS - 10)
    assert "installing" == world.server.status
    run_for(world, 60)
    assert ("failure", None) == (world.server.status, world.lock.read())
    assert f"stopping {which} [UPD10]" in caplog.text
    assert f"{which} was killed, but is still running; check the kernel log" in caplog.text


def test_boot_step_takes_too_long(stage: Stage) -> None:
    """A process that works on the deployment after a boot is also stopped before the deployment fails."""
    world = handed_over(stage, Options(sub_updater_timeout_seconds=500, has_boot_service=False))
    deployment_id = world.server.deployment_id
    world.boot_up()
    world.spawn({"MENDER_DEPLOYMENT_ID": deployment_id}, steps=0)
    run_for(world, 500 + STOP_GRACE_SECONDS - 10)
    assert (deployment_id, "installing") == (world.lock.read(), world.server.status)
    run_for(world, 60)
    assert ([True], None, "failure") == (world.stops[-1:], world.process, world.server.status)


def test_sub_updater_timeout_of_a_client_that_restarts(stage: Stage) -> None:
    """Within one boot, the time-out counts from the start of the sub-updater, however often the client is restarted."""
    world = handed_over(stage, Options(sub_updater_timeout_seconds=500))
    for _ in range(11):
        assert "installing" == world.server.status
        world.client = None
        world.start_client()
        run_for(world, 45)
    run_for(world, 120)
    assert ("failure", None) == (world.server.status, world.lock.read())


def test_sub_updater_timeout_after_a_boot(stage: Stage) -> None:
    """After a boot the time-out starts from zero."""
    world = handed_over(stage, Options(sub_updater_timeout_seconds=500, has_boot_service=False))
    run_for(world, 400)
    world.boot_up()
    run_for(world, 400)
    assert "installing" == world.server.status
    run_for(world, 150)
    assert "failure" == world.server.status


def test_wait_for_ever(stage: Stage, is_nightly: bool) -> None:
    """With SubUpdaterTimeoutSeconds 0 the client still waits after eight days, a day after the default time-out."""
    world = handed_over(stage, Options(sub_updater_timeout_seconds=0))
    for _ in range(8):
        run_for_a_day(world, is_nightly=is_nightly)
    assert "installing" == world.server.status


def reported(world: World, event: Event = Event.SUCCESS) -> str:
    """Store the sub-updater's report without sending it; return the deployment id."""
    deployment_id = world.server.deployment_id
    world.journal.update(lambda record: record.concluded(deployment_id, event, now=""))
    return deployment_id


def test_kept_report_is_delivered(stage: Stage) -> None:
    """A report that could not be sent is delivered when the server can be reached, and then the lock is removed."""
    world = handed_over(stage)
    run_for(world, 10)
    reported(world)
    world.transport.is_down = True
    run_for(world, 3600)
    assert ("installing", world.server.deployment_id) == (world.server.status, world.lock.read())
    world.transport.is_down = False
    run_for(world, 400)
    assert ("success", None) == (world.server.status, world.lock.read())


def test_grace_after_a_delivered_report(stage: Stage) -> None:
    """After its report is delivered, the sub-updater has a minute to remove the lock; then the client removes it."""
    world = handed_over(stage)
    run_for(world, 3 * LOCK_GRACE_SECONDS)
    reported(world)
    world.new_parts().outbox.flush()
    before = len(world.transport.requests)
    run_for(world, LOCK_GRACE_SECONDS - 5)
    assert [] == kinds_since(world, before)
    assert world.server.deployment_id == world.lock.read()
    run_for(world, 20)
    assert None is world.lock.read()


def test_info_after_the_report(stage: Stage) -> None:
    """If the sub-updater writes artifact_info only after its report, the inventory still has the new artifact name."""
    world = with_deployment(World(stage, Options(info_after_report=True)))
    world.live()
    assert NEW == world.server.device.inventory["artifact_name"]


def test_known_outcome_is_offered_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """If the server offers a deployment again whose outcome is known, the client reports it and installs nothing."""
    world = with_deployment(World(stage))
    deployment_id = reported(world, Event.FAILURE)
    world.journal.update(lambda record: record.silenced(deployment_id))
    client_of(world).request_poll()
    run_for(world, 60)
    assert ("failure", {}) == (world.server.status, dict(world.starts))
    assert "its outcome is known: failure" in caplog.text


def test_aborted_while_the_outcome_is_told(stage: Stage) -> None:
    """The pending outcome of a deployment that the server has aborted is dropped, and the next one is installed."""
    world = handed_over(stage)
    reported(world)
    world.server.abort()
    aborted = world.server.deployment
    world.server.deploy(NEW)
    world.lock.remove()
    run_for(world, 60)
    assert ((), "aborted") == (world.journal.load().outbox, aborted.status_of(world.server.device.id))
    assert "installing" == world.server.status


def test_forgotten_deployment(stage: Stage) -> None:
    """Reports about a deployment that the server still doesn't know after a while are dropped, and the client polls."""
    world = started(World(stage))
    message = Message("gone", MessageKind.STATUS, Status.DOWNLOADING)
    world.journal.update(lambda record: record.telling("gone", Status.DOWNLOADING))
    client_of(world).request_poll()
    client_of(world).step()
    assert (message,) == world.journal.load().outbox
    run_for(world, 120)
    assert () == world.journal.load().outbox
    assert "next" == kinds_since(world, 0)[-1]


def test_empty_log(stage: Stage) -> None:
    """For a failure without log lines, no log is sent."""
    world = started(World(stage))
    world.journal.update(lambda record: record.concluded("gone", Event.FAILURE, now=""))
    client_of(world).request_poll()
    run_for(world, 120)
    assert () == world.journal.load().outbox
    assert 0 == world.transport.counts["log"]


@pytest.mark.parametrize("status", [400, 404, 413])
def test_refused_log(stage: Stage, status: int) -> None:
    """A log that the server refuses for good doesn't prevent the failure from being reported."""
    world = with_deployment(World(stage, Options(has_script=False)))
    world.transport.rules.append(at("log", Answer(status, body=b'{"error":"no"}')))
    world.live()
    assert "failure" == world.server.status


def test_log_to_a_server_in_trouble(stage: Stage) -> None:
    """A log that the server can't take at first is sent again, and then the failure is reported once."""
    world = with_deployment(World(stage, Options(has_script=False)))
    world.transport.rules.append(at("log", Answer(503), 1))
    world.live()
    assert "failure" == world.server.status
    ends = [kind for kind in kinds_since(world, 0) if kind in ("log", "status failure")]
    assert ["log", "log", "status failure"] == ends


def test_two_senders(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """While another process sends the pending reports, the client sends none, and tries later without logging it."""
    world = handed_over(stage)
    reported(world)
    caplog.set_level(logging.INFO, "mender_client")
    with world.journal.sending():
        run_for(world, 30)
    assert 0 == world.transport.counts["status success"]
    run_for(world, 30)
    assert ("success", 1) == (world.server.status, world.transport.counts["status success"])
    assert [] == [line for line in caplog.messages if "another process" in line or "works again" in line]


def test_two_senders_and_no_lock(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The same applies after the lock has been removed: it is no failure, and the poll follows the report."""
    caplog.set_level(logging.INFO, "mender_client")
    world = handed_over(stage)
    reported(world)
    world.lock.remove()
    before = len(world.transport.requests)
    with world.journal.sending():
        run_for(world, 30)
    assert ["auth"] == kinds_since(world, before)
    run_for(world, 30)
    assert ["auth", "status success", "inventory", "next v2", "next"] == kinds_since(world, before)
    assert [] == [line for line in caplog.messages if "another process" in line or "works again" in line]


def test_rebooting(stage: Stage) -> None:
    """If the sub-updater reports that it reboots, the server gets the status rebooting once, before the outcome."""
    world = with_deployment(World(stage, Options(tells_reboot=True)))
    world.live()
    assert ["downloading", "installing", "rebooting", "success"] == world.server.statuses
    assert 1 == world.transport.counts["status rebooting"]


def test_rebooting_without_network(stage: Stage) -> None:
    """If the status rebooting can't be sent, the device still reboots, and the status is not sent after the outcome."""
    world = with_deployment(World(stage, Options(tells_reboot=True)))
    world.transport.rules.append(at("status rebooting", Refused()))
    world.live()
    assert ["downloading", "installing", "success"] == world.server.statuses


def test_no_memory_at_the_start(stage: Stage) -> None:
    """A deployment that can't be stored fails at once, with the reason in its log."""
    world = with_deployment(World(stage))
    world.disk.refuses = lambda what: what == "write the journal"
    client_of(world).request_poll()
    client_of(world).step()
    assert "failure" == world.server.status
    assert "no space left" in str(world.server.on_device and world.server.on_device.log)
    assert None is world.journal.load().update


def test_lock_cannot_be_written(stage: Stage) -> None:
    """If the lock can't be written, the deployment fails, and the sub-updater is not started."""
    world = with_deployment(World(stage))
    world.disk.refuses = lambda what: what == f"write {LOCK}"
    world.live()
    assert ("failure", {}) == (world.server.status, dict(world.starts))


def test_journal_unwritable_after_the_lock_has_gone(stage: Stage) -> None:
    """If the disk is full when the lock is removed, the outcome is delayed, not lost."""
    world = handed_over(stage)
    run_for(world, 10)
    world.lock.remove()
    world.disk.refuses = lambda what: what == "write the journal"
    run_for(world, 60)
    world.disk.refuses = lambda what: False
    run_for(world, 60)
    assert "failure" == world.server.status


def test_artifact_cannot_be_removed(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """If an Artifact can't be removed, this is logged, and the outcome is still reported."""
    world = with_deployment(World(stage, Options(can_spawn=False)))
    world.disk.refuses = lambda what: what.startswith("remove artifact")
    client_of(world).request_poll()
    run_for(world, 30)
    assert "failure" == world.server.status
    assert "cannot remove artifact" in caplog.text


def test_unreachable_before_the_hand_over(stage: Stage) -> None:
    """Nothing is handed over before the server has accepted the status installing."""
    world = with_deployment(World(stage))
    world.transport.rules.append(at("status installing", Refused(), 1, 2, 3))
    client_of(world).request_poll()
    run_for(world, 60)
    assert {} == dict(world.starts)
    world.live()
    assert "success" == world.server.status


def test_log_that_the_server_cannot_take(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """If the server keeps answering the log with errors, the outcome is finally reported without it."""
    world = with_deployment(World(stage, Options(can_spawn=False)))
    world.transport.rules.append(at("log", Answer(500)))
    run_for(world, 1800)
    assert "failure" != world.server.status
    run_for(world, 3 * 3600)
    assert "failure" == world.server.status
    assert "the outcome is reported without its log" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, body=b"404 page not found"),
        Answer(404, body=b'{"error":"not found"}'),
        Answer(405),
        Answer(400),
        Answer(413),
        Answer(415),
        Answer(200, body=b"<html>please log in</html>"),
    ],
    ids=["404", "404 as the server's", "405", "400", "413", "415", "web page"],
)
@pytest.mark.parametrize("outcome", [Event.SUCCESS, Event.FAILURE])
def test_gateway_hiccup(stage: Stage, answer: Answer, outcome: Event) -> None:
    """If a proxy answers in place of the server for less than a minute, neither outcome nor log is lost."""
    world = handed_over(stage)
    reported(world, outcome)
    end = world.clock.seconds + 50
    kinds = ("status success", "status failure", "log", "next", "inventory")
    world.transport.rules.append(lambda kind, number: answer if kind in kinds and world.clock.seconds < end else None)
    run_for(world, 40)
    assert world.journal.load().outbox
    world.lock.remove()
    run_for(world, 400)
    assert ("success" if outcome is Event.SUCCESS else "failure", ()) == (
        world.server.status,
        world.journal.load().outbox,
    )
    assert outcome is Event.SUCCESS or (world.server.on_device and world.server.on_device.log)


def run_for_a_day(world: World, *, is_nightly: bool) -> None:
    """Run the client for a day; except in nightly runs, it checks the lock only every ten minutes."""

    def skip() -> None:
        if not is_nightly:
            world.clock.seconds += 600

    run_for(world, 24 * 3600, each=skip)


def test_refused_for_a_day(stage: Stage, caplog: pytest.LogCaptureFixture, is_nightly: bool) -> None:
    """A status that is refused each time is kept for at least five days, then dropped, and the update ends."""
    world = handed_over(stage)
    reported(world)
    world.transport.rules.append(at("status success", Answer(400)))
    kept = []
    for _ in range(10):
        kept.append(bool(world.journal.load().outbox))
        world.client = world.new_client()  # a restart loses at most the hour that has begun
        run_for_a_day(world, is_nightly=is_nightly)
    assert [True] * 6 == kept[:6]
    assert "[REP06]" in caplog.text
    assert world.journal.load().update is None


def test_server_in_trouble_is_waited_for(stage: Stage, is_nightly: bool) -> None:
    """A server that answers 503 for ten days is still sent the outcome."""
    world = handed_over(stage)
    reported(world)
    world.transport.rules.append(at("status success", Answer(503)))
    for _ in range(10):
        run_for_a_day(world, is_nightly=is_nightly)
    world.transport.rules.clear()
    run_for(world, 600)
    assert "success" == world.server.status


def test_sub_updater_at_a_gate(stage: Stage) -> None:
    """A sub-updater that waits at a gate isn't stopped; if it dies there, the deployment fails after the time-out."""
    world = handed_over(stage, Options(sub_updater_timeout_seconds=3600, has_boot_service=False))
    deployment_id = world.server.deployment_id
    waiting = Waiting(GatePoint.REBOOT, "paused by anna", world.clock.now().isoformat())
    world.journal.update(lambda record: record.waits(deployment_id, waiting, lambda update: update))
    run_for(world, 6 * 3600)
    assert ([], True) == (world.stops, world.lock.read() is not None)
    world.process = None
    run_for(world, 2 * 3600)
    assert "failure" == world.server.status
