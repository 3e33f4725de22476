"""The observed state of a sub-updater whose lock exists, in the terms that daemon, ``status`` and ``doctor`` share."""

from __future__ import annotations

from enum import Enum

_END = "if it does not continue on its own, run 'mender-python-client report --failure', which ends the deployment"
_REMOVE = "if nothing is being installed, remove update.lock"


class SubUpdaterState(str, Enum):
    """What the sub-updater is doing, as far as can be observed; the values are for display."""

    AT_WORK = "the sub-updater is at work"
    REPORTED = "the sub-updater has reported; its report must reach the server and the lock must be removed"
    DIED = "the sub-updater died without reporting, or is waiting for a reboot"
    ABSENT = "no sub-updater is running; it may be between two boots"


def sub_updater_state(*, has_reported: bool, is_found: bool, was_started_in_this_boot: bool) -> SubUpdaterState:
    """Determine the state from what was observed.

    Args:
        has_reported: whether the outcome of the deployment is stored.
        is_found: whether a process is working on the deployment.
        was_started_in_this_boot: whether the sub-updater's start in this boot is recorded.
    """
    if has_reported:
        return SubUpdaterState.REPORTED
    if is_found:
        return SubUpdaterState.AT_WORK
    return SubUpdaterState.DIED if was_started_in_this_boot else SubUpdaterState.ABSENT


def remedy_of_absence(*, is_known: bool) -> str:
    """What to do when no sub-updater is at work.

    Args:
        is_known: whether the client knows the deployment that the lock names.
    """
    return _END if is_known else _REMOVE
