"""The part of ``status`` about updates that wait at a gate: the gate, decisions, and how to continue."""

from __future__ import annotations

from datetime import datetime

from mender_client import TYPE_CHECKING
from mender_client.core.gates import GatePoint
from mender_client.core.holding import AHEAD, Decision, DecisionKind, Decisions
from mender_client.core.update import Update

from .formatting import ago, utc

if TYPE_CHECKING:
    from typing import Any, TypeGuard


def gate_document(update: Update) -> dict[str, Any] | None:
    """The gate at which an update waits; None when it does not."""
    waiting = update.waiting
    if waiting is None:
        return None
    return {
        "point": waiting.point.value,
        "reason": waiting.reason,
        "since": waiting.since,
        "until": waiting.until,
        "needs_approval": waiting.needs_approval,
    }


def hold_document(decisions: Decisions | None) -> dict[str, Any] | None:
    """The decision that holds an update, or all updates; None for none."""
    hold = None if decisions is None else decisions.hold
    if hold is None:
        return None
    return {"kind": hold.kind.value, "by": hold.by, "at": hold.at, "reason": hold.reason, "until": hold.until}


def approval_documents(decisions: Decisions | None) -> list[dict[str, Any]]:
    """The approvals; a point of None stands for every gate."""
    return [
        {"point": None if one.point is None else one.point.value, "by": one.by, "at": one.at, "reason": one.reason}
        for one in (() if decisions is None else decisions.approvals)
    ]


def gate_lines(
    update: dict[str, Any] | None,
    held: dict[str, Any] | None,
    approved: list[dict[str, Any]],
    now: datetime,
    *,
    next_poll: str,
    command: str,
) -> list[tuple[str, str]]:
    """The lines for people.

    Args:
        update: the update in progress, as in the document.
        held: the decision that holds all updates.
        approved: the approvals for all updates.
        now: the current time.
        next_poll: when the gate is checked again at the latest; empty when that isn't known.
        command: the command that calls the program for this device.
    """
    lines: list[tuple[str, str]] = []
    gate, hold = (None, None) if update is None else (update["gate"], update["hold"])
    if gate is not None:
        since = f"closed since {utc(gate['since'])}{ago(gate['since'], now)}"
        lines.append(("gate", f"{_place(gate)}, {since}: {gate['reason']}"))
        lines.append(("continues", _remedy(gate, hold, held, now, next_poll, command)))
    elif _holds(hold, now):
        lines.append(("held", f"at its next gate: {_decision(hold).text}; '{command} continue' lifts this"))
    if _holds(held, now):
        lines.append(("all updates", f"{_decision(held).text}; '{command} continue --all' lifts this"))
    lines += [("all updates", f"{_approval(one).text}, until they are refused") for one in approved]
    return lines


def _place(gate: dict[str, Any]) -> str:
    return next(text for point, text in AHEAD.items() if point.value == gate["point"])


def _decision(hold: dict[str, Any]) -> Decision:
    return Decision(DecisionKind(hold["kind"]), hold["by"], hold["at"], hold["reason"], hold["until"])


def _approval(approval: dict[str, Any]) -> Decision:
    point = None if approval["point"] is None else GatePoint(approval["point"])
    return Decision(DecisionKind.APPROVE, approval["by"], approval["at"], approval["reason"], point=point)


def _holds(hold: dict[str, Any] | None, now: datetime) -> TypeGuard[dict[str, Any]]:
    """Whether a decision holds or refuses updates; an expired postponement does neither."""
    return hold is not None and Decisions(_decision(hold)).verdict(now) is not None


def _remedy(
    gate: dict[str, Any],
    hold: dict[str, Any] | None,
    held: dict[str, Any] | None,
    now: datetime,
    next_poll: str,
    command: str,
) -> str:
    for decision, option in ((hold, ""), (held, " --all")):
        if _holds(decision, now):
            return f"with '{command} continue{option}'"
    if gate["needs_approval"]:
        return f"with '{command} approve'"
    moments = [moment for moment in (gate["until"], next_poll) if moment]
    if not moments:
        return "when the gate is open; it is checked again at the next update poll"
    soonest = min(moments, key=datetime.fromisoformat)
    return f"when the gate is open; it is checked again at {utc(soonest)}{ago(soonest, now)}"
