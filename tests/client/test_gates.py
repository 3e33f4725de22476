"""Gates: an update waits before its download, installation, reboot and commit; durably, cheaply, and not for ever."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from mender_client.core.deciding import continued, decided
from mender_client.core.gates import Closed, GateFacts, GatePoint, Open, Refused, Verdict
from mender_client.core.holding import Decision, DecisionKind, Waiting
from mender_client.core.machine import Flow
from mender_client.core.update import MAXIMUM_WRITES
from world import NEW, OLD, Answer, Kind, ModuleOptions, Options, Stage, World, at
from world import Refused as NoNetwork
from world.clock import START
from world.power import Blow

from .acting import client_of, kinds_since, with_deployment

POLL_SECONDS = 1800
_PAUSES = {
    GatePoint.INSTALL: "pause_before_installing",
    GatePoint.REBOOT: "pause_before_rebooting",
    GatePoint.COMMIT: "pause_before_committing",
}
PLACES = [
    *((Flow.HANDOVER, point) for point in (GatePoint.DOWNLOAD, GatePoint.INSTALL)),
    *((Flow.MODULES, point) for point in GatePoint),
]
AT_EACH = pytest.mark.parametrize(("flow", "point"), PLACES, ids=lambda one: one.value)


@dataclass
class SetGates:
    """Gates that answer as a test wants; see ``core.ports.Gates``."""

    verdicts: dict[GatePoint, Verdict] = field(default_factory=dict)
    asked: list[tuple[GatePoint, datetime]] = field(default_factory=list)

    def verdict(self, point: GatePoint, facts: GateFacts, now: datetime) -> Verdict:
        """As set; a gate that needs an approval opens when there is one."""
        self.asked.append((point, now))
        verdict = self.verdicts.get(point, Open())
        if isinstance(verdict, Closed) and verdict.until is not None and verdict.until <= now:
            return Open()
        is_approved = isinstance(verdict, Closed) and verdict.needs_approval and facts.is_approved
        return Open() if is_approved else verdict


ASK = Closed("waiting for approval", needs_approval=True)


def closed(point: GatePoint, verdict: Verdict = ASK) -> SetGates:
    """Gates of which one is closed."""
    return SetGates({point: verdict})


def options(flow: Flow, gates: SetGates | None = None, reboot: str = "Automatic") -> Options:
    """A device of a flow."""
    modules = ModuleOptions(reboot=reboot) if flow is Flow.MODULES else None
    return Options(modules=modules, has_boot_service=modules is None, gates=gates, is_spooled=False)


def held(stage: Stage, flow: Flow, gates: SetGates | None, *, reboot: str = "Automatic") -> World:
    """A world whose update waits at the closed gate."""
    world = with_deployment(World(stage, options(flow, gates, reboot)))
    client_of(world).request_poll()
    for _ in range(50):
        if (update := world.journal.load().update) is not None and update.waiting is not None:
            return world
        world.turn()
    raise AssertionError(f"it does not wait: {world.journal.load()}")


def decide(world: World, kind: DecisionKind, *, is_all: bool = False, until: str = "") -> None:
    """What a command does."""
    decision = Decision(kind, "anna", world.clock.now().isoformat(), "the machine runs", until)
    world.journal.update(lambda record: decided(record, decision, is_all=is_all))
    if world.client is not None:
        world.client.request_poll()
        world._client_due = 0.0


def waiting_of(world: World) -> Waiting:
    """Where the update waits."""
    update = world.journal.load().update
    assert update is not None, "it is over"
    assert update.waiting is not None, "it does not wait"
    return update.waiting


def let(world: World, seconds: float) -> None:
    """Let time pass."""
    end = world.clock.seconds + seconds
    while world.clock.seconds < end:
        world.turn()


def restart(world: World) -> None:
    """The service manager starts the client again."""
    world.client = world.new_client()
    world._client_due = world.clock.seconds


def finished(world: World) -> str:
    """How the deployment ends."""
    world.live()
    return world.server.status


@AT_EACH
def test_waits_until_it_opens(stage: Stage, flow: Flow, point: GatePoint) -> None:
    """A closed gate holds an update for days and is asked with each poll; when it opens, the update goes on."""
    gates = closed(point)
    world = held(stage, flow, gates)
    before, asked = len(world.transport.requests), len(gates.asked)
    let(world, 3 * 86400)
    polls = 3 * 86400 / POLL_SECONDS
    assert polls * 0.9 < len(gates.asked) - asked < polls * 1.1
    assert len([kind for kind in kinds_since(world, before) if kind.startswith("next")]) < polls * 1.1
    assert ([], 1) == (world.doubled, world.server.statuses.count(_PAUSES.get(point, "")) or 1)
    gates.verdicts.clear()
    assert "success" == finished(world)


@AT_EACH
def test_server_knows(stage: Stage, flow: Flow, point: GatePoint) -> None:
    """The server is told once what the client does, and that it waits before its installation, reboot or commit."""
    gates = closed(point)
    world = held(stage, flow, gates)
    let(world, 86400)
    restart(world)
    let(world, 86400)
    statuses = list(world.server.statuses)
    assert sorted(set(statuses)) == sorted(statuses)
    assert ([_PAUSES[point]] if point in _PAUSES else []) == [one for one in statuses if one.startswith("pause")]


@AT_EACH
@pytest.mark.parametrize("what", ["restart", "reboot", "power"])
def test_survives(stage: Stage, flow: Flow, point: GatePoint, what: str) -> None:
    """A restart, a reboot or a power cut while an update waits neither loses it nor lets it pass the gate."""
    gates = closed(point)
    world = held(stage, flow, gates)
    downloads = world.transport.fetched
    for _ in range(MAXIMUM_WRITES + 2 if what == "restart" else 1):
        if what == "restart":
            restart(world)
        else:
            world.power.always.clear()
            try:
                world.power.cut(Kind.REBOOT if what == "reboot" else Kind.POWER)
            except BaseException as cut:  # noqa: BLE001 - a cut is no Exception
                world._after(cut)  # type: ignore[arg-type]
        for _ in range(6):  # enough to come to the gate again, and to pass it
            world.turn()
    is_rebooted = what != "restart" and point in (GatePoint.REBOOT, GatePoint.COMMIT)
    if not is_rebooted:
        assert (point, downloads) == (waiting_of(world).point, world.transport.fetched)
    gates.verdicts.clear()
    # the boot loader goes back if the new system is not committed before the next boot
    ends = "failure" if is_rebooted and point is GatePoint.COMMIT else "success"
    assert ends == finished(world)
    assert downloads <= world.transport.fetched <= len(stage.content(NEW))


def test_reboot_is_what_it_waits_for(stage: Stage) -> None:
    """A device that is rebooted while an update waits for its reboot runs the new software, which is verified."""
    world = held(stage, Flow.MODULES, closed(GatePoint.REBOOT))
    world.boot_up()
    client_of(world).step()
    update = world.journal.load().update
    assert update is None or update.waiting is None
    assert "success" == finished(world)
    assert (1, 0) == (world.calls.count("ArtifactVerifyReboot"), world.calls.count("ArtifactRollback"))


def test_commit_after_reboot_without_trial(stage: Stage) -> None:
    """An update that needs no reboot keeps waiting before its commit, even across a reboot."""
    gates = closed(GatePoint.COMMIT)
    world = held(stage, Flow.MODULES, gates, reboot="No")
    world.boot_up()
    for _ in range(20):
        world.turn()
    assert GatePoint.COMMIT is waiting_of(world).point
    gates.verdicts.clear()
    assert ("success", 0) == (finished(world), world.calls.count("ArtifactVerifyReboot"))


@AT_EACH
def test_refused(stage: Stage, flow: Flow, point: GatePoint) -> None:
    """A gate that refuses fails the deployment, with its reason in the log; before the commit it rolls back."""
    gates = closed(point)
    world = held(stage, flow, gates)
    gates.verdicts[point] = Refused("/etc/may-update exits with 3")
    assert "failure" == finished(world)
    assert OLD == world.image_in(world.running)
    assert "/etc/may-update exits with 3" in world.journal.load().outcomes[-1].reason


@AT_EACH
def test_aborted(stage: Stage, flow: Flow, point: GatePoint) -> None:
    """A deployment that is aborted on the server while it waits ends with the next poll."""
    world = held(stage, flow, closed(point))
    let(world, 3600)
    world.server.abort()
    let(world, POLL_SECONDS * 1.1)
    world.live()
    assert ("aborted", OLD) == (world.server.status, world.image_in(world.running))


@AT_EACH
def test_opening_time(stage: Stage, flow: Flow, point: GatePoint) -> None:
    """A gate that says when it opens is asked then, not with the poll after it."""
    opens = START + timedelta(seconds=5000)
    gates = closed(point, Closed("waiting for the night", opens))
    world = held(stage, flow, gates)
    let(world, 6000 - world.clock.seconds)
    asked = min(now for a_point, now in gates.asked if a_point is point and now >= opens)
    assert asked - opens < timedelta(minutes=1)


@AT_EACH
@pytest.mark.parametrize("fault", [Answer(400), Answer(422), Answer(404), Answer(500), NoNetwork()], ids=str)
def test_server_that_does_not_take_it(stage: Stage, flow: Flow, point: GatePoint, fault: Answer | NoNetwork) -> None:
    """A server that refuses these statuses, or can't be reached, changes nothing about the wait and what follows."""
    gates = closed(point)
    world = with_deployment(World(stage, options(flow, gates)))
    for status in _PAUSES.values():
        world.transport.rules.append(at(f"status {status}", fault))
    client_of(world).request_poll()
    for _ in range(20):
        world.turn()
    assert world.journal.load().update is not None
    gates.verdicts.clear()
    assert "success" == finished(world)


