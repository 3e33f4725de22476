"""Where an update waits, and what people have decided about it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from mender_client.dataclass import dataclass, replace

from .gates import Closed, GatePoint, Refused


class DecisionKind(str, Enum):
    """What is decided."""

    PAUSE = "pause"
    POSTPONE = "postpone"
    REFUSE = "refuse"
    APPROVE = "approve"


_DONE = {DecisionKind.PAUSE: "paused", DecisionKind.POSTPONE: "postponed", DecisionKind.REFUSE: "refused"}

AHEAD = {
    GatePoint.DOWNLOAD: "before the download",
    GatePoint.INSTALL: "before the installation",
    GatePoint.REBOOT: "before the reboot",
    GatePoint.COMMIT: "before the commit",
}
"""Where an update waits, for people."""


@dataclass(frozen=True)
class Decision:
    """What a person has decided.

    Attributes:
        kind: what.
        by: who.
        at: when, RFC 3339.
        reason: why; empty when nobody said.
        until: how long an update is postponed, RFC 3339; empty for the other kinds.
        point: which gate an approval is for; None for all.
    """

    kind: DecisionKind
    by: str
    at: str
    reason: str = ""
    until: str = ""
    point: GatePoint | None = None

    @property
    def text(self) -> str:
        """The decision as a clause."""
        end = moment(self.until)
        until = "" if end is None else f" until {end:%Y-%m-%d %H:%M} UTC"
        because = f": {self.reason}" if self.reason else ""
        place = "" if self.point is None else f" {AHEAD[self.point]}"
        return f"{_DONE.get(self.kind, 'approved')}{until} by {self.by}{place}{because}"


@dataclass(frozen=True)
class Decisions:
    """What stands of what people have decided.

    Attributes:
        hold: what holds updates, or ends them; None for nothing.
        approvals: what was approved.
    """

    hold: Decision | None = None
    approvals: tuple[Decision, ...] = ()

    def after(self, decision: Decision) -> Decisions:
        """With one more decision: a refusal takes approvals back, and an approval a refusal."""
        if decision.kind is DecisionKind.REFUSE:
            return Decisions(decision)
        if decision.kind is not DecisionKind.APPROVE:
            return replace(self, hold=decision)
        is_refused = self.hold is not None and self.hold.kind is DecisionKind.REFUSE
        others = tuple(one for one in self.approvals if one.point is not decision.point)
        return Decisions(None if is_refused else self.hold, (*others, decision))

    def is_approved(self, point: GatePoint) -> bool:
        """Whether updates may pass this gate."""
        return any(one.point in (None, point) for one in self.approvals)

    def verdict(self, now: datetime) -> Closed | Refused | None:
        """What holds updates now; None when nothing does."""
        hold = self.hold
        if hold is None:
            return None
        if hold.kind is DecisionKind.REFUSE:
            return Refused(hold.text)
        if hold.kind is DecisionKind.PAUSE:
            return Closed(hold.text)
        until = moment(hold.until)
        return None if until is None or until <= now else Closed(hold.text, until)


@dataclass(frozen=True)
class Waiting:
    """Where an update waits.

    Attributes:
        point: before what.
        reason: what for, as a clause.
        since: since when, RFC 3339.
        until: when the gate may open by itself, RFC 3339; empty when that isn't known.
        needs_approval: a person has to approve it.
        closed_since: what the gate wants to know the next time, see ``core.gates``; RFC 3339, empty for nothing.
        is_told: the server knows, or doesn't want to know.
        boot_id: in which boot it began to wait.
        elapsed_seconds: how long that boot had lasted then; 0 when unknown.
        writes: how often its state had changed then; waiting is no progress, but no loop either.
    """

    point: GatePoint
    reason: str
    since: str
    until: str = ""
    needs_approval: bool = False
    closed_since: str = ""
    is_told: bool = False
    boot_id: str = ""
    elapsed_seconds: int = 0
    writes: int = 0

    @property
    def text(self) -> str:
        """Where it waits and what for."""
        return f"waits {AHEAD[self.point]}: {self.reason}"


def moment(text: str) -> datetime | None:
    """A moment that was stored; None for none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
