"""The scenarios of an update, and what must hold at the end of each, whatever happens during it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mender_client.core.artifact import rootfs_image
from mender_client.core.gates import GatePoint
from world import (
    NEW,
    OLD,
    Answer,
    Blow,
    Damage,
    Fault,
    Kind,
    Lost,
    Options,
    Refused,
    Stage,
    TimedGates,
    World,
    at,
    build_artifact,
    make_stage,
)
from world.stores import ARTIFACT, LOCK, PARTIAL

from .by_the_clock import downloads_in

FINAL = {"success", "failure"}


def _nothing(_: World) -> None:
    """All is well."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Args:
        name: a description for test reports.
        ends: the deployment's last status without blows; also selects the deployed Artifact.
        options: the behaviour of the device.
        arrange: sets up further faults.
        artifact: the Artifact that is offered as the new release.
        is_thorough: each blow is tried both before and after its effect.
        is_plain: no blows are tried: this device could not recover from them without an operator.
        only_client: blows are tried on the client's effects only: this sub-updater isn't safe against power cuts.
    """

    name: str
    ends: str
    options: Options = field(default_factory=Options)
    arrange: Callable[[World], None] = _nothing
    artifact: str = NEW
    is_thorough: bool = False
    is_plain: bool = False
    only_client: bool = False

    def __str__(self) -> str:
        return self.name


def _abort_at(kind: str, number: int = 1) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        def before_request(a_kind: str, a_number: int) -> None:
            if (a_kind, a_number) == (kind, number):
                world.server.abort()

        world.transport.before_request = before_request

    return arrange


def _revoke_at(*numbers: int) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        def before_request(kind: str, number: int) -> None:
            if sum(world.transport.counts.values()) in numbers:
                world.server.state.devices.revoke_tokens(world.server.device.id)

        world.transport.before_request = before_request

    return arrange


def _full_disk(world: World) -> None:
    world.disk.refuses = lambda what: what.startswith("append") and len(world.disk.read(PARTIAL) or b"") > 2000


def _no_lock(world: World) -> None:
    world.disk.refuses = lambda what: what == f"write {LOCK}"


def _broken_bodies(world: World) -> None:
    world.transport.cut_bodies_at = lambda number: 3000 if number < 5 else None


def _answers(*rules: tuple[str, int | str, tuple[int, ...]]) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        for kind, what, numbers in rules:
            fault: Fault = Answer(what) if isinstance(what, int) else Lost() if what == "lost" else Refused()
            world.transport.rules.append(at(kind, fault, *numbers))

    return arrange


def _gates(refuses: GatePoint | None = None) -> TimedGates:
    """Gates that hold an update for hours."""
    return TimedGates({GatePoint.DOWNLOAD: 1.7, GatePoint.INSTALL: 4.2}, refuses)


_SOON = 120.0
_ONCE = (1, 2)
SCENARIOS = (
    Scenario("healthy", "success", is_thorough=True),
    Scenario("at-once", "success", Options(eager_steps=99), is_thorough=True),
    Scenario("half-at-once", "success", Options(eager_steps=4)),
    Scenario("refused-at-once", "failure", Options(refuses=True, eager_steps=99)),
    Scenario("write-fails", "failure", Options(write_fails=True)),
    Scenario("unhealthy", "failure", Options(unhealthy=NEW), is_thorough=True),
    Scenario("tells-reboot", "success", Options(tells_reboot=True)),
    Scenario("tells-reboot-and-fails", "failure", Options(tells_reboot=True, unhealthy=NEW)),
    Scenario("unbootable", "failure", Options(unbootable=NEW)),
    Scenario("dies", "failure", Options(dies=True, has_boot_service=False, sub_updater_timeout_seconds=_SOON)),
    Scenario(
        "silent-at-once",
        "failure",
        Options(
            is_silent=True,
            silent_fails=True,
            eager_steps=99,
            has_boot_service=False,
            sub_updater_timeout_seconds=_SOON,
        ),
        only_client=True,
    ),
    Scenario(
        "silent-success",
        "success",
        Options(is_silent=True, has_boot_service=False, sub_updater_timeout_seconds=_SOON),
        only_client=True,
    ),
    Scenario(
        "silent-failure",
        "failure",
        Options(is_silent=True, silent_fails=True, has_boot_service=False, sub_updater_timeout_seconds=_SOON),
        only_client=True,
    ),
    Scenario("script-missing", "failure", Options(has_script=False)),
    Scenario("cannot-spawn", "failure", Options(can_spawn=False)),
    Scenario(
        "cannot-spawn-alone",
        "failure",
        Options(can_spawn=False, has_boot_service=False, sub_updater_timeout_seconds=0),
        is_plain=True,
    ),
    Scenario("slow", "success", Options(step_seconds=20)),
    Scenario("rot", "success", Options(rots=True)),
    Scenario("lock-unwritable", "failure", Options(), _no_lock),
    Scenario("disk-full", "failure", Options(), _full_disk),
    Scenario("wrong-device", "failure", artifact="not-for-this-board"),
    Scenario("damaged", "failure", artifact="damaged"),
    Scenario("aborted-early", "aborted", Options(), _abort_at("status downloading")),
    Scenario("aborted-in-download", "aborted", Options(), _abort_at("download")),
    Scenario("aborted-installing", "aborted", Options(), _abort_at("status success")),
    Scenario("token-revoked", "success", Options(), _revoke_at(5, 8, 10, 13)),
    Scenario("undeliverable", "success", Options(), _answers(("status success", "refused", tuple(range(1, 20))))),
    Scenario(
        "failure-undeliverable",
        "failure",
        Options(unhealthy=NEW),
        _answers(("log", "refused", tuple(range(1, 20)))),
    ),
    Scenario(
        "server-trouble",
        "success",
        Options(),
        _answers(
            *((f"status {one}", 500, _ONCE) for one in ("downloading", "installing", "success")),
            ("download", 503, _ONCE),
            ("next", 500, (3,)),
        ),
    ),
    Scenario(
        "answers-lost",
        "success",
        Options(),
        _answers(
            *((f"status {one}", "lost", _ONCE) for one in ("downloading", "installing", "success")),
            ("next", "lost", (3,)),
            ("auth", "lost", (2,)),
        ),
    ),
    Scenario("gates", "success", Options(gates=_gates()), is_thorough=True),
    Scenario("gate-refuses", "failure", Options(gates=_gates(GatePoint.INSTALL))),
    Scenario("aborted-at-gate", "aborted", Options(gates=_gates()), _abort_at("status pause_before_installing")),
    Scenario("gate-untold", "success", Options(gates=_gates()), _answers(("status pause_before_installing", 400, ()))),
    Scenario("download-windows", "success", arrange=downloads_in("01:00-01:01 100")),
    Scenario("connection-breaks", "success", Options(), _broken_bodies),
)
BY_NAME: Mapping[str, Scenario] = {one.name: one for one in SCENARIOS}


def prepare_stage(stage: Stage) -> Stage:
    """Add the Artifacts that only some roads need."""
    whole = stage.content(NEW)
    middle = whole.index(b"an image an image") + 40
    stage.add("damaged", whole[:middle] + b"x" + whole[middle + 1 :])
    stage.add("not-for-this-board", build_artifact(rootfs_image(NEW, ("another",)), b"an image"))
    return stage


def new_stage(directory: Path) -> Stage:
    """A stage with all Artifacts."""
    return prepare_stage(make_stage(directory))


def begin(stage: Stage, scenario: Scenario, blows: Mapping[int, Blow], *, seed: int = 1) -> World:
    """A world in which a deployment waits for a device that the server knows; effects count from here on."""
    world = World(stage, scenario.options, seed=seed)
    world.server.offer(stage.path(scenario.artifact), NEW)
    while not list(world.server.state.devices):
        world.turn()
    world.server.deploy(NEW)
    scenario.arrange(world)
    offset = len(world.power.trace)
    world.power.plan = {number + offset: blow for number, blow in blows.items()}
    world.first_effect = offset
    return world


def live(stage: Stage, scenario: Scenario, blows: Mapping[int, Blow], *, seed: int = 1) -> World:
    """Play a road with blows to its end and check what must be true there."""
    world = begin(stage, scenario, blows, seed=seed)
    world.live()
    check(world)
    if not blows:
        check_plain_end(world, scenario)
    elif all(is_before_hand_over(world, *case) for case in blows.items()):
        assert scenario.ends == world.server.status, "a blow before the hand-over changed the end"
    return world


def check_plain_end(world: World, scenario: Scenario) -> None:
    """What must be true at the end of a road on which nothing else happened."""
    told = [one for one in FINAL if world.transport.counts[f"status {one}"]]
    assert scenario.ends == world.server.status, "another end than this road has"
    assert world.starts or scenario.ends in FINAL or not told, f"aborted early, and yet it told {told}"
    assert world.transport.conflicts <= 1, "it went on after the server had said that it is over"


TRACE = "leave the trace"


def is_before_hand_over(world: World, number: int, blow: Blow) -> bool:
    """Whether the sub-updater can't have started before a blow, and the client can tell after the restart.

    That holds until the lock file is written, as a boot service may report an update that never started if the lock
    exists. A client that was only killed can tell until the sub-updater has left its trace.
    """
    trace = world.power.trace[world.first_effect :]
    if blow.kind is Kind.FAULT:
        return False
    if f"write {LOCK}" not in trace:
        return True
    if blow.kind is Kind.KILL:
        at_trace = trace.index(TRACE) + 1 if TRACE in trace else len(trace) + 1
        return number < at_trace or (number == at_trace and not blow.after)
    return number < trace.index(f"write {LOCK}") + 1


def effects(stage: Stage, scenario: Scenario) -> list[str]:
    """The effects of a road without blows, up to its end."""
    world = begin(stage, scenario, {})
    while not world.is_quiet:
        world.turn()
    return world.power.trace[world.first_effect :]


def check(world: World) -> None:
    """What must be true when all is quiet."""
    statuses, status = world.server.statuses, world.server.status
    finals = [one for one in statuses if one in FINAL]
    assert finals == statuses[len(statuses) - len(finals) :], f"something followed a final status: {statuses}"
    assert len(finals) <= 1, f"contradicting outcomes: {statuses}"
    runs = world.image_in(world.running)
    assert (world.running, 0) == (world.boot["part"], world.boot["upgrade_available"]), "what runs is not what boots"
    if status == "success":
        assert NEW == runs, "success, but the old software runs"
    elif status == "failure":
        assert OLD == runs, "failure, but the new software runs"
    else:
        assert status == "aborted"
    record = world.journal.load()
    assert (None, ()) == (record.update, record.outbox)
    assert {} == {
        one.deployment_id: one for one in record.outcomes if status in FINAL and one.status.value != status
    }, "the device remembers another outcome than the server"
    assert None is world.lock.read()
    assert (None, None) == (world.disk.read(ARTIFACT), world.disk.read(PARTIAL)), "an Artifact takes room for nothing"
    assert [] == world.doubled, "installed twice"


def single_blows(trace: list[str], scenario: Scenario) -> Iterator[tuple[int, Blow]]:
    """Every blow on a road: each kind at each effect, before and after it."""
    if scenario.is_plain:
        return
    from_hand_over = trace.index("spawn") + 1 if "spawn" in trace else len(trace)
    for number, name in enumerate(trace, 1):
        is_clients = number <= from_hand_over or name.startswith(("status", "log", "auth", "write the journal"))
        if scenario.only_client and not is_clients:
            continue
        for after in (False, True):
            yield number, Blow(Kind.KILL, after=after)
            yield number, Blow(Kind.POWER, after=after)
            if is_clients:
                yield number, Blow(Kind.FAULT, after=after)
        if name.startswith(("append", "sync", "rename", "empty")):
            yield number, Blow(Kind.POWER, after=True, damage=Damage.KEEP)
            yield number, Blow(Kind.POWER, after=True, damage=Damage.TORN)


def random_blows(seed: int, length: int, count: int) -> dict[int, Blow]:
    """Some blows at random places; a later one often falls into the recovery from an earlier one."""
    source = random.Random(seed)
    kinds = (Kind.POWER, Kind.POWER, Kind.KILL)
    first = source.randint(1, length)
    places = [first, *(first + source.randint(1, 25) for _ in range(count - 1))]
    return {
        place: Blow(source.choice(kinds), after=source.random() < 0.5, damage=source.choice(list(Damage)))
        for place in places
    }
