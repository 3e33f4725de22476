"""The power goes, a process is killed or an effect fails, at every effect of every road an update can take."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mender_client.client.engine import LOCK_CHECK_SECONDS
from mender_client.core.update import MAXIMUM_WRITES
from world import Blow, Kind, Stage

from .scenarios import BY_NAME, SCENARIOS, Scenario, begin, check, effects, live, random_blows, single_blows

pytestmark = pytest.mark.usefixtures("quietly")
_PAIRS = 8
_BLOWS = 2
"""Blows on each road, where not all of them fall."""
_SEED = 1
ROADS = pytest.mark.parametrize("road", SCENARIOS, ids=str)


@ROADS
def test_roads(stage: Stage, road: Scenario) -> None:
    """Each road ends as it should when nothing else happens, and leaves nothing behind."""
    assert road.ends == live(stage, road, {}).server.status


@ROADS
def test_every_blow(stage: Stage, road: Scenario, is_nightly: bool) -> None:
    """Whatever happens at whichever effect: one final status, and it is true; nothing is left, nothing is doubled."""
    trace = effects(stage, road)
    cases = [case for case in single_blows(trace, road) if road.is_thorough or is_enough(case[1])]
    if not is_nightly:
        cases = random.Random(_SEED).sample(cases, min(len(cases), _BLOWS))
    failures = []
    for number, blow in cases:
        try:
            live(stage, road, {number: blow})
        except (AssertionError, ValueError) as error:
            failures.append(f"{blow} at effect {number} ({trace[number - 1]}): {error!r}")
    assert [] == failures


def is_enough(blow: Blow) -> bool:
    """A blow after an effect is nearly the same as one before the next effect; thorough scenarios try both."""
    return blow.after == (blow.kind is Kind.FAULT)


@pytest.mark.parametrize("road", [road for road in SCENARIOS if not (road.only_client or road.is_plain)], ids=str)
def test_more_blows_during_the_recovery(stage: Stage, road: Scenario, is_nightly: bool) -> None:
    """A second and a third blow, often during the recovery from the first, do not change the result."""
    length = len(effects(stage, road))
    failures = []
    for seed in range(_PAIRS if is_nightly else 1):
        blows = random_blows(seed, length, 2 + seed % 2)
        try:
            live(stage, road, blows, seed=seed)
        except (AssertionError, ValueError) as error:
            failures.append(f"seed {seed}, {blows}: {error!r}")
    assert [] == failures


LOOPS = ("download", "sync artifact.mender.part", "status installing", "write update.lock")


@pytest.mark.parametrize("effect", LOOPS)
@pytest.mark.parametrize("kind", [Kind.POWER, Kind.KILL], ids=lambda kind: kind.value)
def test_a_loop_ends(stage: Stage, effect: str, kind: Kind) -> None:
    """A client that dies at the same step in each of its lives gives the deployment up in the end, and says so."""
    world = begin(stage, BY_NAME["healthy"], {})
    world.power.always[effect] = Blow(kind)
    world.live()
    check(world)
    assert ("failure", {}) == (world.server.status, dict(world.starts))
    assert len(world.power.fallen) <= MAXIMUM_WRITES + 2


def test_waiting_is_no_loop(stage: Stage) -> None:
    """A client that is started again and again while the sub-updater works waits each time, and the outcome is true."""
    world = begin(stage, BY_NAME["healthy"], {})
    while world.process is None:
        world.turn()
    for _ in range(3 * MAXIMUM_WRITES):
        assert world.new_client().step() == LOCK_CHECK_SECONDS
    world.live()
    check(world)
    assert "success" == world.server.status


@pytest.mark.parametrize("road", ["healthy", "at-once", "unhealthy", "aborted-installing"])
@pytest.mark.parametrize("length", [1, 6])
def test_storage_that_fails_for_a_moment(stage: Stage, road: str, length: int, is_nightly: bool) -> None:
    """Whichever effects of the client fail before the sub-updater starts, the running client recovers by itself."""
    options = replace(BY_NAME[road].options, has_operator=False)
    scenario = replace(BY_NAME[road], options=options)
    trace = effects(stage, scenario)
    end = trace.index("spawn") + 1
    failures = []
    for first in range(1, end, 1 if is_nightly else 7):
        world = begin(stage, scenario, dict.fromkeys(range(first, min(first + length, end)), Blow(Kind.FAULT)))
        try:
            world.live(most_turns=300)
            check(world)
        except (AssertionError, ValueError) as error:
            failures.append(f"from effect {first} ({trace[first - 1]}): {error!r}")
    assert [] == failures
