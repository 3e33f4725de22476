"""The flow MODULES: every state fails, power goes, the client is killed, at every effect of every road."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from mender_client.core.gates import GatePoint
from world import NEW, OLD, Answer, Blow, Damage, Kind, ModuleOptions, Options, Stage, TimedGates, World, at
from world.modules import TREE
from world.stores import ARTIFACT, PARTIAL

from .scenarios import FINAL, Scenario, begin

pytestmark = pytest.mark.usefixtures("quietly")
_BLOWS = 2

_SUCCESS = [
    "Download_Enter", "Download", "Download_Leave",
    "ArtifactInstall_Enter", "ArtifactInstall", "ArtifactInstall_Leave", "NeedsArtifactReboot",
]  # fmt: skip
_REBOOT = ["ArtifactReboot_Enter", "ArtifactVerifyReboot", "ArtifactReboot_Leave"]
_COMMIT = ["ArtifactCommit_Enter", "ArtifactCommit", "ArtifactCommit_Leave", "Cleanup"]
_ROLLBACK = [
    "SupportsRollback", "ArtifactRollback_Enter", "ArtifactRollback", "ArtifactRollback_Leave", "NeedsArtifactReboot",
]  # fmt: skip
_ROLLBACK_REBOOT = ["ArtifactRollbackReboot_Enter", "ArtifactVerifyRollbackReboot", "ArtifactRollbackReboot_Leave"]
_FAILURE = ["ArtifactFailure_Enter", "ArtifactFailure", "ArtifactFailure_Leave", "Cleanup"]

ORDERS: Mapping[tuple[str, str], list[str]] = {
    ("Automatic", ""): [*_SUCCESS, *_REBOOT, *_COMMIT],
    ("Yes", ""): [*_SUCCESS, _REBOOT[0], "ArtifactReboot", *_REBOOT[1:], *_COMMIT],
    ("No", ""): [*_SUCCESS, *_COMMIT],
    ("No", "Download_Enter"): ["Download_Enter", "Download_Error"],
    ("No", "Download"): ["Download_Enter", "Download", "Download_Error", "Cleanup"],
    ("No", "Download_Leave"): ["Download_Enter", "Download", "Download_Leave", "Download_Error", "Cleanup"],
    ("No", "ArtifactInstall_Enter"): [*_SUCCESS[:4], "ArtifactInstall_Error", *_ROLLBACK, *_FAILURE],
    ("No", "ArtifactInstall"): [*_SUCCESS[:5], "ArtifactInstall_Error", *_ROLLBACK, *_FAILURE],
    ("No", "ArtifactCommit"): [*_SUCCESS, *_COMMIT[:2], "ArtifactCommit_Error", *_ROLLBACK, *_FAILURE],
    ("Automatic", "ArtifactVerifyReboot"): [
        *_SUCCESS, *_REBOOT[:2], "ArtifactReboot_Error", *_ROLLBACK, *_ROLLBACK_REBOOT, *_FAILURE,
    ],
    ("Automatic", "ArtifactReboot_Leave"): [
        *_SUCCESS, *_REBOOT, "ArtifactReboot_Error", *_ROLLBACK, *_ROLLBACK_REBOOT, *_FAILURE,
    ],
}  # fmt: skip


def _scenario(options: ModuleOptions, *, is_spooled: bool | None = None, gates: TimedGates | None = None) -> Scenario:
    device = Options(modules=options, has_boot_service=False, is_spooled=is_spooled, gates=gates)
    return Scenario(f"{options.reboot}-{options.fails}", "", device)


def _live(stage: Stage, scenario: Scenario, blows: Mapping[int, Blow]) -> World:
    world = begin(stage, scenario, blows)
    world.calls.clear()
    world.live()
    return world


def _check(world: World) -> None:
    """What must be true when all is quiet."""
    options = world.options.modules
    assert options is not None
    finals = [one for one in world.server.statuses if one in FINAL]
    record = world.journal.load()
    assert (1, finals) == (len(finals), world.server.statuses[-1:]), f"no single final status: {world.server.statuses}"
    assert (None, ()) == (record.update, record.outbox)
    assert (None, None, None) == tuple(world.disk.read(name) for name in (TREE, ARTIFACT, PARTIAL)), "something is left"
    name = record.provides(world.device.provides()).artifact_name
    runs = world.image_in(world.running)
    if finals == ["success"]:
        assert (NEW, NEW) == (runs, name)
    elif name.endswith("_INCONSISTENT"):
        assert f"{NEW}_INCONSISTENT" == name
        flaws = ("Rollback", "ArtifactFailure", "ArtifactCommit_Leave", "NeedsArtifactReboot")
        may_be = not options.can_roll_back or any(flaw in one for flaw in flaws for one in _faults(world))
        assert may_be, "a rollback that had no reason to fail"
        return
    else:
        has_no_cleanup = {"Cleanup", "call Cleanup", "remove backup"} & _faults(world)
        assert (NEW if has_no_cleanup and name == NEW else OLD, name) == (runs, runs)
    assert world.running == world.boot["part"], "what runs is not what boots"


def _faults(world: World) -> set[str]:
    """What has failed by itself."""
    options = world.options.modules
    assert options is not None
    plan, trace = world.power.plan, world.power.trace
    return {
        options.fails,
        *(trace[at - 1] for at, blow in plan.items() if blow.kind is Kind.FAULT and at <= len(trace)),
    }


ROADS = [
    ModuleOptions(reboot=reboot, fails=fails, fails_late=late, can_roll_back=can_roll_back)
    for reboot in ("No", "Yes", "Automatic")
    for fails in ("", *dict.fromkeys([*_SUCCESS, *_REBOOT, "ArtifactReboot", *_COMMIT, "ArtifactVerifyRollbackReboot"]))
    for late in (False, True)
    for can_roll_back in (True, False)
    if late is False or fails[-6:] not in ("_Enter", "_Leave")
]


@pytest.mark.parametrize(("reboot", "fails"), ORDERS, ids=str)
def test_order_of_calls(stage: Stage, reboot: str, fails: str) -> None:
    """Calls and scripts come in the order of the contract."""
    world = _live(stage, _scenario(ModuleOptions(reboot=reboot, fails=fails)), {})
    first, last = world.calls.index("Download_Enter"), len(world.calls)
    _check(world)
    assert ORDERS[reboot, fails] == world.calls[first:last]


def _statuses(world: World) -> list[str]:
    return world.server.statuses


@pytest.mark.parametrize(
    "road",
    [
        pytest.param(
            road,
            id=f"{road.reboot}-{road.fails}-{road.fails_late}-{road.can_roll_back}",
            marks=[] if road.can_roll_back or road.reboot == "No" else pytest.mark.nightly,
        )
        for road in ROADS
    ],
)
def test_every_state_fails(stage: Stage, road: ModuleOptions) -> None:
    """Whichever state or script fails, before or after its effect: one true final status, and nothing is left."""
    _check(_live(stage, _scenario(road), {}))


@pytest.mark.parametrize(("copies", "is_stored"), [(2.2, True), (1.5, False), (0.5, False)])
def test_space(stage: Stage, copies: float, is_stored: bool) -> None:
    """An Artifact is stored first only where its files fit beside it; where they don't, it streams and installs."""
    world = begin(stage, _scenario(ModuleOptions()), {})
    world.disk.free_bytes = world.options.policy.reserve_bytes + int(copies * len(stage.content(NEW)))
    world.live()
    _check(world)
    was_stored = "rename artifact.mender.part to artifact.mender" in world.power.trace
    assert ("success", is_stored) == (world.server.status, was_stored)


