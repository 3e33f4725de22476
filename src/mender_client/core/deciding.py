"""The operator's decisions about updates, as changes to the record.

A decision applies to the update in progress, or to this one and all future ones. It takes precedence over the gates,
except for an approval, which the gates take into account.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mender_client.dataclass import replace

from .gates import Closed, GatePoint, Refused
from .holding import Decision, Decisions, moment
from .record import Record
from .update import Update


def verdict_by_hand(record: Record, update: Update, now: datetime) -> Closed | Refused | None:
    """The decision that holds or ends an update, if any; a refusal takes precedence."""
    found = [one.verdict(now) for one in (update.decisions, record.decisions) if one is not None]
    refused = next((one for one in found if isinstance(one, Refused)), None)
    return refused or next((one for one in found if one is not None), None)


def is_approved(record: Record, update: Update | None, point: GatePoint) -> bool:
    """Whether an operator has approved that an update passes a gate."""
    decisions = (record.decisions, None if update is None else update.decisions)
    return any(one.is_approved(point) for one in decisions if one is not None)


def decided(record: Record, decision: Decision, *, is_all: bool) -> Record:
    """The record with a decision about the update in progress or, with ``is_all``, about it and all future ones."""
    if is_all:
        return replace(record, decisions=(record.decisions or Decisions()).after(decision))
    update = record.update
    if update is None:
        return record
    return replace(record, update=replace(update, decisions=(update.decisions or Decisions()).after(decision)))


def continued(record: Record, *, is_all: bool) -> Record:
    """The record without the hold on the update in progress and, with ``is_all``, without the hold on all updates."""
    update = record.update
    if update is not None and update.decisions is not None and update.decisions.hold is not None:
        record = replace(record, update=replace(update, decisions=_without_hold(update.decisions)))
    if is_all and record.decisions is not None:
        record = replace(record, decisions=_without_hold(record.decisions))
    return record


def _without_hold(decisions: Decisions) -> Decisions | None:
    left = replace(decisions, hold=None)
    return left if left.approvals else None


def set_clock(record: Record, showed: datetime, seconds: float) -> Record:
    """The record after the wall clock was set: its times are shifted, so that ages and remaining times stay the same.

    Deadlines and postponements are durations: correcting the clock must neither end nor prolong them. A time that is
    later than what the clock showed was stored while the clock was right, and is not shifted.

    Args:
        record: the record before.
        showed: what the clock showed before it was set.
        seconds: by how much it was set forward; negative if it was set back.
    """

    def moved(text: str, began: str) -> str:
        found, start = moment(text), moment(began)
        if found is None or start is None or start > showed:
            return text
        return (found + timedelta(seconds=seconds)).isoformat(timespec="seconds")

    def held(decisions: Decisions | None) -> Decisions | None:
        hold = None if decisions is None else decisions.hold
        if decisions is None or hold is None or not hold.until:
            return decisions
        hold = replace(hold, at=moved(hold.at, hold.at), until=moved(hold.until, hold.at))
        return replace(decisions, hold=hold)

    update = record.update
    if update is not None:
        waiting = update.waiting
        if waiting is not None:
            since, closed = moved(waiting.since, waiting.since), moved(waiting.closed_since, waiting.closed_since)
            waiting = replace(waiting, since=since, closed_since=closed)
        passed = {point: moved(since, since) for point, since in update.closed_since.items()}
        update = replace(update, waiting=waiting, decisions=held(update.decisions), closed_since=passed)
    return replace(record, update=update, decisions=held(record.decisions))
