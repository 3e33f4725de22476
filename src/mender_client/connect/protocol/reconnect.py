"""How long to wait before connecting again."""

from __future__ import annotations

from collections.abc import Callable

from mender_client.core.backoff import Backoff

LASTING_SECONDS = 30.0
"""A connection that is cut earlier counts as a failure: two devices with one identity cut each other's."""
RETURN_SECONDS = 5.0
"""Over so long the devices that have lost the same server are spread."""
_FIRST_PAUSE_SECONDS = 1.0


class Reconnect:
    """Counts failures.

    Args:
        longest_pause_seconds: between two tries, unless the server asks for more.
        random: spreads a fleet; as for ``Backoff``.
    """

    def __init__(self, longest_pause_seconds: float, random: Callable[[], float]) -> None:
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, longest_pause_seconds)
        self._random = random

    def after_loss(self, lasted_seconds: float) -> float:
        """The pause after the loss of a connection that has lasted for some time."""
        if lasted_seconds < LASTING_SECONDS:
            return self.after_failure()
        self._backoff = self._backoff.after_success()
        return self._random() * RETURN_SECONDS

    def after_failure(self, retry_after_seconds: float | None = None) -> float:
        """The pause after a try that has failed; it grows from one to the next, or is the one the server asks for."""
        self._backoff = self._backoff.after_failure()
        return self._backoff.delay_seconds(random=self._random(), retry_after_seconds=retry_after_seconds)
