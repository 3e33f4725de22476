"""How long to wait before reconnecting."""

from __future__ import annotations

from collections.abc import Callable

from mender_client.core.backoff import Backoff

LASTING_SECONDS = 30.0
"""A shorter connection counts as a failure: two devices with the same identity disconnect each other."""
RETURN_SECONDS = 5.0
"""The period over which devices that have lost the same server spread their reconnections."""
_FIRST_PAUSE_SECONDS = 1.0


class Reconnect:
    """Counts failures.

    Args:
        longest_pause_seconds: the longest pause between two attempts, unless the server asks for more.
        random: randomises the pauses; as for ``Backoff``.
    """

    def __init__(self, longest_pause_seconds: float, random: Callable[[], float]) -> None:
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, longest_pause_seconds)
        self._random = random

    def after_loss(self, lasted_seconds: float) -> float:
        """The pause after the loss of a connection that lasted this long."""
        if lasted_seconds < LASTING_SECONDS:
            return self.after_failure()
        self._backoff = self._backoff.after_success()
        return self._random() * RETURN_SECONDS

    def after_failure(self, retry_after_seconds: float | None = None) -> float:
        """The pause after a failed attempt, which increases each time, or is the one that the server asks for."""
        self._backoff = self._backoff.after_failure()
        return self._backoff.delay_seconds(random=self._random(), retry_after_seconds=retry_after_seconds)
