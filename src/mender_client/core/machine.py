"""The states of an update, as tables: which event leads to which state, and where a restarted client resumes.

An update belongs to a flow, which determines how its Artifact is installed. Within its flow it moves through
``TRANSITIONS`` from ``DOWNLOADING`` to one of the ``ENDS``. Each state is written to disk before it takes effect, so
after a power cut ``RESUME`` determines where to resume, from the last state written and from what can be observed of
the installer. All tables are complete: an event that a state does not expect is a bug and raises an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from .gates import GatePoint


class Flow(str, Enum):
    """How an update is installed; stored with it."""

    HANDOVER = "handover"
    """The verified Artifact is handed to the sub-updater, or to a function of the embedding program."""

    MODULES = "modules"
    """The client installs the Artifact itself, with an update module and state scripts."""


class State(str, Enum):
    """The states of an update."""

    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    HANDING_OVER = "handing-over"
    INSTALLING = "installing"
    RECONCILING = "reconciling"
    ARTIFACT_INSTALL = "artifact-install"
    CHECK_REBOOT = "check-reboot"
    ARTIFACT_REBOOT = "artifact-reboot"
    VERIFY_REBOOT = "verify-reboot"
    ARTIFACT_COMMIT = "artifact-commit"
    COMMITTED = "committed"
    CHECK_ROLLBACK = "check-rollback"
    ARTIFACT_ROLLBACK = "artifact-rollback"
    CHECK_ROLLBACK_REBOOT = "check-rollback-reboot"
    ROLLBACK_REBOOT = "rollback-reboot"
    VERIFY_ROLLBACK_REBOOT = "verify-rollback-reboot"
    ARTIFACT_FAILURE = "artifact-failure"
    CLEANUP = "cleanup"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


class Event(str, Enum):
    """What happens to an update."""

    FETCHED = "the Artifact is downloaded and verified"
    CONFIRMED = "the server has confirmed the update"
    STARTED = "the sub-updater has been started"
    SUCCESS = "the sub-updater reports success, or artifact_info shows it"
    FAILURE = "the sub-updater reports failure, or artifact_info shows it"
    FAULT = "an error or a timeout"
    LOOP = "a state loop"
    ABORT = "aborted by the server"
    EMPTY = "the Artifact is verified, and its payload is empty"
    DONE = "the state has done its work"
    FLAWED = "the state has done its work, but the update can no longer end cleanly"
    YES = "the update module answers yes"
    NO = "the update module answers no"
    AGAIN = "the state has to be repeated"


class Result(str, Enum):
    """The result of an update of the flow MODULES so far; it can only get worse."""

    CLEAN = "clean"
    FAILED = "failed"
    """The update failed, and the previous software is untouched or restored, as far as is known."""
    INCONSISTENT = "inconsistent"
    """The update failed, and the previous software is not restored."""


class InstallerState(str, Enum):
    """What a restarted client observes of the installer."""

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
    State.ARTIFACT_INSTALL: "the update module installs the Artifact",
    State.CHECK_REBOOT: "the update module is asked whether the device must reboot",
    State.ARTIFACT_REBOOT: "the device reboots into the new software",
    State.VERIFY_REBOOT: "the update module verifies that the new software runs",
    State.ARTIFACT_COMMIT: "the new software is reported to the server; then the update module commits it",
    State.COMMITTED: "the update is committed; the ArtifactCommit_Leave scripts run",
    State.CHECK_ROLLBACK: "the update failed; the update module is asked whether it can roll back",
    State.ARTIFACT_ROLLBACK: "the update module rolls back",
    State.CHECK_ROLLBACK_REBOOT: "the update module is asked whether the rollback needs a reboot",
    State.ROLLBACK_REBOOT: "the device reboots into the old software",
    State.VERIFY_ROLLBACK_REBOOT: "the update module verifies that the old software runs",
    State.ARTIFACT_FAILURE: "the update module and the ArtifactFailure scripts handle the failure",
    State.CLEANUP: "the update module cleans up; then the outcome is stored",
    State.SUCCEEDED: "the outcome is stored and reported to the server: success",
    State.FAILED: "the outcome is stored and reported to the server, after the log: failure",
    State.ABORTED: "aborted by the server; nothing is reported or stored",
}
"""What each state means, for ``status`` and for the page about the states."""

ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.ABORTED})
"""The states in which an update is over."""

_OUTCOMES = {
    Event.SUCCESS: State.SUCCEEDED,
    Event.FAILURE: State.FAILED,
    Event.FAULT: State.FAILED,
    Event.LOOP: State.FAILED,
}
_BEFORE_INSTALL = {Event.FAULT: State.CLEANUP, Event.ABORT: State.CLEANUP, Event.LOOP: State.FAILED}
_ROLLS_BACK = {Event.FAULT: State.CHECK_ROLLBACK, Event.ABORT: State.CHECK_ROLLBACK, Event.LOOP: State.FAILED}
_GIVES_UP = {Event.FAULT: State.ARTIFACT_FAILURE, Event.LOOP: State.FAILED}

TRANSITIONS: Mapping[Flow, Mapping[State, Mapping[Event, State]]] = {
    Flow.HANDOVER: {
        State.DOWNLOADING: {
            Event.FETCHED: State.VERIFIED,
            Event.FAULT: State.FAILED,
            Event.LOOP: State.FAILED,
            Event.ABORT: State.ABORTED,
        },
        State.VERIFIED: {
            Event.CONFIRMED: State.HANDING_OVER,
            Event.FAILURE: State.FAILED,  # power was lost after the lock: at boot, the sub-updater finds no work begun
            Event.FAULT: State.FAILED,
            Event.LOOP: State.FAILED,
            Event.ABORT: State.ABORTED,
        },
        State.HANDING_OVER: {Event.STARTED: State.INSTALLING, **_OUTCOMES},  # it may end before its start is stored
        State.INSTALLING: _OUTCOMES,
        State.RECONCILING: _OUTCOMES,
        State.SUCCEEDED: {},
        State.FAILED: {},
        State.ABORTED: {},
    },
    Flow.MODULES: {
        State.DOWNLOADING: {Event.FETCHED: State.VERIFIED, Event.EMPTY: State.CLEANUP, **_BEFORE_INSTALL},
        State.VERIFIED: {Event.CONFIRMED: State.ARTIFACT_INSTALL, **_BEFORE_INSTALL},
        State.ARTIFACT_INSTALL: {Event.DONE: State.CHECK_REBOOT, **_ROLLS_BACK},
        State.CHECK_REBOOT: {Event.YES: State.ARTIFACT_REBOOT, Event.NO: State.ARTIFACT_COMMIT, **_ROLLS_BACK},
        State.ARTIFACT_REBOOT: {Event.DONE: State.VERIFY_REBOOT, **_ROLLS_BACK},
        State.VERIFY_REBOOT: {Event.DONE: State.ARTIFACT_COMMIT, **_ROLLS_BACK},
        State.ARTIFACT_COMMIT: {Event.DONE: State.COMMITTED, **_ROLLS_BACK},
        State.COMMITTED: {Event.DONE: State.CLEANUP, Event.FAULT: State.CLEANUP, Event.LOOP: State.FAILED},
        State.CHECK_ROLLBACK: {Event.YES: State.ARTIFACT_ROLLBACK, Event.NO: State.ARTIFACT_FAILURE, **_GIVES_UP},
        State.ARTIFACT_ROLLBACK: {
            Event.DONE: State.CHECK_ROLLBACK_REBOOT,
            Event.FLAWED: State.CHECK_ROLLBACK_REBOOT,
            **_GIVES_UP,
        },
        State.CHECK_ROLLBACK_REBOOT: {Event.YES: State.ROLLBACK_REBOOT, Event.NO: State.ARTIFACT_FAILURE, **_GIVES_UP},
        State.ROLLBACK_REBOOT: {
            Event.DONE: State.VERIFY_ROLLBACK_REBOOT,
            Event.FLAWED: State.VERIFY_ROLLBACK_REBOOT,
            Event.LOOP: State.FAILED,
        },
        State.VERIFY_ROLLBACK_REBOOT: {
            Event.DONE: State.ARTIFACT_FAILURE,
            Event.AGAIN: State.VERIFY_ROLLBACK_REBOOT,  # the loop guard ends it
            **_GIVES_UP,
        },
        State.ARTIFACT_FAILURE: {
            Event.DONE: State.CLEANUP,
            Event.FLAWED: State.CLEANUP,
            Event.LOOP: State.FAILED,
        },
        State.CLEANUP: {Event.SUCCESS: State.SUCCEEDED, Event.FAILURE: State.FAILED, Event.LOOP: State.FAILED},
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
            InstallerState.NOT_BEGUN: State.RECONCILING,  # the traces were removed; artifact_info tells the outcome
            InstallerState.NO_LOCK: State.RECONCILING,  # it has ended without a report
            InstallerState.LOCK_ALONE: State.INSTALLING,  # perhaps between two boots; the operator sets the limit
            InstallerState.AT_WORK: State.INSTALLING,
        },
        State.RECONCILING: dict.fromkeys(InstallerState, State.RECONCILING),
    },
    Flow.MODULES: {
        state: dict.fromkeys(InstallerState, after)
        for state, after in {
            State.DOWNLOADING: State.DOWNLOADING,
            State.VERIFIED: State.DOWNLOADING,  # what the update module has written may not have reached the disk
            State.ARTIFACT_INSTALL: State.CHECK_ROLLBACK,
            State.CHECK_REBOOT: State.CHECK_ROLLBACK,
            State.ARTIFACT_REBOOT: State.VERIFY_REBOOT,  # a power cut during the reboot counts as a reboot
            State.VERIFY_REBOOT: State.CHECK_ROLLBACK,
            State.ARTIFACT_COMMIT: State.CHECK_ROLLBACK,
            State.COMMITTED: State.COMMITTED,
            State.CHECK_ROLLBACK: State.CHECK_ROLLBACK,
            State.ARTIFACT_ROLLBACK: State.ARTIFACT_ROLLBACK,
            State.CHECK_ROLLBACK_REBOOT: State.ARTIFACT_ROLLBACK,
            State.ROLLBACK_REBOOT: State.VERIFY_ROLLBACK_REBOOT,
            State.VERIFY_ROLLBACK_REBOOT: State.VERIFY_ROLLBACK_REBOOT,
            State.ARTIFACT_FAILURE: State.ARTIFACT_FAILURE,
            State.CLEANUP: State.CLEANUP,
        }.items()
    },
}

GATES: Mapping[State, GatePoint] = {
    State.DOWNLOADING: GatePoint.DOWNLOAD,
    State.VERIFIED: GatePoint.INSTALL,
    State.CHECK_REBOOT: GatePoint.REBOOT,
    State.ARTIFACT_COMMIT: GatePoint.COMMIT,
}
"""The gate that an update has to pass in a state, before the step that the gate guards."""

RESUME_HELD: Mapping[State, tuple[State, State]] = {
    State.VERIFIED: (State.VERIFIED, State.VERIFIED),  # what the update module has written was synced
    State.CHECK_REBOOT: (State.CHECK_REBOOT, State.VERIFY_REBOOT),  # it waited for a reboot, which has happened
    State.ARTIFACT_COMMIT: (State.ARTIFACT_COMMIT, State.VERIFY_REBOOT),  # the boot loader may have rolled back
}
"""Where an update of the flow MODULES that waits at a gate resumes: in the same boot, and after a reboot."""

IRREVOCABLE: Mapping[Flow, frozenset[State]] = {
    Flow.HANDOVER: frozenset({State.INSTALLING, State.RECONCILING}),
    Flow.MODULES: frozenset(),
}
"""States that the loop guard lets an update enter however often it has changed its state: the installer has begun, so
ending the update here could contradict what is installed. No transition leads back from them, so they can't be in a
loop."""

_UNTOUCHED = frozenset({State.DOWNLOADING, State.VERIFIED})
_ROLLBACK = frozenset({
    State.CHECK_ROLLBACK, State.ARTIFACT_ROLLBACK, State.CHECK_ROLLBACK_REBOOT, State.ROLLBACK_REBOOT,
    State.VERIFY_ROLLBACK_REBOOT, State.ARTIFACT_FAILURE,
})  # fmt: skip


def result_after(state: State, event: Event, result: Result) -> Result:
    """The result of an update of the flow MODULES after an event in a state.

    Args:
        state: the state in which it happened.
        event: what happened.
        result: the result before the event.
    """
    if state in _UNTOUCHED:
        return Result.FAILED if event in (Event.FAULT, Event.ABORT, Event.LOOP) else result
    is_unsupported = state is State.CHECK_ROLLBACK and event is Event.NO
    is_too_late = event is Event.FAULT and (state in _ROLLBACK or state is State.COMMITTED)
    if is_unsupported or is_too_late or event in (Event.FLAWED, Event.LOOP):
        return Result.INCONSISTENT
    return Result.FAILED if event in (Event.FAULT, Event.ABORT) and result is Result.CLEAN else result


def advance(flow: Flow, state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        ValueError: the state does not expect the event.
    """
    try:
        return TRANSITIONS[flow][state][event]
    except KeyError:
        raise ValueError(f"an update that is {state.value} does not expect: {event.value}") from None


def resume_held(state: State, reboot: str, *, is_same_boot: bool) -> State:
    """Where an update of the flow MODULES that waits at the gate of its state resumes; see ``RESUME_HELD``.

    Args:
        state: its state.
        reboot: the update module's answer to NeedsArtifactReboot; empty before.
        is_same_boot: whether the device has not been rebooted since it began to wait.
    """
    here, after_reboot = RESUME_HELD.get(state, (state, state))
    return here if is_same_boot or reboot == "No" else after_reboot
