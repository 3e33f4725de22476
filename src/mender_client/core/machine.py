"""The states of an update, as data: which event leads where, and where a restarted client goes on.

An update walks through ``TRANSITIONS`` from ``DOWNLOADING`` to one of the ends. Each state is written to disk before
its effect happens, so after a power cut ``RESUME`` tells, from the last state written and from what is to be seen of
the sub-updater, in which state to go on. Both tables are total: an event that a state does not expect is a fault of
ours and is loud. An installer of our own would add its states behind ``PROVEN``; nothing before changes by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(str, Enum):
    """Where an update stands."""

    DOWNLOADING = "downloading"
    PROVEN = "proven"
    HANDING_OVER = "handing-over"
    IN_HANDS = "in-hands"
    SETTLING = "settling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class Event(str, Enum):
    """What happens to an update."""

    FETCHED = "the Artifact is whole, proven and on disk"
    WANTED = "the server still wants it"
    HANDED = "the sub-updater has been started"
    SUCCESS = "the sub-updater reports success, or artifact_info shows it"
    FAILURE = "the sub-updater reports failure, or artifact_info shows it"
    FAULT = "something failed, took too long or went in circles"
    ABORT = "the server wants it no more"


class Sight(str, Enum):
    """What a restarted client sees of the sub-updater."""

    NOT_BEGUN = "no trace that the sub-updater was ever started"
    NO_LOCK = "no lock file"
    LOCK_ALONE = "a lock file, but no sub-updater at work"
    AT_WORK = "a lock file and the sub-updater at work"


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.ABORTED})
"""The states in which an update is over."""

TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.DOWNLOADING: {
        Event.FETCHED: State.PROVEN,
        Event.FAULT: State.FAILED,
        Event.ABORT: State.ABORTED,
    },
    State.PROVEN: {
        Event.WANTED: State.HANDING_OVER,
        Event.FAILURE: State.FAILED,  # power went behind the lock: at boot a sub-updater finds work that never began
        Event.FAULT: State.FAILED,
        Event.ABORT: State.ABORTED,
    },
    State.HANDING_OVER: {
        Event.HANDED: State.IN_HANDS,
        Event.SUCCESS: State.SUCCEEDED,  # a sub-updater may be done before we have noted that it began
        Event.FAILURE: State.FAILED,
        Event.FAULT: State.FAILED,
    },
    State.IN_HANDS: {
        Event.SUCCESS: State.SUCCEEDED,
        Event.FAILURE: State.FAILED,
        Event.FAULT: State.FAILED,
    },
    State.SETTLING: {
        Event.SUCCESS: State.SUCCEEDED,
        Event.FAILURE: State.FAILED,
        Event.FAULT: State.FAILED,
    },
    State.SUCCEEDED: {},
    State.FAILED: {},
    State.ABORTED: {},
}

RESUME: Mapping[State, Mapping[Sight, State]] = {
    # what is on disk is proven again by reading it, and the server is asked again whether it wants the update
    State.DOWNLOADING: dict.fromkeys(Sight, State.DOWNLOADING),
    State.PROVEN: {
        Sight.NOT_BEGUN: State.DOWNLOADING,
        # the lock is written in this state, and the sub-updater is not started before the next one is on disk
        Sight.NO_LOCK: State.DOWNLOADING,
        Sight.LOCK_ALONE: State.DOWNLOADING,
        Sight.AT_WORK: State.IN_HANDS,
    },
    State.HANDING_OVER: {
        Sight.NOT_BEGUN: State.DOWNLOADING,  # its trace is on disk before it starts
        # it may have begun, and nobody can tell: starting it once more could write over the only good system
        Sight.NO_LOCK: State.SETTLING,
        Sight.LOCK_ALONE: State.IN_HANDS,
        Sight.AT_WORK: State.IN_HANDS,
    },
    State.IN_HANDS: {
        Sight.NOT_BEGUN: State.SETTLING,  # somebody has removed the traces; what is installed tells
        Sight.NO_LOCK: State.SETTLING,  # it is done, but has reported nothing
        Sight.LOCK_ALONE: State.IN_HANDS,  # it may be between two boots; its time limit is the operator's to set
        Sight.AT_WORK: State.IN_HANDS,
    },
    State.SETTLING: dict.fromkeys(Sight, State.SETTLING),
}


def advance(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        ValueError: the state does not expect the event.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ValueError(f"an update that is {state.value} does not expect: {event.value}") from None
