"""Stores what people decide about updates, in whichever process they say so; a client heeds it at its next gate.

A decision is about the update in progress, or with ``is_all`` about this one and all to come. Each may be repeated.
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from mender_client import TYPE_CHECKING
from mender_client.core.deciding import continued, decided, is_approved, verdict_by_hand
from mender_client.core.gates import Closed, GatePoint, Refused
from mender_client.core.holding import Decision, DecisionKind
from mender_client.core.machine import State
from mender_client.core.text import printable
from mender_client.core.update import Update
from mender_client.dataclass import dataclass
from mender_client.errors import NothingToDecideError

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, Journal

_logger = logging.getLogger(__name__)
_LONGEST_NAME, _LONGEST_REASON = 100, 200


@dataclass(kw_only=True, eq=False, repr=False)
class UpdateDecisions:
    """What people decide.

    All methods raise StorageError if the decision can't be stored, and without ``is_all`` NothingToDecideError if no
    update is in progress. They return what was decided, as a sentence without its full stop.
    """

    clock: Clock
    journal: Journal

    def pause(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Let updates wait at their next gate until they are continued.

        Args:
            by: who decides.
            reason: why.
            is_all: not only the update in progress.
        """
        return self._decide(self._decision(DecisionKind.PAUSE, by, reason), is_all=is_all)

    def postpone(self, until: datetime, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Let updates wait at their next gate until a time; arguments as for ``pause``."""
        end = until.astimezone(timezone.utc).isoformat(timespec="seconds")
        return self._decide(self._decision(DecisionKind.POSTPONE, by, reason, until=end), is_all=is_all)

    def refuse(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Let updates fail at their next gate, and take approvals back; arguments as for ``pause``."""
        return self._decide(self._decision(DecisionKind.REFUSE, by, reason), is_all=is_all)

    def approve(self, by: str, reason: str = "", *, point: GatePoint | None = None, is_all: bool = False) -> str:
        """Let updates pass a gate that asks; others, such as a window, still hold them.

        Args:
            by: who decides.
            reason: why.
            point: which gate; None: the one at which the update in progress waits, or with ``is_all`` every one.
            is_all: not only the update in progress.

        Raises:
            NothingToDecideError: also if no gate is named, and the update waits for no approval.
        """
        if not is_all and point is None:
            point = self._awaited()
        text = self._decide(self._decision(DecisionKind.APPROVE, by, reason, point=point), is_all=is_all)
        held = None if is_all else self._held(self._update())
        return text if held is None else f"{text}; it is still {held.reason}"

    def resume(self, by: str, *, is_all: bool = False) -> str:
        """Take back a pause, a postponement or a refusal.

        Args:
            by: who decides.
            is_all: also what was decided about all updates to come.
        """
        update = None if is_all else self._update()
        before = self.journal.load()
        after = self.journal.update(lambda record: continued(record, is_all=is_all))
        text = f"{_of(update)}: {'continued' if after != before else 'nothing to continue'}"
        if after != before:
            _logger.info("%s by %s", text, printable(by, limit=_LONGEST_NAME))
        if not is_all and after.decisions is not None and (hold := after.decisions.hold) is not None:
            text += f"; all updates are still {hold.text}"
        return text

    def _decision(
        self, kind: DecisionKind, by: str, reason: str, *, until: str = "", point: GatePoint | None = None
    ) -> Decision:
        now = self.clock.now().isoformat(timespec="seconds")
        by, reason = printable(by.strip(), limit=_LONGEST_NAME), printable(reason.strip(), limit=_LONGEST_REASON)
        return Decision(kind, by, now, reason, until, point)

    def _decide(self, decision: Decision, *, is_all: bool) -> str:
        update = None if is_all else self._update()
        self.journal.update(lambda record: decided(record, decision, is_all=is_all))
        text = f"{_of(update)}: {decision.text}"
        _logger.info("%s", text)
        return (
            text if update is None or _is_before_gate(update) else f"{text}; a step that has begun is not interrupted"
        )

    def _update(self) -> Update:
        update = self.journal.load().update
        if update is None:
            text, remedy = "cannot decide: no update is in progress", "decide about all future updates (--all)"
            raise NothingToDecideError("UPD32", text, remedy=remedy)
        return update

    def _held(self, update: Update) -> Closed | Refused | None:
        """What people have decided that holds an update, or ends it."""
        return verdict_by_hand(self.journal.load(), update, self.clock.now())

    def _awaited(self) -> GatePoint:
        """The gate at which the update waits for an approval, or for which it has one.

        What people have paused may need one as well: the gate isn't asked meanwhile.
        """
        update = self._update()
        waiting = update.waiting
        is_approvable = waiting is not None and (
            waiting.needs_approval
            or self._held(update) is not None
            or is_approved(self.journal.load(), update, waiting.point)
        )
        if waiting is None or not is_approvable:
            what = "is at no gate" if waiting is None else waiting.text
            text = f"cannot approve {_of(update)}: it {what}"
            raise NothingToDecideError("UPD33", text, remedy="name the gate, to approve it in advance (--gate)")
        return waiting.point


def _is_before_gate(update: Update) -> bool:
    """Whether a gate comes before anything more is done with the device."""
    return update.waiting is not None or update.state in (State.DOWNLOADING, State.VERIFIED)


def _of(update: Update | None) -> str:
    return "all updates" if update is None else f"{update.artifact_name} (deployment {update.deployment_id})"
