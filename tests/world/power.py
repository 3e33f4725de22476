"""Power failures: every effect on the world increments one counter, and a blow falls at a chosen count.

A blow cuts the power of the whole device, kills the running process, or lets the effect fail with its usual error,
either before or after the effect takes place. After a cut nothing has an effect until the device is started again, not
even code in a ``finally`` clause.
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
    """The end of one process or all of them in the middle of their work. No ``except`` of the client may catch it."""

    def __init__(self, kind: Kind, damage: Damage = Damage.KEEP) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.damage = damage


class Power:
    """Counts the effects and carries out the blows.

    Args:
        plan: the blows by the number of the effect; effects are counted from 1.
    """

    def __init__(self, plan: Mapping[int, Blow] | None = None) -> None:
        self.plan = dict(plan or {})
        self.always: dict[str, Blow] = {}
        self.trace: list[str] = []
        self.fallen: list[Blow] = []
        self._cut: Cut | None = None

    def do(self, name: str, action: Callable[[], T], error: Callable[[str], MenderError] | None = None) -> T:
        """Perform an action that has an effect.

        Args:
            name: its name in the trace.
            action: performs it.
            error: creates the error of a fault; None if this effect can't fail.
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
        """Let actions have effects again."""
        self._cut = None
