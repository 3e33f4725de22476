"""Power failures: every effect on the world passes one counter, and at a chosen number something happens.

A blow can cut the power of the whole device, kill the process at work, or let the effect fail with its natural error;
before the effect, or after its damage is done. From a cut until the device is started again nothing has an effect any
more, not even what a ``finally`` would do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn, TypeVar

from mender_client.errors import MenderError

T = TypeVar("T")
_MOST_EFFECTS = 4_000


class Kind(Enum):
    """What happens."""

    POWER = "power"
    KILL = "kill"
    REBOOT = "reboot"
    FAULT = "fault"


class Damage(Enum):
    """The effect of a power cut on bytes that were written but not synced."""

    DROP = "drop"
    KEEP = "keep"
    TORN = "torn"


@dataclass(frozen=True, slots=True)
class Blow:
    """An event at an effect.

    Args:
        kind: what happens.
        after: after the effect, else before it.
        damage: the damage of a power cut.
    """

    kind: Kind
    after: bool = False
    damage: Damage = Damage.DROP


class Cut(BaseException):
    """A process, or all of them, ended in the middle of what it did. No ``except`` of the client may catch it."""

    def __init__(self, kind: Kind, damage: Damage = Damage.KEEP) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.damage = damage


class Power:
    """Counts effects and strikes.

    Args:
        plan: which blow falls at which effect; effects count from 1.
    """

    def __init__(self, plan: Mapping[int, Blow] | None = None) -> None:
        self.plan = dict(plan or {})
        self.always: dict[str, Blow] = {}
        self.trace: list[str] = []
        self.fallen: list[Blow] = []
        self._cut: Cut | None = None

    def do(self, name: str, action: Callable[[], T], error: Callable[[str], MenderError] | None = None) -> T:
        """Do something that has an effect.

        Args:
            name: what it is, for the trace.
            action: does it.
            error: what a fault looks like here; None: this effect has none.
        """
        if self._cut is not None:
            raise self._cut
        self.trace.append(name)
        assert len(self.trace) < _MOST_EFFECTS, "it never ends"
        blow = self.plan.get(len(self.trace)) or self.always.get(name)
        if blow is None or (blow.kind is Kind.FAULT and error is None):
            return action()
        if blow.after:
            action()
        self.fallen.append(blow)
        if blow.kind is Kind.FAULT and error is not None:
            raise error(name)
        return self.cut(blow.kind, blow.damage)

    def cut(self, kind: Kind, damage: Damage = Damage.KEEP) -> NoReturn:
        """End the current process immediately."""
        self._cut = Cut(kind, damage)
        raise self._cut

    def restored(self) -> None:
        """Something runs again."""
        self._cut = None
