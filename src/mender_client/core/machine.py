"""The states of an update, as data: which event leads where, and where a restarted client resumes.

An update belongs to a flow: how its Artifact gets onto the device. Within its flow it moves through ``TRANSITIONS``
from ``DOWNLOADING`` to one of the ends. Each state is written to disk before its effect happens, so after a power cut
``RESUME`` tells where to resume, from the last state written and from what can be seen of the installer. All tables
are total: an event that a state does not expect is a bug and raises an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Flow(str, Enum):
    """How an update is installed; stored with it."""

    HANDOVER = "handover"
    """The verified Artifact is handed to the sub-updater, or to a function of the embedding program."""


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

    FETCHED = "the Artifact is downloaded and verified"
    CONFIRMED = "the server still wants it installed"
    STARTED = "the sub-updater has been started"
    SUCCESS = "the sub-updater reports success, or artifact_info shows it"
    FAILURE = "the sub-updater reports failure, or artifact_info shows it"
    FAULT = "an error, a timeout or a state loop"
    ABORT = "aborted by the server"


class InstallerState(str, Enum):
    """What a restarted client sees of the installer."""

    NOT_BEGUN = "no trace that the sub-updater was ever started"
    NO_LOCK = "no lock file"
    LOCK_ALONE = "a lock file, but no running sub-updater"
    AT_WORK = "a lock file and a running sub-updater"


EXPLANATIONS: Mapping[State, str] = {
    State.DOWNLOADING: "the Artifact is being downloaded and verified",
    State.VERIFIED: "the Artifact is verified; the server is asked whether to install it",
    State.HANDING_OVER: "the sub-updater is being started",
    State.INSTALLING: "being installed by the sub-updater; waiting for its report and the removal of update.lock",
    State.RECONCILING: "update.lock was removed without a report; artifact_info tells the outcome",
    State.SUCCEEDED: "the outcome is stored and reported to the server: success",
    State.FAILED: "the outcome is stored and reported to the server, after the log: failure",
    State.ABORTED: "aborted by the server; nothing is reported and nothing is remembered",
}
"""What each state means, for ``status`` and for the page about the states."""

ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.ABORTED})
"""The states in which an update is over."""

_OUTCOMES = {Event.SUCCESS: State.SUCCEEDED, Event.FAILURE: State.FAILED, Event.FAULT: State.FAILED}

TRANSITIONS: Mapping[Flow, Mapping[State, Mapping[Event, State]]] = {
    Flow.HANDOVER: {
        State.DOWNLOADING: {
            Event.FETCHED: State.VERIFIED,
            Event.FAULT: State.FAILED,
            Event.ABORT: State.ABORTED,
        },
        State.VERIFIED: {
            Event.CONFIRMED: State.HANDING_OVER,
            Event.FAILURE: State.FAILED,  # power was lost after the lock: at boot, a sub-updater finds no work begun
            Event.FAULT: State.FAILED,
            Event.ABORT: State.ABORTED,
        },
        State.HANDING_OVER: {Event.STARTED: State.INSTALLING, **_OUTCOMES},  # it may end before its start is stored
        State.INSTALLING: _OUTCOMES,
        State.RECONCILING: _OUTCOMES,
        State.SUCCEEDED: {},
        State.FAILED: {},
        State.ABORTED: {},
    },
}

RESUME: Mapping[Flow, Mapping[State, Mapping[InstallerState, State]]] = {
    Flow.HANDOVER: {
        # what is on disk is verified again by reading it, and the server is asked again whether to install it
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
            # it may have begun: starting it again could overwrite the only good system
            InstallerState.NO_LOCK: State.RECONCILING,
            InstallerState.LOCK_ALONE: State.INSTALLING,
            InstallerState.AT_WORK: State.INSTALLING,
        },
        State.INSTALLING: {
            InstallerState.NOT_BEGUN: State.RECONCILING,  # the traces were removed; what is installed tells
            InstallerState.NO_LOCK: State.RECONCILING,  # it is done, but has reported nothing
            InstallerState.LOCK_ALONE: State.INSTALLING,  # perhaps between two boots; the operator sets the limit
            InstallerState.AT_WORK: State.INSTALLING,
        },
        State.RECONCILING: dict.fromkeys(InstallerState, State.RECONCILING),
    },
}

IRREVOCABLE: Mapping[Flow, frozenset[State]] = {Flow.HANDOVER: frozenset({State.INSTALLING, State.RECONCILING})}
"""States that the loop guard lets an update enter however often it has changed its state: the installer has begun, so
ending the update here could contradict what is installed. No way leads from them back, so no loop contains them."""


def advance(flow: Flow, state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        ValueError: the state does not expect the event.
    """
    try:
        return TRANSITIONS[flow][state][event]
    except KeyError:
        raise ValueError(f"an update that is {state.value} does not expect: {event.value}") from None
