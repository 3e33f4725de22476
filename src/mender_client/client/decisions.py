"""Stores the decisions of operators about updates, in any process; the client applies them at the next gate.

A decision applies to the update in progress or, with ``is_all``, to this one and all future ones. It may be repeated.
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
    """Decisions of operators about updates.

    All methods raise StorageError if the decision can't be stored, and without ``is_all`` NothingToDecideError if no
    update is in progress. They return the decision as a sentence without a full stop.
    """

    clock: Clock
    journal: Journal

    def pause(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Hold updates at their next gate until they are resumed.

        Args:
            by: who made the decision.
            reason: the reason for it.
            is_all: whether it applies to all future updates as well.
        """
        return self._decide(self._decision(DecisionKind.PAUSE, by, reason), is_all=is_all)

    def postpone(self, until: datetime, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Hold updates at their next gate until a given time; arguments as for ``pause``."""
        end = until.astimezone(timezone.utc).isoformat(timespec="seconds")
        return self._decide(self._decision(DecisionKind.POSTPONE, by, reason, until=end), is_all=is_all)

    def refuse(self, by: str, reason: str = "", *, is_all: bool = False) -> str:
        """Make updates fail at their next gate, and withdraw approvals; arguments as for ``pause``."""
        return self._decide(self._decision(DecisionKind.REFUSE, by, reason), is_all=is_all)

    def approve(self, by: str, reason: str = "", *, point: GatePoint | None = None, is_all: bool = False) -> str:
        """Let updates pass a gate that requires approval; other conditions, such as a window, still hold them.

        Args:
            by: who made the decision.
            reason: the reason for it.
            point: the gate; None for the one at which the update in progress waits or, with ``is_all``, for all gates.
            is_all: whether it applies to all future updates as well.

        Raises:
            NothingToDecideError: also if ``point`` is None and the update is not waiting for approval.
        """
        if not is_all and point is None:
            point = self._awaited()
        text = self._decide(self._decision(DecisionKind.APPROVE, by, reason, point=point), is_all=is_all)
        held = None if is_all else self._held(self._update())
        return text if held is None else f"{text}; it is still {held.reason}"

    def resume(self, by: str, *, is_all: bool = False) -> str:
        """Withdraw a pause, a postponement or a refusal.

        Args:
            by: who made the decision.
            is_all: whether decisions about all future updates are withdrawn as well.
        """
        update = None if is_all else self._update()
        before = self.journal.load()
        after = self.journal.update(lambda record: continued(record, is_all=is_all))
        text = f"{_of(update)}: {'no longer on hold' if after != before else 'not on hold'}"
        if after != before:
            _logger.info("%s (by %s)", text, printable(by, limit=_LONGEST_NAME))
        if not is_all and after.decisions is not None and (hold := after.decisions.hold) is not None:
            text += f", but all updates are still {hold.text}; 'continue --all' lifts this"
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
            text, remedy = "no update is in progress", "pass --all to apply this to all future updates"
            raise NothingToDecideError("UPD32", text, remedy=remedy)
        return update

    def _held(self, update: Update) -> Closed | Refused | None:
        """The decision that holds or ends an update, if there is one."""
        return verdict_by_hand(self.journal.load(), update, self.clock.now())

    def _awaited(self) -> GatePoint:
        """The gate at which the update waits for approval, or which has been approved.

        A paused update may need approval as well: its gate isn't evaluated during the pause.
        """
        update = self._update()
        waiting = update.waiting
        is_approvable = waiting is not None and (
            waiting.needs_approval
            or self._held(update) is not None
            or is_approved(self.journal.load(), update, waiting.point)
        )
        if waiting is None or not is_approvable:
            what = "is not waiting at a gate" if waiting is None else waiting.text
            text = f"cannot approve {_of(update)}: it {what}"
            raise NothingToDecideError("UPD33", text, remedy="to approve it in advance, pass --gate")
        return waiting.point


def _is_before_gate(update: Update) -> bool:
    """Whether the update reaches a gate before it makes any further change to the device."""
    return update.waiting is not None or update.state in (State.DOWNLOADING, State.VERIFIED)


def _of(update: Update | None) -> str:
    return "all updates" if update is None else f"{update.artifact_name} (deployment {update.deployment_id})"
