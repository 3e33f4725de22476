"""What ``status`` says of an update that waits at a gate, and how it goes on."""

from __future__ import annotations

from datetime import datetime

from mender_client import TYPE_CHECKING
from mender_client.core.holding import AHEAD, Decision, DecisionKind
from mender_client.core.update import Update

from .formatting import ago, utc

if TYPE_CHECKING:
    from typing import Any


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


def hold_document(hold: Decision | None) -> dict[str, Any] | None:
    """What people have decided that holds an update, or all; None for nothing."""
    if hold is None:
        return None
    return {"kind": hold.kind.value, "by": hold.by, "at": hold.at, "reason": hold.reason, "until": hold.until}


def gate_lines(
    update: dict[str, Any] | None, held: dict[str, Any] | None, now: datetime, *, next_poll: str
) -> list[tuple[str, str]]:
    """The lines for a person.

    Args:
        update: the update in progress, as in the document.
        held: what holds all updates.
        now: the time.
        next_poll: when the gate is asked again if it does not open before; empty when that isn't known.
    """
    lines: list[tuple[str, str]] = []
    gate, hold = (None, None) if update is None else (update["gate"], update["hold"])
    if gate is not None:
        since = f"closed since {utc(gate['since'])}{ago(gate['since'], now)}"
        lines.append(("gate", f"{_place(gate)}, {since}: {gate['reason']}"))
        lines.append(("goes on", _remedy(gate, hold, held, now, next_poll)))
    elif hold is not None:
        lines.append(("held", f"at its next gate: {_decision(hold)}; goes on by 'mender-python-client continue'"))
    if held is not None:
        lines.append(("all updates", f"{_decision(held)}; they go on by 'mender-python-client continue --all'"))
    return lines


def _place(gate: dict[str, Any]) -> str:
    return next(text for point, text in AHEAD.items() if point.value == gate["point"])


def _decision(hold: dict[str, Any]) -> str:
    decision = Decision(DecisionKind(hold["kind"]), hold["by"], hold["at"], hold["reason"], hold["until"])
    return decision.text


def _remedy(
    gate: dict[str, Any],
    hold: dict[str, Any] | None,
    held: dict[str, Any] | None,
    now: datetime,
    next_poll: str,
) -> str:
    for decision, option in ((hold, ""), (held, " --all")):
        if decision is not None and gate["reason"] == _decision(decision):
            return f"by 'mender-python-client continue{option}'"
    if gate["needs_approval"]:
        return "by 'mender-python-client approve'"
    moments = [moment for moment in (gate["until"], next_poll) if moment]
    if not moments:
        return "when the gate is open; it is asked again with the next update poll"
    soonest = min(moments, key=datetime.fromisoformat)
    return f"when the gate is open; it is asked again at {utc(soonest)}{ago(soonest, now)}"
