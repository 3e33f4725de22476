"""Queues the devices to be updated when not all of them may be updated at once."""

from __future__ import annotations

from collections.abc import Mapping

from mender_client.dataclass import dataclass, field


@dataclass(eq=False, repr=False)
class Turns:
    """Grants turns, first come, first served, within an overall limit and a limit for each group.

    Only the overall limit applies to a device without a group, whose group is empty.

    Attributes:
        most: how many devices may have a turn at once.
        most_of: the same for each group; 1 for a group that isn't in it.
    """

    most: int
    most_of: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._having: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._is_settled = True

    def has(self, name: str) -> bool:
        """Whether a device has a turn."""
        return name in self._having

    @property
    def waiting(self) -> int:
        """The number of devices that wait for a turn."""
        return len(self._waiting)

    def want(self, name: str, group: str) -> None:
        """Queue a device for a turn; one that has a turn or is queued already keeps its place."""
        if name not in self._having:
            self._waiting.setdefault(name, group)
            self._is_settled = False

    def take(self, name: str, group: str) -> None:
        """Give a device a turn regardless of the limits, for instance because its update has begun already."""
        self._waiting.pop(name, None)
        self._having[name] = group

    def leave(self, name: str) -> None:
        """Return the turn of a device, or remove it from the queue."""
        self._having.pop(name, None)
        self._waiting.pop(name, None)
        self._is_settled = False

    def grant(self) -> list[str]:
        """Grant the free turns, and return the devices that received one."""
        granted: list[str] = []
        if self._is_settled:
            return granted
        self._is_settled = True
        free = {group: self.most_of.get(group, 1) for group in self._waiting.values() if group}
        for group in self._having.values():
            if group in free:
                free[group] -= 1
        for name, group in list(self._waiting.items()):
            if len(self._having) >= self.most:
                break
            if not group or free[group] > 0:
                free[group] = free.get(group, 0) - 1
                self.take(name, group)
                granted.append(name)
        return granted
