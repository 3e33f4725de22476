"""Where an update waits, and what operators have decided about it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from mender_client.dataclass import dataclass, replace

from .gates import Closed, GatePoint, Refused


class DecisionKind(str, Enum):
    """The kinds of decision."""

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
"""Where an update waits, for display."""


@dataclass(frozen=True)
class Decision:
    """A decision of an operator.

    Attributes:
        kind: its kind.
        by: who made it.
        at: when, RFC 3339.
        reason: why; empty if not given.
        until: until when an update is postponed, RFC 3339; empty for the other kinds.
        point: the gate that an approval is for; None for all.
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
    """The decisions that are in force.

    Attributes:
        hold: the decision that holds or ends updates; None if there is none.
        approvals: the approvals.
    """

    hold: Decision | None = None
    approvals: tuple[Decision, ...] = ()

    def after(self, decision: Decision) -> Decisions:
        """The decisions after a further one: a refusal revokes approvals, and an approval revokes a refusal."""
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
        """What holds or ends updates now; None if nothing does."""
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
        point: the gate.
        reason: what it waits for, as a clause.
        since: since when, RFC 3339.
        until: when the gate may open by itself, RFC 3339; empty if unknown.
        needs_approval: whether an operator has to approve it.
        closed_since: the ``since`` of the gate's last verdict, to be passed to the gate again (see ``core.gates``);
            RFC 3339, empty for None.
        is_told: whether the server has been informed, or does not accept that information.
        boot_id: the boot in which it began to wait.
        elapsed_seconds: the uptime when it began to wait; 0 if unknown.
        writes: how often its state had changed when it began to wait; waiting is neither progress nor a loop.
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
        """Where it waits, and what for."""
        return f"is waiting {AHEAD[self.point]}: {self.reason}"


def moment(text: str) -> datetime | None:
    """Parse a stored time; None if it is empty or has no time zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
