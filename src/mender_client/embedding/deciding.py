"""Decisions of operators about updates, as methods of the embedded client; the same as on the command line."""

from __future__ import annotations

from datetime import datetime

from mender_client.app.assemble import DeviceParts
from mender_client.core.gates import GatePoint
from mender_client.core.holding import Waiting


class Deciding:
    """The gate at which the update waits, and decisions about updates.

    A decision is stored and takes effect at the next gate; if an update is already waiting at one, ``run`` checks it at
    once. The decision applies to the update in progress or, with ``is_all``, to this one and all future ones, and may
    be repeated. All methods may be called from any thread.

    They return the decision as a sentence, and raise:

    - UsageError: the client is closed.
    - NothingToDecideError: no update is in progress, or none that waits for an approval.
    - StorageError: it can't be stored.
    """

    @property
    def _parts(self) -> DeviceParts:
        raise NotImplementedError

    def poll_now(self) -> None:
        """Make the next step poll for a deployment or check the gate; ``run`` takes that step at once."""
        raise NotImplementedError

    @property
    def waiting(self) -> Waiting | None:
        """At which gate the update in progress waits, since when, and for what; None if it doesn't wait."""
        update = self._parts.journal.load().update
        return None if update is None else update.waiting

    def pause(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Hold updates at their next gate until ``unpause``.

        Args:
            by: who made the decision.
            reason: the reason for it.
            is_all: whether it applies to all future updates as well.
        """
        return self._heeded(self._parts.decisions.pause(by, reason, is_all=is_all))

    def postpone(self, until: datetime, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Hold updates at their next gate until a time, an aware datetime; arguments as for ``pause``."""
        return self._heeded(self._parts.decisions.postpone(until, by, reason, is_all=is_all))

    def refuse(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Make updates fail at their next gate; arguments as for ``pause``."""
        return self._heeded(self._parts.decisions.refuse(by, reason, is_all=is_all))

    def approve(self, by: str, reason: str = "", *, point: GatePoint | None = None, is_all: bool = False) -> str:
        """Let updates pass a gate that requires approval.

        Args:
            by: who made the decision.
            reason: the reason for it.
            point: the gate; None for the one at which the update waits or, with ``is_all``, for all gates.
            is_all: whether it applies to all future updates as well.
        """
        return self._heeded(self._parts.decisions.approve(by, reason, point=point, is_all=is_all))

    def unpause(self, by: str, *, is_all: bool = False) -> str:
        """Withdraw a pause, a postponement or a refusal; arguments as for ``pause``."""
        return self._heeded(self._parts.decisions.resume(by, is_all=is_all))

    def _heeded(self, text: str) -> str:
        self.poll_now()
        return text
