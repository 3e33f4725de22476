"""Bytes per minute, for the limits of file transfers: once they are reached, no new transfer may begin."""

from __future__ import annotations

from .ports import Timers

_SLOT_SECONDS = 5.0
_SLOTS = 12


class Meter:
    """Counts the bytes of the last minute.

    Args:
        timers: the clock.
        most: the maximum number of bytes per minute; 0 for no limit.
    """

    def __init__(self, timers: Timers, most: int) -> None:
        self._timers = timers
        self._most = most
        self._slots: dict[int, int] = {}

    def count(self, size: int) -> None:
        """Count bytes that have been transferred."""
        if self._most:
            slot = self._slot()
            self._slots[slot] = self._slots.get(slot, 0) + size

    def is_exhausted(self) -> bool:
        """Whether no new transfer may begin now."""
        if not self._most:
            return False
        oldest = self._slot() - _SLOTS
        self._slots = {slot: size for slot, size in self._slots.items() if slot > oldest}
        return sum(self._slots.values()) >= self._most

    def _slot(self) -> int:
        return int(self._timers.now() / _SLOT_SECONDS)