def test_artifact_that_rots(stage: Stage) -> None:
    """A stored Artifact that has changed since its verification is downloaded again, in the same state."""
    world = begin(stage, _scenario(ModuleOptions(), is_spooled=True), {})
    is_rotten = False

    def rot(effect: str) -> bool:
        nonlocal is_rotten
        inode = world.disk.inode(ARTIFACT) or world.disk.inode(PARTIAL)
        if effect == "make the tree" and inode is not None and not is_rotten:
            inode.data[-1500:-1499], is_rotten = b"x", True
        return False

    world.disk.refuses = rot
    world.live()
    _check(world)
    assert ("success", True) == (world.server.status, is_rotten)
    begun = world.calls[world.calls.index("Download_Enter") : world.calls.index("ArtifactInstall_Enter")]
    assert ["Download_Enter", "Download", "Download", "Download_Leave"] == begun


def test_artifact_that_always_rots(stage: Stage) -> None:
    """If the Artifact that was downloaded again is corrupt too, the storage is faulty, and the deployment fails."""
    world = begin(stage, _scenario(ModuleOptions(), is_spooled=True), {})

    def rot(effect: str) -> bool:
        inode = world.disk.inode(ARTIFACT) or world.disk.inode(PARTIAL)
        if effect == "make the tree" and inode is not None:
            inode.data[-1500:-1499] = b"x"
        return False

    world.disk.refuses = rot
    world.live()
    _check(world)
    assert ("failure", 2) == (world.server.status, world.calls.count("Download"))


