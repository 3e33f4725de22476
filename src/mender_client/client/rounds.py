"""Many devices in one process: each takes its step when that is due, in one of a few workers.

What is quick, authenticating, the inventory and polls, is done by one group of workers, and updates by another one: a
slow update holds up nobody. A device to be updated first waits in a queue (``core.turns``). Devices that were not
quick, because their scripts hang for instance, have workers of their own until they are.
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
"""Who takes so long for a step is slow in the next one."""


class Standing(Enum):
    """What a device is about."""

    IDLE = "no update is under way"
    WANTS = "it would be updated, but waits for its turn"
    UPDATING = "an update is under way"


@dataclass(frozen=True)
class Step:
    """What a step has come to.

    Attributes:
        seconds: until the next one is due.
    """

    seconds: float
    standing: Standing = Standing.IDLE


class Member(Protocol):
    """One of the devices."""

    @property
    def name(self) -> str:
        """Its name, which no other one has."""

    @property
    def group(self) -> str:
        """With which it shares what can't be used by all at once; empty for none."""

    def step(self, *, may_update: bool) -> Step:
        """Do what is due, in any thread; raises nothing.

        Args:
            may_update: whether it is its turn to be updated.
        """


Submit = Callable[[Callable[[], None]], object]
"""Has something called by a worker, as soon as one is free."""


@dataclass(kw_only=True, eq=False, repr=False)
class Rounds:
    """Has the devices take their steps. One thread calls its methods; only the steps are taken in others.

    Attributes:
        polls: the workers for what is quick.
        slow: those for devices that were not quick the last time.
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
        """Take a device in; its first step is due now.

        Args:
            member: the device; none of its name is in, or at work.
            standing: UPDATING when an update was under way before, which keeps its turn.
        """
        self.members[member.name] = member
        if standing is Standing.UPDATING:
            self.turns.take(member.name, member.group)
        self._due.put(member.name, self.clock.monotonic())

    def drop(self, name: str) -> None:
        """Let a device go; a step that it takes just now is finished."""
        del self.members[name]
        self._due.remove(name)
        self._slow.discard(name)
        self._hurried.discard(name)
        if name not in self._at_work:
            self.turns.leave(name)

    def is_at_work(self, name: str) -> bool:
        """Whether a device of this name takes a step, even one that was dropped meanwhile."""
        return name in self._at_work

    def hurry(self, names: Iterable[str]) -> None:
        """Make the next step of these devices due now; the current step of one may be too late to notice a request."""
        for name in names:
            if name not in self.members:
                continue
            if name in self._at_work:
                self._hurried.add(name)
            else:
                self._due.put(name, self.clock.monotonic())

    def run_due(self) -> float | None:
        """Take note of the steps that are done, and start those that are due.

        Returns:
            Seconds until the next one is due; None when all are at work, or there are none.
        """
        while self._done:
            self._note(*self._done.popleft())
        for name in self._due.pop_due(self.clock.monotonic()):
            self._start(self.members[name])
        for name in self.turns.grant():
            if name not in self._at_work:  # else the step that is under way is followed by one with the turn
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
        if self.members.get(name) is not member:  # dropped meanwhile
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
