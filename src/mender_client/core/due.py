"""The due times of many entries, in a heap, so that thousands of them cost nothing while they wait."""

from __future__ import annotations

from heapq import heapify, heappop, heappush


class DueTimes:
    """Names and their due times; a name occurs at most once. Times are in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._times)

    def __contains__(self, name: str) -> bool:
        return name in self._times

    def put(self, name: str, at: float) -> None:
        """Set the due time of a name, in place of any earlier one."""
        self._times[name] = at
        heappush(self._heap, (at, name))
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._times):  # most of it is out of date
            self._heap = [(time, one) for one, time in self._times.items()]
            heapify(self._heap)

    def remove(self, name: str) -> None:
        """Remove a name, if present."""
        self._times.pop(name, None)

    def pop_due(self, now: float) -> list[str]:
        """Remove and return all names that are due, the earliest first."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, name = heappop(self._heap)
            if self._times.get(name) == at:
                del self._times[name]
                due.append(name)
        return due

    def next_at(self) -> float | None:
        """When the next one is due; None when there is none."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
