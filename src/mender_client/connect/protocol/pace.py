"""Limits the rate at which the output of a terminal is sent.

The server buffers 25 messages for a user, silently drops further ones, and ends a session after 8 MiB. So there are
gaps between messages, and after a burst the rate is limited so that the user has a minute to stop a program that keeps
printing.
"""

from __future__ import annotations

FRAME_BYTES = 16384
_GAP_SECONDS = 0.002
"""Ten frames in 20 ms; at twice that rate, the server began to lose messages."""
_BURST_BYTES = 512 * 1024
_BYTES_PER_SECOND = 120 * 1024
_AFTER_INPUT_BYTES = 64 * 1024


class Pace:
    """Computes the pauses between frames.

    Args:
        now: the monotonic time in seconds.
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
        """Count a frame that was sent; the rate may be exceeded by one frame."""
        self._left -= size
        self._next = now + _GAP_SECONDS

    def typed(self, now: float) -> None:
        """Allow some output after input, since the user is waiting for a response."""
        self._refill(now)
        self._left = max(self._left, _AFTER_INPUT_BYTES)

    def _refill(self, now: float) -> None:
        self._left = min(self._left + (now - self._at) * _BYTES_PER_SECOND, _BURST_BYTES)
        self._at = now
