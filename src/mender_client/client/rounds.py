"""Many devices in one process: the steps of each device are run when they are due, by a few workers.

Quick tasks (authentication, inventory, polls) and updates have separate groups of workers, so that a slow update delays
no other device. A device to be updated first waits in a queue (``core.turns``). Devices whose last step was slow, for
instance because a script hangs, have a third group of workers until they are quick again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum

from mender_client import TYPE_CHECKING
from mender_client.core.due import DueTimes
from mender_client.core.turns import Turns
from mender_client.dataclass import dataclass

if TYPE_CHECKING:
    from typing import Protocol

    from mender_client.core.ports import Clock
else:
    Protocol = object

SLOW_SECONDS = 10.0
"""A device whose step takes this long is treated as slow in its next step."""


class Standing(Enum):
    """Whether a device is being updated, or waits to be."""

    IDLE = "no update is under way"
    WANTS = "it would be updated, but waits for its turn"
    UPDATING = "an update is under way"


@dataclass(frozen=True)
class Step:
    """The result of a step.

    Attributes:
        seconds: the time until the next step is due.
    """

    seconds: float
    standing: Standing = Standing.IDLE


class Member(Protocol):
    """One of the devices."""

    @property
    def name(self) -> str:
        """Its unique name."""

    @property
    def group(self) -> str:
        """The group of devices with which it shares a limit on simultaneous updates; empty for none."""

    def step(self, *, may_update: bool) -> Step:
        """Do what is due. May be called in any thread; raises nothing.

        Args:
            may_update: whether it is its turn to be updated.
        """


Submit = Callable[[Callable[[], None]], object]
"""Submits a function, which a worker calls as soon as one is free."""


@dataclass(kw_only=True, eq=False, repr=False)
class Rounds:
    """Runs the steps of the devices. Its methods are called by one thread; only the steps are run in others.

    Attributes:
        polls: the workers for quick tasks.
        slow: the workers for devices whose last step was slow.
        updates: the workers for updates.
        wake: called by a worker when a step is done: ``run_due`` has something to do.
    """

    clock: Clock
    turns: Turns
    polls: Submit
    slow: Submit
    updates: Submit
    wake: Callable[[], None]

    def __post_init__(self) -> None:
        self.members: dict[str, Member] = {}
        self._due = DueTimes()
        self._at_work: dict[str, Member] = {}
        self._done: deque[tuple[Member, Step]] = deque()
        self._slow: set[str] = set()
        self._hurried: set[str] = set()  # while they were at work

    def add(self, member: Member, *, standing: Standing = Standing.IDLE) -> None:
        """Add a device; its first step is due now.

        Args:
            member: the device; none of the same name may be present or at work.
            standing: UPDATING if an update is already in progress, which then keeps its turn.
        """
        self.members[member.name] = member
        if standing is Standing.UPDATING:
            self.turns.take(member.name, member.group)
        self._due.put(member.name, self.clock.monotonic())

    def drop(self, name: str) -> None:
        """Remove a device; a step in progress is finished."""
        del self.members[name]
        self._due.remove(name)
        self._slow.discard(name)
        self._hurried.discard(name)
        if name not in self._at_work:
            self.turns.leave(name)

    def is_at_work(self, name: str) -> bool:
        """Whether a device of this name is running a step, even if it has been dropped since."""
        return name in self._at_work

    def hurry(self, names: Iterable[str]) -> None:
        """Make the next step of these devices due now; a device at work takes another one, as it may miss a request."""
        for name in names:
            if name not in self.members:
                continue
            if name in self._at_work:
                self._hurried.add(name)
            else:
                self._due.put(name, self.clock.monotonic())

    def run_due(self) -> float | None:
        """Process the steps that are done, and start those that are due.

        Returns:
            Seconds until the next one is due; None when all are at work, or there are none.
        """
        while self._done:
            self._note(*self._done.popleft())
        for name in self._due.pop_due(self.clock.monotonic()):
            self._start(self.members[name])
        for name in self.turns.grant():
            if name not in self._at_work:  # otherwise the current step is followed by one with the turn
                self._due.remove(name)
                self._start(self.members[name])
        at = self._due.next_at()
        return None if at is None else max(0.0, at - self.clock.monotonic())

    def _start(self, member: Member) -> None:
        self._at_work[member.name] = member
        may_update = self.turns.has(member.name)

        def work() -> None:
            began = self.clock.monotonic()
            step = member.step(may_update=may_update)
            if not may_update:
                is_slow = self.clock.monotonic() - began >= SLOW_SECONDS
                (self._slow.add if is_slow else self._slow.discard)(member.name)
            self._done.append((member, step))
            self.wake()

        polls = self.slow if member.name in self._slow else self.polls
        (self.updates if may_update else polls)(work)

    def _note(self, member: Member, step: Step) -> None:
        name = member.name
        del self._at_work[name]
        if self.members.get(name) is not member:  # dropped in the meantime
            self.turns.leave(name)
            self._slow.discard(name)
            return
        has_turn = self.turns.has(name)
        if step.standing is Standing.IDLE:
            self.turns.leave(name)
        elif step.standing is Standing.UPDATING:
            self.turns.take(name, member.group)
        elif not has_turn:
            self.turns.want(name, member.group)
        is_at_once = name in self._hurried or (step.standing is Standing.WANTS and has_turn)
        self._hurried.discard(name)
        self._due.put(name, self.clock.monotonic() + (0.0 if is_at_once else step.seconds))
