"""The tables of the update's states: total, finite, loud."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mender_client.core.machine import ENDS, RESUME, TRANSITIONS, Event, InstallerState, State, advance

UNDER_WAY = [state for state in State if state not in ENDS]


def test_tables_are_total() -> None:
    """Every state has its transitions, and every state that is no end says where a restart goes on by every sight."""
    assert set(State) == set(TRANSITIONS)
    assert set(UNDER_WAY) == set(RESUME)
    assert all(set(InstallerState) == set(RESUME[state]) for state in UNDER_WAY)


def test_ends_are_ends() -> None:
    """Nothing leads out of an end, and nothing resumes in one."""
    assert all(not TRANSITIONS[state] for state in ENDS)
    assert not {state for sights in RESUME.values() for state in sights.values()} & ENDS


@pytest.mark.parametrize("state", UNDER_WAY)
def test_every_road_ends(state: State) -> None:
    """From every state an end can be reached, and a fault always leads to failure."""
    reached, new = {state}, {state}
    while new:
        new = {after for one in new for after in TRANSITIONS[one].values()} - reached
        reached |= new
    assert reached & ENDS
    assert State.FAILED is advance(state, Event.FAULT)


def test_no_way_back() -> None:
    """No transition leads back: only a restart may begin again."""
    order = list(State)
    assert all(
        order.index(after) > order.index(state) for state, events in TRANSITIONS.items() for after in events.values()
    )


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_unexpected_events_are_loud(state: State, event: Event) -> None:
    """An event that a state does not expect is a fault of ours, and says so."""
    if event in TRANSITIONS[state]:
        assert TRANSITIONS[state][event] is advance(state, event)
    else:
        with pytest.raises(ValueError, match=f"an update that is {state.value} does not expect: {event.value}"):
            advance(state, event)


@pytest.mark.parametrize("sight", [sight for sight in InstallerState if sight is not InstallerState.NOT_BEGUN])
def test_nothing_begins_again_behind_the_hand_over(sight: InstallerState) -> None:
    """Where a trace says that a sub-updater may have begun, no restart leads back to where it would begin anew."""
    for state in (State.HANDING_OVER, State.INSTALLING, State.RECONCILING):
        assert RESUME[state][sight] in (State.INSTALLING, State.RECONCILING)


def test_only_what_is_wanted_is_handed_over() -> None:
    """The only way to the hand-over leads through the proof and the server's word."""
    ways = [
        (state, event)
        for state, events in TRANSITIONS.items()
        for event, after in events.items()
        if after is State.HANDING_OVER
    ]
    assert [(State.VERIFIED, Event.CONFIRMED)] == ways
    assert [(State.DOWNLOADING, Event.FETCHED)] == [
        (state, event)
        for state, events in TRANSITIONS.items()
        for event, after in events.items()
        if after is State.VERIFIED
    ]


def test_the_page_of_the_states_is_fresh() -> None:
    """The page about the states is made from the tables; one that was made from others fails the build."""
    tool = Path(__file__).parents[2] / "tools" / "state_diagram.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