@AT_EACH
def test_wakes_no_more_often(stage: Stage, flow: Flow, point: GatePoint) -> None:
    """A client whose update waits wakes for its polls and inventories, and for nothing else; these go on."""
    world = held(stage, flow, closed(point))
    client, inventories = client_of(world), world.transport.counts["inventory"]
    world.device.attributes.append(("colour", "blue"))
    days = 3
    end, steps = world.clock.seconds + days * 86400, 0
    while world.clock.seconds < end:
        world.clock.seconds += max(client.step(), 0.1)
        steps += 1
    assert steps < days * 86400 / (POLL_SECONDS * 0.95) + days * 3 + 2
    assert world.transport.counts["inventory"] > inventories


@AT_EACH
def test_token_that_ends(stage: Stage, flow: Flow, point: GatePoint) -> None:
    """A token that ends while an update waits is renewed."""
    gates = closed(point)
    world = held(stage, flow, gates)
    for _ in range(3):
        world.server.state.devices.revoke_tokens(world.server.device.id)
        let(world, 7200)
    gates.verdicts.clear()
    assert "success" == finished(world)


@pytest.mark.parametrize("flow", Flow, ids=lambda one: one.value)
def test_link_that_expires(stage: Stage, flow: Flow) -> None:
    """A link to the Artifact that expires while an update waits for its download is replaced."""
    gates = closed(GatePoint.DOWNLOAD)
    world = held(stage, flow, gates)
    let(world, 3 * 86400)
    world.transport.rules.append(at("download", Answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>"), 1))
    gates.verdicts.clear()
    assert "success" == finished(world)
    assert 2 == world.transport.counts["download"]


def test_inventory_follows(stage: Stage) -> None:
    """An update that fails in a later step than it was begun in is followed by the inventory that it changed."""
    gates = closed(GatePoint.INSTALL, Closed("waiting for some seconds", START + timedelta(seconds=1880)))
    modules = ModuleOptions(reboot="No", fails="ArtifactInstall")
    world = with_deployment(World(stage, Options(modules=modules, has_boot_service=False, gates=gates)))
    while not world.server.is_over:
        world.turn()
    ended = len(world.transport.requests)
    world.device.attributes.append(("leftovers", "some"))
    let(world, 1.0)
    assert ("failure", ["inventory", "next"]) == (world.server.status, kinds_since(world, ended))


def test_server_out_of_reach(stage: Stage) -> None:
    """A gate that opens while the server can't be reached lets the update go on as soon as it can be."""
    gates = closed(GatePoint.INSTALL)
    world = held(stage, Flow.HANDOVER, gates)
    world.transport.is_down = True
    let(world, 86400)
    gates.verdicts.clear()
    let(world, 7200)
    assert {} == dict(world.starts)
    world.transport.is_down = False
    assert "success" == finished(world)


def test_disk_that_is_full(stage: Stage) -> None:
    """If it can't be stored where an update waits, it waits all the same."""
    gates = closed(GatePoint.INSTALL)
    world = with_deployment(World(stage, options(Flow.HANDOVER, gates)))
    client_of(world).request_poll()
    world.disk.refuses = lambda what: "journal" in what and (GatePoint.INSTALL in [point for point, _ in gates.asked])
    let(world, 86400)
    assert {} == dict(world.starts)
    world.disk.refuses = lambda _: False
    gates.verdicts.clear()
    assert "success" == finished(world)


def test_says_it_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The log has one line when an update begins to wait, one when its reason changes, and one when it goes on."""
    caplog.set_level(logging.INFO, "mender_client")
    gates = closed(GatePoint.INSTALL)
    world = held(stage, Flow.HANDOVER, gates)
    let(world, 86400)
    gates.verdicts[GatePoint.INSTALL] = Closed("waiting for mains power")
    let(world, 86400)
    gates.verdicts.clear()
    world.live()
    lines = [one.getMessage() for one in caplog.records if "before the installation" in one.getMessage()]
    assert ["waiting for approval", "waiting for mains power", "is no longer waiting before the installation"] == [
        line.partition("installation: ")[2] or line.split(" ", 2)[2] for line in lines
    ]


# -- by hand ------------------------------------------------------------------------------------------------------

COMMANDS = ["pause", "postpone", "approve", "refuse"]


@AT_EACH
@pytest.mark.parametrize("is_all", [False, True], ids=["one", "all"])
@pytest.mark.parametrize("is_restarted", [False, True], ids=["", "restart"])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands(stage: Stage, flow: Flow, point: GatePoint, command: str, is_restarted: bool, is_all: bool) -> None:
    """Every decision holds at every gate, before and after a restart, until it is taken back."""
    gates = closed(point)
    world = held(stage, flow, gates)

    def act(kind: DecisionKind, until: str = "") -> None:
        decide(world, kind, is_all=is_all, until=until)
        if is_restarted:
            restart(world)

    if command == "approve":
        act(DecisionKind.APPROVE)
        assert "success" == finished(world)
        return
    if command == "refuse":
        act(DecisionKind.REFUSE)
        assert "failure" == finished(world)
        assert "refused by anna: the machine runs" in world.journal.load().outcomes[-1].reason
        return
    until = (world.clock.now() + timedelta(hours=7)).isoformat() if command == "postpone" else ""
    act(DecisionKind(command), until)
    gates.verdicts.clear()
    let(world, 6 * 3600)
    assert f"{command}d" in waiting_of(world).reason
    if command == "pause":
        world.journal.update(lambda record: continued(record, is_all=is_all))
    else:
        let(world, 1.1 * 3600)
    assert "success" == finished(world)


def test_pause_ahead(stage: Stage) -> None:
    """A pause of all updates holds the next one at its first gate, without one configured."""
    world = World(stage, options(Flow.HANDOVER))
    decide(world, DecisionKind.PAUSE, is_all=True)
    world = with_deployment(world)
    let(world, 86400)
    assert (GatePoint.DOWNLOAD, 0) == (waiting_of(world).point, world.transport.fetched)
    world.journal.update(lambda record: continued(record, is_all=True))
    assert "success" == finished(world)


class Patience(SetGates):
    """The gate before the download, which is closed until an hour has passed."""

    def verdict(self, point: GatePoint, facts: GateFacts, now: datetime) -> Verdict:
        """Open when it was closed for an hour."""
        since = facts.closed_since or now
        if point is not GatePoint.DOWNLOAD or now - since >= timedelta(hours=1):
            return Open()
        return Closed("waiting for an hour", since=since)


@pytest.mark.parametrize("flow", Flow, ids=lambda one: one.value)
def test_deadline_that_was_over(stage: Stage, flow: Flow) -> None:
    """A client that is restarted during a download doesn't wait again for a deadline that has passed."""
    world = held(stage, flow, Patience())
    world.power.always["download"] = Blow(Kind.KILL)
    while not world.power.fallen:
        world.turn()
    world.power.always.clear()
    let(world, POLL_SECONDS)
    assert "success" == world.server.status


@pytest.mark.parametrize("is_restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_clock_that_is_set(stage: Stage, days: int, is_restarted: bool) -> None:
    """A postponement lasts as long as it was meant to, however the wall clock is set meanwhile, by whatever client."""
    world = held(stage, Flow.HANDOVER, closed(GatePoint.INSTALL))
    assert isinstance(world.options.gates, SetGates)
    world.options.gates.verdicts.clear()
    decide(world, DecisionKind.POSTPONE, until=(world.clock.now() + timedelta(hours=30)).isoformat())
    let(world, 3600)
    world.clock.wall_error = timedelta(days=days)
    if is_restarted:
        restart(world)
    let(world, 28 * 3600)
    assert "by anna" in waiting_of(world).reason
    let(world, 2.1 * 3600)
    assert "success" == finished(world)
