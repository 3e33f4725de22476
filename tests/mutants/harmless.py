"""The mutants that no test can detect, with the reason."""

from __future__ import annotations

from .tables import Mutant

_NO_LOCK_YET = "never seen: the lock is written later, and a restart removes it before it enters this state"
_LOCK_GONE = "never seen: this state is entered when the lock has gone, and nobody writes it again for this deployment"
_CONCLUDED = "never happens: an update that is reconciled is concluded in the same step, and nothing else fails it"
_NOBODY = "never seen: nobody is at work before the next state is on disk; kept for a sub-updater that begins by itself"
_NOT_BEGUN_YET = "never seen: the trace of the sub-updater is left later; kept for an old one that can't be removed"
_NOTED = "never seen: the process, or the end of its work, is noted by then; kept for traces that somebody removed"
_ALIKE = "the two states go on alike from everywhere; which one is noted is for people only"
_RECONCILED = "ends alike: nothing was installed, and the comparison with artifact_info finds that out as well"
_GUARDED = "ends alike: it is tried again until the loop guard ends it"
_LOOKS = "goes on alike: a wait that finds no lock goes on to the comparison"

_IRREVOCABLE = "never happens: the loop guard lets every update enter these states, and no other follows them"

REASONS: dict[str, str] = {
    "TRANSITIONS[INSTALLING][LOOP]": _IRREVOCABLE,
    "TRANSITIONS[RECONCILING][LOOP]": _IRREVOCABLE,
    "TRANSITIONS[DOWNLOADING][FAULT] -> DOWNLOADING": _GUARDED,
    "TRANSITIONS[VERIFIED][FAULT] -> VERIFIED": _GUARDED,
    "TRANSITIONS[HANDING_OVER][FAULT] -> VERIFIED": _GUARDED,
    "TRANSITIONS[HANDING_OVER][FAULT] -> HANDING_OVER": _GUARDED,
    "TRANSITIONS[DOWNLOADING][FAULT] -> INSTALLING": _RECONCILED,
    "TRANSITIONS[DOWNLOADING][FAULT] -> RECONCILING": _RECONCILED,
    "TRANSITIONS[VERIFIED][FAULT] -> DOWNLOADING": _GUARDED,
    "TRANSITIONS[VERIFIED][FAULT] -> INSTALLING": _RECONCILED,
    "TRANSITIONS[VERIFIED][FAULT] -> RECONCILING": _RECONCILED,
    "TRANSITIONS[HANDING_OVER][FAULT] -> RECONCILING": _RECONCILED,
    "TRANSITIONS[HANDING_OVER][FAULT] -> INSTALLING": _RECONCILED,
    "TRANSITIONS[RECONCILING][FAULT]": _CONCLUDED,
    "RESUME[HANDING_OVER][NO_LOCK] -> INSTALLING": _LOOKS,
    "RESUME[RECONCILING][NO_LOCK] -> INSTALLING": _LOOKS,
    "RESUME[DOWNLOADING][NO_LOCK]": _NOT_BEGUN_YET,
    "RESUME[VERIFIED][NO_LOCK]": _NOT_BEGUN_YET,
    "RESUME[VERIFIED][LOCK_ALONE]": _NOT_BEGUN_YET,
    "RESUME[INSTALLING][NOT_BEGUN]": _NOTED,
    "RESUME[RECONCILING][NOT_BEGUN]": _NOTED,
    "RESUME[DOWNLOADING][LOCK_ALONE]": _NO_LOCK_YET,
    "RESUME[DOWNLOADING][AT_WORK]": _NO_LOCK_YET,
    "RESUME[VERIFIED][AT_WORK]": _NOBODY,
    "RESUME[HANDING_OVER][LOCK_ALONE] -> HANDING_OVER": _ALIKE,
    "RESUME[HANDING_OVER][AT_WORK] -> HANDING_OVER": _ALIKE,
    "RESUME[RECONCILING][LOCK_ALONE]": _LOCK_GONE,
    "RESUME[RECONCILING][AT_WORK]": _LOCK_GONE,
}
"""By mutant, or by entry for all of its mutants."""


def reason_for(mutant: Mutant) -> str:
    """Why a mutant does no harm; empty if there is no reason."""
    entry = f"{mutant.table}[{mutant.state.name}][{mutant.key.name}]"
    return REASONS.get(str(mutant), REASONS.get(entry, ""))
