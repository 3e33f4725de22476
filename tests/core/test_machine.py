"""The state tables of the update: complete, finite, and strict about unexpected events."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mender_client.core.machine import (
    ENDS,
    EXPLANATIONS,
    IRREVOCABLE,
    RESUME,
    TRANSITIONS,
    Event,
    Flow,
    InstallerState,
    Result,
    State,
    advance,
    result_after,
)

CASES = [(flow, state) for flow in Flow for state in TRANSITIONS[flow]]
UNDER_WAY = [(flow, state) for flow, state in CASES if state not in ENDS]


def test_tables_are_total() -> None:
    """Every flow has its transitions, and every state but the final ones has a resume state for each InstallerState."""
    assert set(Flow) == set(TRANSITIONS) == set(RESUME) == set(IRREVOCABLE)
    assert set(State) == set(EXPLANATIONS) == {state for _, state in CASES}
    assert set(UNDER_WAY) == {(flow, state) for flow in Flow for state in RESUME[flow]}
    assert all(set(InstallerState) == set(RESUME[flow][state]) for flow, state in UNDER_WAY)


def test_ends_are_ends() -> None:
    """A final state has no transitions, and no update resumes in one."""
    assert all(not TRANSITIONS[flow][state] for flow, state in CASES if state in ENDS)
    assert not {state for flow in Flow for sights in RESUME[flow].values() for state in sights.values()} & ENDS


def after(flow: Flow, state: State) -> set[State]:
    """The states that can directly follow a state."""
    return {*TRANSITIONS[flow][state].values(), *RESUME[flow].get(state, {}).values()}


def reachable(flow: Flow, state: State) -> set[State]:
    """The states that are reachable from a state."""
    reached, new = set[State](), {state}
    while new:
        new = {one for known in new for one in after(flow, known)} - reached
        reached |= new
    return reached


@pytest.mark.parametrize(("flow", "state"), UNDER_WAY)
def test_every_road_ends(flow: Flow, state: State) -> None:
    """A final state is reachable from every state, and a detected state loop fails the update."""
    assert reachable(flow, state) & ENDS
    assert State.FAILED is advance(flow, state, Event.LOOP)


def test_a_fault_ends_what_is_handed_over() -> None:
    """In the hand-over flow a fault always leads to failure."""
    assert {State.FAILED} == {advance(flow, state, Event.FAULT) for flow, state in UNDER_WAY if flow is Flow.HANDOVER}


ROLLBACK = (
    State.CHECK_ROLLBACK,
    State.ARTIFACT_ROLLBACK,
    State.CHECK_ROLLBACK_REBOOT,
    State.ROLLBACK_REBOOT,
    State.VERIFY_ROLLBACK_REBOOT,
    State.ARTIFACT_FAILURE,
)
INSTALL = (
    State.ARTIFACT_INSTALL,
    State.CHECK_REBOOT,
    State.ARTIFACT_REBOOT,
    State.VERIFY_REBOOT,
    State.ARTIFACT_COMMIT,
)


@pytest.mark.parametrize("state", INSTALL)
def test_what_has_begun_is_rolled_back(state: State) -> None:
    """From the first call of ArtifactInstall to the commit, a fault or an abort by the server leads to the rollback."""
    for event in (Event.FAULT, Event.ABORT):
        assert State.CHECK_ROLLBACK is advance(Flow.MODULES, state, event)
        assert Result.FAILED is result_after(state, event, Result.CLEAN)


def test_what_is_committed_is_not_rolled_back() -> None:
    """After the commit nothing leads to the rollback; a fault fails the update and leaves the device inconsistent."""
    assert not {State.CHECK_ROLLBACK, State.ARTIFACT_ROLLBACK} & reachable(Flow.MODULES, State.COMMITTED)
    assert State.CLEANUP is advance(Flow.MODULES, State.COMMITTED, Event.FAULT)
    assert Result.INCONSISTENT is result_after(State.COMMITTED, Event.FAULT, Result.CLEAN)


@pytest.mark.parametrize("state", ROLLBACK)
@pytest.mark.parametrize("event", [Event.FAULT, Event.FLAWED, Event.LOOP])
def test_a_rollback_that_fails(state: State, event: Event) -> None:
    """Any failure in a rollback leaves the device inconsistent, and no later success changes that."""
    assert Result.INCONSISTENT is result_after(state, event, Result.FAILED)
    assert {Result.INCONSISTENT} == {result_after(one, Event.DONE, Result.INCONSISTENT) for one in ROLLBACK}


def test_no_rollback_without_support() -> None:
    """A module that answers No to SupportsRollback gets no rollback call, and the device is inconsistent."""
    assert State.ARTIFACT_FAILURE is advance(Flow.MODULES, State.CHECK_ROLLBACK, Event.NO)
    assert Result.INCONSISTENT is result_after(State.CHECK_ROLLBACK, Event.NO, Result.FAILED)
    assert Result.FAILED is result_after(State.CHECK_ROLLBACK_REBOOT, Event.NO, Result.FAILED)


@pytest.mark.parametrize("state", [State.DOWNLOADING, State.VERIFIED])
def test_nothing_is_touched_before_the_install(state: State) -> None:
    """A failure before ArtifactInstall leaves the device unchanged; only Cleanup is called."""
    for event in (Event.FAULT, Event.ABORT):
        assert State.CLEANUP is advance(Flow.MODULES, state, event)
    assert {Result.FAILED} == {result_after(state, one, Result.CLEAN) for one in (Event.FAULT, Event.ABORT, Event.LOOP)}


@pytest.mark.parametrize(
    "state", [State.ARTIFACT_INSTALL, State.CHECK_REBOOT, State.VERIFY_REBOOT, State.ARTIFACT_COMMIT]
)
def test_power_cut_before_the_commit(state: State) -> None:
    """A client restarted before the commit rolls back, except in ArtifactReboot, where a restart is expected."""
    assert {State.CHECK_ROLLBACK} == set(RESUME[Flow.MODULES][state].values())
    assert {State.VERIFY_REBOOT} == set(RESUME[Flow.MODULES][State.ARTIFACT_REBOOT].values())


@pytest.mark.parametrize("flow", list(Flow))
def test_every_loop_is_bounded(flow: Flow) -> None:
    """The loop guard bounds every loop: the states that are exempt from it can only loop to themselves."""
    for state in IRREVOCABLE[flow]:
        assert state not in {one for other in after(flow, state) - {state} for one in reachable(flow, other)}


@pytest.mark.parametrize("flow", list(Flow))
def test_no_way_back(flow: Flow) -> None:
    """No transition leads back: only a restart can return to an earlier state, and a retry stays in its state."""
    order = list(TRANSITIONS[flow])
    assert all(
        order.index(after) > order.index(state) or event is Event.AGAIN
        for state, events in TRANSITIONS[flow].items()
        for event, after in events.items()
    )


@pytest.mark.parametrize(("flow", "state"), CASES)
def test_unexpected_events_are_loud(flow: Flow, state: State) -> None:
    """An event that a state does not expect is a bug and raises an error."""
    for event in Event:
        if event in TRANSITIONS[flow][state]:
            assert TRANSITIONS[flow][state][event] is advance(flow, state, event)
        else:
            with pytest.raises(ValueError, match=f"an update that is {state.value} does not expect: {event.value}"):
                advance(flow, state, event)


HANDOVER = TRANSITIONS[Flow.HANDOVER]


@pytest.mark.parametrize("sight", [sight for sight in InstallerState if sight is not InstallerState.NOT_BEGUN])
def test_nothing_begins_again_after_the_hand_over(sight: InstallerState) -> None:
    """If a trace shows that a sub-updater may have begun, no restart leads to a state that would start it again."""
    for state in (State.HANDING_OVER, State.INSTALLING, State.RECONCILING):
        assert RESUME[Flow.HANDOVER][state][sight] in (State.INSTALLING, State.RECONCILING)


def ways_to(state: State) -> list[tuple[State, Event]]:
    """The transitions that lead to a state."""
    return [(one, event) for one, events in HANDOVER.items() for event, after in events.items() if after is state]


def test_only_what_is_wanted_is_handed_over() -> None:
    """The only way to the hand-over leads through verification and confirmation by the server."""
    assert [(State.VERIFIED, Event.CONFIRMED)] == ways_to(State.HANDING_OVER)
    assert [(State.DOWNLOADING, Event.FETCHED)] == ways_to(State.VERIFIED)


def test_the_page_of_the_states_is_fresh() -> None:
    """The page about the states is generated from the tables; an outdated page fails the build."""
    tool = Path(__file__).parents[2] / "tools" / "state_diagram.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
