"""What people decide about updates, as methods of the client in a program: those of the command line."""

from __future__ import annotations

from datetime import datetime

from mender_client.app.assemble import DeviceParts
from mender_client.core.gates import GatePoint
from mender_client.core.holding import Waiting


class Deciding:
    """Where the update waits, and what is decided about it.

    A decision is stored, and heeded at the next gate; ``run`` heeds it at once. It is about the update in progress, or
    with ``is_all`` about this one and all to come, and may be repeated. All methods may be called from any thread.

    They return what was decided as a sentence, and raise:

    - UsageError: the client is closed.
    - NothingToDecideError: no update is in progress, or none that waits for an approval.
    - StorageError: it can't be stored.
    """

    @property
    def _parts(self) -> DeviceParts:
        raise NotImplementedError

    def poll_now(self) -> None:
        """Make the next step poll for a deployment, and ask at the gate; ``run`` takes that step at once."""
        raise NotImplementedError

    @property
    def waiting(self) -> Waiting | None:
        """At which gate the update in progress waits, since when, and what for; None when it does not."""
        update = self._parts.journal.load().update
        return None if update is None else update.waiting

    def pause(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Let updates wait at their next gate until ``unpause``.

        Args:
            by: who decides.
            reason: why.
            is_all: not only the update in progress.
        """
        return self._heeded(self._parts.decisions.pause(by, reason, is_all=is_all))

    def postpone(self, until: datetime, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Let updates wait at their next gate until a time, which is aware; arguments as for ``pause``."""
        return self._heeded(self._parts.decisions.postpone(until, by, reason, is_all=is_all))

    def refuse(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Let updates fail at their next gate; arguments as for ``pause``."""
        return self._heeded(self._parts.decisions.refuse(by, reason, is_all=is_all))

    def approve(self, by: str, reason: str = "", *, point: GatePoint | None = None, is_all: bool = False) -> str:
        """Let updates pass a gate that asks.

        Args:
            by: who decides.
            reason: why.
            point: which gate; None: the one at which the update waits, or with ``is_all`` every one.
            is_all: not only the update in progress.
        """
        return self._heeded(self._parts.decisions.approve(by, reason, point=point, is_all=is_all))

    def unpause(self, by: str, *, is_all: bool = False) -> str:
        """Take back a pause, a postponement or a refusal; arguments as for ``pause``."""
        return self._heeded(self._parts.decisions.resume(by, is_all=is_all))

    def _heeded(self, text: str) -> str:
        self.poll_now()
        return text
