"""How fast the output of a terminal is sent.

The server keeps 25 messages for a user and silently drops what comes faster than it is read, and it ends a session
after 8 MiB. So there are gaps between messages, and after a burst the rate is such that a program that prints without
end leaves its user a minute to stop it.
"""

from __future__ import annotations

FRAME_BYTES = 16384
_GAP_SECONDS = 0.002
"""Ten frames in 20 ms; at twice that, the server began to lose messages."""
_BURST_BYTES = 512 * 1024
_BYTES_PER_SECOND = 120 * 1024
_AFTER_INPUT_BYTES = 64 * 1024


class Pace:
    """Counts what is sent.

    Args:
        now: monotonic, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._left = float(_BURST_BYTES)
        self._at = now
        self._next = now

    def wait_seconds(self, now: float) -> float:
        """How long to wait before the next frame."""
        self._refill(now)
        return max(self._next - now, -self._left / _BYTES_PER_SECOND, 0.0)

    def sent(self, size: int, now: float) -> None:
        """A frame was sent; the rate may be exceeded by one frame."""
        self._left -= size
        self._next = now + _GAP_SECONDS

    def typed(self, now: float) -> None:
        """The user waits for an answer: let it through."""
        self._refill(now)
        self._left = max(self._left, _AFTER_INPUT_BYTES)

    def _refill(self, now: float) -> None:
        self._left = min(self._left + (now - self._at) * _BYTES_PER_SECOND, _BURST_BYTES)
        self._at = now
