"""The states of an update, as data: which event leads where, and where a restarted client goes on.

An update walks through ``TRANSITIONS`` from ``DOWNLOADING`` to one of the ends. Each state is written to disk before
its effect happens, so after a power cut ``RESUME`` tells, from the last state written and from what is to be seen of
the sub-updater, in which state to go on. Both tables are total: an event that a state does not expect is a fault of
ours and is loud. An installer of our own would add its states behind ``VERIFIED``; nothing before changes by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(str, Enum):
    """Where an update stands."""

    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    HANDING_OVER = "handing-over"
    INSTALLING = "installing"
    RECONCILING = "reconciling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class Event(str, Enum):
    """What happens to an update."""

    FETCHED = "the Artifact is whole, verified and on disk"
    CONFIRMED = "the server still wants it"
    STARTED = "the sub-updater has been started"
    SUCCESS = "the sub-updater reports success, or artifact_info shows it"
    FAILURE = "the sub-updater reports failure, or artifact_info shows it"
    FAULT = "something failed, took too long or went in circles"
    ABORT = "the server wants it no more"


class InstallerState(str, Enum):
    """What a restarted client sees of the sub-updater."""

    NOT_BEGUN = "no trace that the sub-updater was ever started"
    NO_LOCK = "no lock file"
    LOCK_ALONE = "a lock file, but no sub-updater at work"
    AT_WORK = "a lock file and the sub-updater at work"


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.ABORTED})
"""The states in which an update is over."""

TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.DOWNLOADING: {
        Event.FETCHED: State.VERIFIED,
        Event.FAULT: State.FAILED,
        Event.ABORT: State.ABORTED,
    },
    State.VERIFIED: {
        Event.CONFIRMED: State.HANDING_OVER,
        Event.FAILURE: State.FAILED,  # power went behind the lock: at boot a sub-updater finds work that never began
        Event.FAULT: State.FAILED,
        Event.ABORT: State.ABORTED,
    },
    State.HANDING_OVER: {
        Event.STARTED: State.INSTALLING,
        Event.SUCCESS: State.SUCCEEDED,  # a sub-updater may be done before we have noted that it began
        Event.FAILURE: State.FAILED,
        Event.FAULT: State.FAILED,
    },
    State.INSTALLING: {
        Event.SUCCESS: State.SUCCEEDED,
        Event.FAILURE: State.FAILED,
        Event.FAULT: State.FAILED,
    },
    State.RECONCILING: {
        Event.SUCCESS: State.SUCCEEDED,
        Event.FAILURE: State.FAILED,
        Event.FAULT: State.FAILED,
    },
    State.SUCCEEDED: {},
    State.FAILED: {},
    State.ABORTED: {},
}

RESUME: Mapping[State, Mapping[InstallerState, State]] = {
    # what is on disk is verified again by reading it, and the server is asked again whether it wants the update
    State.DOWNLOADING: dict.fromkeys(InstallerState, State.DOWNLOADING),
    State.VERIFIED: {
        InstallerState.NOT_BEGUN: State.DOWNLOADING,
        # the lock is written in this state, and the sub-updater is not started before the next one is on disk
        InstallerState.NO_LOCK: State.DOWNLOADING,
        InstallerState.LOCK_ALONE: State.DOWNLOADING,
        InstallerState.AT_WORK: State.INSTALLING,
    },
    State.HANDING_OVER: {
        InstallerState.NOT_BEGUN: State.DOWNLOADING,  # its trace is on disk before it starts
        # it may have begun, and nobody can tell: starting it once more could write over the only good system
        InstallerState.NO_LOCK: State.RECONCILING,
        InstallerState.LOCK_ALONE: State.INSTALLING,
        InstallerState.AT_WORK: State.INSTALLING,
    },
    State.INSTALLING: {
        InstallerState.NOT_BEGUN: State.RECONCILING,  # somebody has removed the traces; what is installed tells
        InstallerState.NO_LOCK: State.RECONCILING,  # it is done, but has reported nothing
        InstallerState.LOCK_ALONE: State.INSTALLING,  # it may be between two boots; the operator sets its time limit
        InstallerState.AT_WORK: State.INSTALLING,
    },
    State.RECONCILING: dict.fromkeys(InstallerState, State.RECONCILING),
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
