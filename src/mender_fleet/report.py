"""The results of the deployments: counted over time by each process, and combined by the master as text and picture.

The requests are counted by Locust.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

SLOT_SECONDS = 5
"""The resolution of the counts over time."""
KINDS = ("offered", "success", "failure")
_SENT = "sent bytes"
_WIDTH, _HEIGHT, _MARGIN = 720, 320, 48
_COLOURS = {"offered": "#7f8a99", "success": "#14683c", "failure": "#a3211b"}


class Outcomes:
    """Counts deployments by kind and time.

    Args:
        now: the wall clock, which must be synchronised between all machines of a fleet.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.slots: Counter[tuple[int, str]] = Counter()
        self._untold: Counter[tuple[int, str]] = Counter()
        self.sent_bytes = 0
        self._untold_bytes = 0

    def note(self, kind: str) -> None:
        """Count a deployment that was ``offered``, or that ended with ``success`` or ``failure``."""
        slot = int(self._now() // SLOT_SECONDS)
        self.slots[slot, kind] += 1
        self._untold[slot, kind] += 1

    def note_sent(self, size_bytes: int) -> None:
        """Count the body of a request."""
        self.sent_bytes += size_bytes
        self._untold_bytes += size_bytes

    def take(self) -> dict[str, int]:
        """The counts since the last call, as a message for the master."""
        told = {f"{slot} {kind}": count for (slot, kind), count in self._untold.items()}
        told[_SENT] = self._untold_bytes
        self._forget_untold()
        return told

    def add(self, told: Mapping[str, int]) -> None:
        """Add the counts of a message from a worker."""
        for key, count in told.items():
            slot, _, kind = key.partition(" ")
            if key == _SENT:
                self.sent_bytes += count
            else:
                self.slots[int(slot), kind] += count

    def clear(self) -> None:
        """Reset all counts."""
        self.slots.clear()
        self.sent_bytes = 0
        self._forget_untold()

    def _forget_untold(self) -> None:
        self._untold.clear()
        self._untold_bytes = 0

    def total(self, kind: str) -> int:
        """The number of deployments of a kind."""
        return sum(count for (_, one), count in self.slots.items() if one == kind)

    def seconds(self) -> float:
        """The time from the first offer to the last outcome, with the resolution of a slot; 0 without deployments."""
        if not self.slots:
            return 0.0
        slots = [slot for slot, _ in self.slots]
        return float((max(slots) - min(slots) + 1) * SLOT_SECONDS)

    def per_minute(self) -> tuple[float, float]:
        """The number of deployments that ended per minute: the average, and the maximum."""
        ended: Counter[int] = Counter()
        for (slot, kind), count in self.slots.items():
            if kind != "offered":
                ended[slot] += count
        if not ended:
            return 0.0, 0.0
        seconds = self.seconds()
        average = 60 * ended.total() / seconds
        if seconds <= 60:
            return average, average
        slots = 60 // SLOT_SECONDS
        return average, max(average, *(sum(ended[first + one] for one in range(slots)) for first in ended))

    def curve(self, kind: str) -> list[tuple[float, int]]:
        """The cumulative number of deployments of a kind, by the seconds since the first slot."""
        if not self.slots:
            return []
        start, end = min(slot for slot, _ in self.slots), max(slot for slot, _ in self.slots)
        points, count = [(0.0, 0)], 0
        for slot in range(start, end + 1):
            count += self.slots[slot, kind]
            points.append(((slot - start + 1.0) * SLOT_SECONDS, count))
        return points


def summary(outcomes: Outcomes, *, download_bytes: int, received_bytes: int) -> str:
    """The report as text.

    Args:
        outcomes: the results of the deployments.
        download_bytes: the number of bytes of Artifacts received.
        received_bytes: the number of bytes of all replies, including Artifacts.
    """
    traffic = f"{_mib(download_bytes)} Artifacts, {_mib(received_bytes - download_bytes)} other replies"
    traffic = f"bytes             {traffic}, {_mib(outcomes.sent_bytes)} sent"
    offered, success, failure = (outcomes.total(kind) for kind in KINDS)
    if not offered:
        return f"deployments       none was offered\n{traffic}"
    seconds = outcomes.seconds()
    done = success + failure
    lines = [
        f"deployments       {offered} offered, {success} success, {failure} failure, {offered - done} unfinished",
        f"time              {seconds:.0f} s from the first offer to the last status",
        "per minute        {:.0f} on average, {:.0f} at most".format(*outcomes.per_minute()),
        traffic,
    ]
    return "\n".join(lines)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"


def draw(outcomes: Outcomes, title: str) -> str:
    """The deployments over time as an SVG image."""
    end = max(outcomes.seconds(), float(SLOT_SECONDS))
    top = max(1, *(outcomes.total(kind) for kind in KINDS))
    right, bottom = _WIDTH - _MARGIN, _HEIGHT - _MARGIN

    def at(seconds: float, count: float) -> str:
        across, up = (right - _MARGIN) * seconds / end, (bottom - _MARGIN) * count / top
        return f"{_MARGIN + across:.1f},{bottom - up:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        ' font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="20" font-size="14">{escape(title)}</text>',
        f'<path d="M{_MARGIN} {_MARGIN}V{bottom}H{right}" fill="none" stroke="#55606e"/>',
        f'<text x="{_MARGIN - 6}" y="{_MARGIN + 4}" text-anchor="end">{top}</text>',
        f'<text x="{_MARGIN - 6}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end">{_duration(end)}</text>',
    ]
    for place, kind in enumerate(KINDS):
        points = " ".join(at(seconds, count) for seconds, count in outcomes.curve(kind))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_COLOURS[kind]}" stroke-width="2"/>')
        parts.append(
            f'<text x="{_MARGIN + 10 + 150 * place}" y="{_HEIGHT - 10}" fill="{_COLOURS[kind]}">'
            f"{kind} {outcomes.total(kind)}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
