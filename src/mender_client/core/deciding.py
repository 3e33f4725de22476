"""What people decide about updates, as changes of the record.

A decision is about the update in progress, or about this one and all to come. It goes before what the gates say; only
of an approval the gates are told.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mender_client.dataclass import replace

from .gates import Closed, GatePoint, Refused
from .holding import Decision, Decisions, moment
from .record import Record
from .update import Update


def verdict_by_hand(record: Record, update: Update, now: datetime) -> Closed | Refused | None:
    """What people have decided about an update, as far as it holds or ends it; a refusal goes first."""
    found = [one.verdict(now) for one in (update.decisions, record.decisions) if one is not None]
    refused = next((one for one in found if isinstance(one, Refused)), None)
    return refused or next((one for one in found if one is not None), None)


def is_approved(record: Record, update: Update | None, point: GatePoint) -> bool:
    """Whether a person has approved that an update passes a gate."""
    decisions = (record.decisions, None if update is None else update.decisions)
    return any(one.is_approved(point) for one in decisions if one is not None)


def decided(record: Record, decision: Decision, *, is_all: bool) -> Record:
    """The record with a decision: about the update in progress, or about this one and all to come."""
    if is_all:
        return replace(record, decisions=(record.decisions or Decisions()).after(decision))
    update = record.update
    if update is None:
        return record
    return replace(record, update=replace(update, decisions=(update.decisions or Decisions()).after(decision)))


def continued(record: Record, *, is_all: bool) -> Record:
    """The record in which nothing holds the update in progress, or neither this one nor those to come."""
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
    """The record after the wall clock was set: what has begun is as old as before, and lasts as long.

    Deadlines and postponements are lengths of time: a clock that is corrected neither ends nor prolongs them. What
    began later than the clock showed was stored while it was right: it becomes right again by itself.

    Args:
        record: as it was.
        showed: what the clock showed before it was set.
        seconds: how far it was set forward, or back.
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
