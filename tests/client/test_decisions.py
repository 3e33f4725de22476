"""What people decide about updates, and in which order it counts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from mender_client.client.decisions import UpdateDecisions
from mender_client.core.gates import Closed, GatePoint
from mender_client.core.machine import Flow, State
from mender_client.errors import NothingToDecideError
from world import Stage, World

from .acting import with_deployment
from .test_gates import closed, finished, held, let, options, waiting_of


def decisions(world: World) -> UpdateDecisions:
    """As in the process of a command."""
    return UpdateDecisions(clock=world.clock, journal=world.journal)


def test_nothing_in_progress(stage: Stage) -> None:
    """A decision about the update in progress needs one."""
    to = decisions(World(stage, options(Flow.HANDOVER)))
    for decide in (to.pause, to.refuse, to.approve, to.resume):
        with pytest.raises(NothingToDecideError):
            decide("anna")


def test_approval_is_of_the_gate_where_it_waits(stage: Stage) -> None:
    """An approval is for the gate at which the update waits, however often it is given; the next one asks again."""
    gates = closed(GatePoint.INSTALL)
    gates.verdicts[GatePoint.COMMIT] = gates.verdicts[GatePoint.INSTALL]
    world = held(stage, Flow.MODULES, gates)
    for _ in range(2):
        assert "approved by anna before the installation" in decisions(world).approve("anna")
    let(world, 7200)
    assert GatePoint.COMMIT is waiting_of(world).point
    decisions(world).approve("anna")
    assert "success" == finished(world)


def test_approval_in_advance(stage: Stage) -> None:
    """A gate that is named is approved before the update comes to it; without a name, nothing is."""
    gates = closed(GatePoint.DOWNLOAD)
    world = held(stage, Flow.HANDOVER, gates)
    decisions(world).approve("anna", point=GatePoint.INSTALL)
    gates.verdicts[GatePoint.INSTALL] = gates.verdicts[GatePoint.DOWNLOAD]
    decisions(world).pause("bert")
    let(world, 3600)
    gates.verdicts.pop(GatePoint.DOWNLOAD)
    decisions(world).resume("bert")
    assert "success" == finished(world)


def test_approval_of_what_is_paused(stage: Stage) -> None:
    """What is paused at a gate may be approved there as well, and goes on when it is continued."""
    world = held(stage, Flow.HANDOVER, closed(GatePoint.INSTALL))
    decisions(world).pause("bert", " lunch\n")
    let(world, 3600)
    assert decisions(world).approve("anna").endswith("before the installation; it is still paused by bert: lunch")
    let(world, 3600)
    assert "paused by bert: lunch" == waiting_of(world).reason
    decisions(world).resume("bert")
    assert "success" == finished(world)


def test_approval_of_what_waits_for_something_else(stage: Stage) -> None:
    """An update that waits for a window is not approved by accident."""
    gates = closed(GatePoint.INSTALL)
    gates.verdicts[GatePoint.INSTALL] = Closed("outside of 22:00-05:00")
    world = held(stage, Flow.HANDOVER, gates)
    with pytest.raises(NothingToDecideError, match="is waiting before the installation: outside of 22:00-05:00"):
        decisions(world).approve("anna")


def test_what_is_being_installed(stage: Stage) -> None:
    """The answer to a decision during an installation says that the installation continues."""
    world = with_deployment(World(stage, options(Flow.HANDOVER)))
    while (update := world.journal.load().update) is None or update.state is not State.INSTALLING:
        world.turn()
    assert decisions(world).refuse("anna").endswith("refused by anna; a step that has begun is not interrupted")


def test_last_decision_counts(stage: Stage) -> None:
    """An approval revokes a refusal, a pause replaces a postponement, and a refusal replaces all other decisions."""
    world = held(stage, Flow.HANDOVER, closed(GatePoint.INSTALL))
    to, later = decisions(world), world.clock.now() + timedelta(hours=1)
    to.refuse("anna")
    to.approve("anna", point=GatePoint.INSTALL)
    to.postpone(later, "anna")
    to.pause("anna")
    let(world, 86400)
    assert "paused by anna" == waiting_of(world).reason
    to.refuse("anna", "no")
    assert "failure" == finished(world)


def test_refusal_of_all_goes_first(stage: Stage) -> None:
    """What is decided about all updates holds for the one in progress, too; what refuses goes before what waits."""
    world = held(stage, Flow.HANDOVER, closed(GatePoint.INSTALL))
    decisions(world).pause("anna")
    decisions(world).refuse("bert", "old hardware", is_all=True)
    assert "failure" == finished(world)
    assert "refused by bert: old hardware" in world.journal.load().outcomes[-1].reason


def test_continue_says_what_still_holds(stage: Stage) -> None:
    """To continue one update leaves it waiting if all are paused, and says so."""
    world = held(stage, Flow.HANDOVER, closed(GatePoint.INSTALL))
    decisions(world).pause("bert", is_all=True)
    decisions(world).pause("anna")
    still = ", but all updates are still paused by bert; 'continue --all' lifts this"
    assert decisions(world).resume("anna").endswith(f"no longer on hold{still}")
    assert decisions(world).resume("anna").endswith(f"not on hold{still}")
    assert decisions(world).resume("anna", is_all=True).startswith("all updates: no longer on hold")


def test_postponement_is_stored_in_utc(stage: Stage) -> None:
    """Whatever the zone in which a postponement ends, it is stored and shown in UTC."""
    world = World(stage, options(Flow.HANDOVER))
    end = datetime.fromisoformat("2026-01-02T03:04:05+05:30")
    text = decisions(world).postpone(end, "anna", is_all=True)
    assert "all updates: postponed until 2026-01-01 21:34 UTC by anna" == text