@pytest.mark.parametrize("is_spooled", [True, False])
def test_link_that_stays_broken(stage: Stage, is_spooled: bool) -> None:
    """While the server can't give another link, Download is neither entered again nor reported again."""
    world = begin(stage, _scenario(ModuleOptions(), is_spooled=is_spooled), {})
    asked = world.transport.counts["next"]
    world.transport.rules += [
        at("download", Answer(404), *range(1, 6)),
        at("next", Answer(500), *range(asked + 2, asked + 6)),
    ]
    world.live()
    _check(world)
    assert "success" == world.server.status
    assert (1, 1) == (world.calls.count("Download_Enter"), world.server.statuses.count("downloading"))
    assert 0 == world.calls.count("Download_Error")


def _blows(trace: list[str]) -> Iterator[tuple[int, Blow]]:
    for number, name in enumerate(trace, 1):
        for after in (False, True):
            yield number, Blow(Kind.KILL, after=after)
            yield number, Blow(Kind.POWER, after=after)
        yield number, Blow(Kind.FAULT)
        if name.startswith(("append", "sync", "rename", "empty")):
            yield number, Blow(Kind.POWER, after=True, damage=Damage.TORN)


BLOWN = [
    ModuleOptions(reboot=reboot, fails=fails)
    for reboot in ("No", "Automatic")
    for fails in ("", "ArtifactInstall", "ArtifactVerifyReboot", "ArtifactCommit", "ArtifactCommit_Leave", "Cleanup")
] + [ModuleOptions(cannot_save=True), ModuleOptions(can_roll_back=False, fails="ArtifactCommit")]


GATED = TimedGates({GatePoint.DOWNLOAD: 1.7, GatePoint.INSTALL: 4.2, GatePoint.REBOOT: 6.4, GatePoint.COMMIT: 9.9})


@pytest.mark.parametrize("refuses", [None, *GatePoint], ids=str)
@pytest.mark.parametrize("reboot", ["No", "Automatic"])
def test_every_blow_at_gates(stage: Stage, reboot: str, refuses: GatePoint | None, is_nightly: bool) -> None:
    """Gates that hold an update change nothing about what must be true whatever happens at whichever effect."""
    gates = replace(GATED, refuses=refuses)
    scenario = _scenario(ModuleOptions(reboot=reboot), is_spooled=False, gates=gates)
    world = begin(stage, scenario, {})
    world.live()
    _check(world)
    is_refused = refuses is not None and (reboot, refuses) != ("No", GatePoint.REBOOT)
    assert ("failure" if is_refused else "success") == world.server.status
    trace = world.power.trace[world.first_effect :]
    cases = list(_blows(trace))
    if not is_nightly:
        cases = random.Random(f"{reboot} {refuses}").sample(cases, 2 * _BLOWS)
    failures = []
    for number, blow in cases:
        try:
            _check(_live(stage, scenario, {number: blow}))
        except (AssertionError, ValueError) as error:
            failures.append(f"{blow} at effect {number} ({trace[number - 1]}): {error!r}")
    assert [] == failures


@pytest.mark.parametrize("is_spooled", [True, False], ids=["spooled", "streamed"])
@pytest.mark.parametrize("road", BLOWN, ids=lambda road: f"{road.reboot}-{road.fails}")
def test_every_blow(stage: Stage, road: ModuleOptions, is_spooled: bool, is_nightly: bool) -> None:
    """Whatever happens at whichever effect: one final status, and it is true; nothing is left, nothing is doubled."""
    scenario = _scenario(road, is_spooled=is_spooled)
    world = begin(stage, scenario, {})
    while not world.is_quiet:
        world.turn()
    trace = world.power.trace[world.first_effect :]
    cases = list(_blows(trace))
    if not is_nightly:
        cases = random.Random(f"{road} {is_spooled}").sample(cases, _BLOWS)  # others on every road
    failures = []
    for number, blow in cases:
        try:
            _check(_live(stage, scenario, {number: blow}))
        except (AssertionError, ValueError) as error:
            failures.append(f"{blow} at effect {number} ({trace[number - 1]}): {error!r}")
    assert [] == failures
