"""Gates that open at given times; see ``core.ports.Gates``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mender_client.core.gates import Closed, GateFacts, GatePoint, Open, Refused, Verdict

from .clock import START


@dataclass(frozen=True, slots=True)
class TimedGates:
    """Gates, each of which opens a number of hours after the start.

    Args:
        hours: the hours at which they open.
        refuses: the gate that refuses the update at its time, instead of opening.
    """

    hours: Mapping[GatePoint, float]
    refuses: GatePoint | None = None

    def verdict(self, point: GatePoint, facts: GateFacts, now: datetime) -> Verdict:
        """Decide by the time."""
        opens = START + timedelta(hours=self.hours.get(point, 0.0))
        if now < opens:
            return Closed("it is too early", opens)
        return Refused("it is too late") if point is self.refuses else Open()
