"""Checks at each gate whether an update may proceed; the wait is stored, and the server may abort the update.

Decisions of operators take precedence over the configuration. The gate is checked again with every update poll and
when it may open by itself, but not more often.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from mender_client import TYPE_CHECKING
from mender_client.core.clocksense import ClockLook
from mender_client.core.deciding import is_approved, set_clock, verdict_by_hand
from mender_client.core.gates import Closed, GateFacts, GatePoint, Open, Refused, Verdict
from mender_client.core.holding import AHEAD, Waiting, moment
from mender_client.core.model import Status
from mender_client.core.update import Update
from mender_client.dataclass import dataclass, replace
from mender_client.errors import (
    AbortedError,
    Diagnostic,
    InstallError,
    ServerError,
    StorageError,
    UnauthorizedError,
    UnknownDeploymentError,
)

from .deployments import Deployments
from .engine import Held
from .outbox import TROUBLE, Outbox
from .status_tracker import StatusTracker

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, Gates, Journal

_logger = logging.getLogger(__name__)

STATUSES = {
    GatePoint.INSTALL: Status.PAUSE_BEFORE_INSTALLING,
    GatePoint.REBOOT: Status.PAUSE_BEFORE_REBOOTING,
    GatePoint.COMMIT: Status.PAUSE_BEFORE_COMMITTING,
}
"""The status that is reported for an update that waits at a gate; there is none for the download."""


def _as_it_is(update: Update) -> Update:
    return update


@dataclass(kw_only=True, eq=False, repr=False)
class GateKeeper:
    """Lets updates pass or holds them.

    Attributes:
        gates: the configured gates; None if there are none.
        elapsed: returns a monotonic time in seconds, which includes the time that the device is suspended.
        boot_id: returns an identifier of this boot.
    """

    gates: Gates | None
    clock: Clock
    journal: Journal
    outbox: Outbox
    deployments: Deployments
    tracker: StatusTracker
    elapsed: Callable[[], float]
    boot_id: Callable[[], str]

    def __post_init__(self) -> None:
        self._look: ClockLook | None = None
        self._said = ""

    def hold(
        self,
        update: Update,
        point: GatePoint,
        *,
        note: Callable[[Update], Update] = _as_it_is,
        sync: Callable[[], None] = lambda: None,
    ) -> Held | None:
        """Check whether an update may pass a gate; if it waits, ask the server whether it is still wanted.

        Arguments and result as for ``check``.

        Raises:
            InstallError: the update must not continue.
            AbortedError: the server has ended the deployment.
            MenderError: the server can't be asked now.
        """
        before = update.waiting
        held = self.check(update, point, note=note, sync=sync)
        if held is not None:
            self.ask_server(update, point, is_new=before is None or before.point is not point)
        return held

    def check(
        self,
        update: Update,
        point: GatePoint,
        *,
        note: Callable[[Update], Update] = _as_it_is,
        sync: Callable[[], None] = lambda: None,
    ) -> Held | None:
        """Check whether an update may pass a gate, without contacting the server.

        Args:
            update: the update.
            point: the gate.
            note: adds to a waiting update what became known before the gate.
            sync: makes what was done before the gate durable, before the update waits.

        Returns:
            None if the update may continue.

        Raises:
            InstallError: the update must not continue.
        """
        self._watch_clock(self._stored(update).waiting)
        update = self._stored(update)
        before = update.waiting
        if before is not None and point is GatePoint.DOWNLOAD and before.point is not point:
            return None  # the Artifact is on disk, and is only verified again
        verdict = self.verdict(update, point)
        if isinstance(verdict, Refused):
            text = f"stopped {AHEAD[point]}: {verdict.reason}"
            raise InstallError("UPD30", text, remedy="deploy again when it may be installed")
        if isinstance(verdict, Open):
            self._go_on(update, point)
            return None
        if before is None or before.point is not point:
            sync()
        self._wait(update, point, verdict, note)
        return Held(None if verdict.until is None else max(1.0, (verdict.until - self.clock.now()).total_seconds()))

    def verdict(self, update: Update, point: GatePoint) -> Verdict:
        """The verdict of operators and of the configured gates."""
        record, now = self.journal.load(), self.clock.now()
        by_hand = verdict_by_hand(record, update, now)
        if by_hand is not None or self.gates is None:
            return by_hand or Open()
        waiting = update.waiting
        since = update.closed_since.get(point.value, "")
        if waiting is not None and waiting.point is point:
            since = waiting.closed_since
        facts = GateFacts(
            update.deployment_id,
            update.artifact_name,
            is_approved=is_approved(record, update, point),
            closed_since=moment(since),
        )
        return self.gates.verdict(point, facts, now)

    def _stored(self, update: Update) -> Update:
        return self.journal.load().update_of(update.deployment_id) or update

    def _watch_clock(self, waiting: Waiting | None) -> None:
        """If the wall clock was set, shift the stored times so that waits have lasted as long as before."""
        now, elapsed, last = self.clock.now(), self.elapsed(), self._look
        if last is None and waiting is not None:
            last = self._look_of_another_life(waiting, elapsed)
        look = ClockLook(now, elapsed)
        if last is None or not last.has_been_set(now, elapsed):
            self._look = look
            return
        seconds = (now - last.now).total_seconds() - (elapsed - last.monotonic)
        _logger.info("the clock was set by %.0f s; waiting updates wait as long as before", seconds)
        try:
            self.journal.update(lambda record: set_clock(record, last.now, seconds))
        except StorageError as error:
            _logger.warning("%s", error.diagnostic)  # detected again at the next look
        else:
            self._look = look

    def _look_of_another_life(self, waiting: Waiting, elapsed: float) -> ClockLook | None:
        """What the clock would show now had it not been set since the update began to wait; None if unknown."""
        since = moment(waiting.since)
        if since is None or not waiting.elapsed_seconds or waiting.boot_id != self.boot_id():
            return None
        return ClockLook(since + timedelta(seconds=elapsed - waiting.elapsed_seconds), elapsed)

    # -- the wait -----------------------------------------------------------------------------------------------

    def _wait(self, update: Update, point: GatePoint, verdict: Closed, note: Callable[[Update], Update]) -> None:
        """Store that the update waits, and log it, each only if something has changed."""
        before = update.waiting
        if before is None or before.point is not point:
            elapsed = round(self.elapsed())
            before = Waiting(
                point, "", self._now(), boot_id=self.boot_id(), elapsed_seconds=elapsed, writes=update.writes
            )
        waiting = replace(
            before,
            reason=verdict.reason,
            until="" if verdict.until is None else verdict.until.isoformat(timespec="seconds"),
            needs_approval=verdict.needs_approval,
            closed_since=before.closed_since if verdict.since is None else verdict.since.isoformat(),
        )
        until = "" if verdict.until is None else f"; it is checked again at {verdict.until:%Y-%m-%d %H:%M} UTC"
        if (said := f"deployment {update.deployment_id} {waiting.text}{until}") != self._said:
            self._said = said
            _logger.info("%s", said)
        if waiting != update.waiting or update.writes > waiting.writes or note(update) != update:
            self._store(update, waiting, lambda one: replace(note(one), writes=min(one.writes, waiting.writes)))

    def _go_on(self, update: Update, point: GatePoint) -> None:
        if update.waiting is not None and update.waiting.point is point:
            _logger.info("deployment %s is no longer waiting %s", update.deployment_id, AHEAD[point])
            self._said = ""
            passed = {**update.closed_since, point.value: update.waiting.closed_since}
            self._store(update, None, lambda one: replace(one, closed_since=passed))

    def _store(self, update: Update, waiting: Waiting | None, note: Callable[[Update], Update]) -> None:
        """Store where the update waits; if that fails, it still waits, but a restarted client won't know that."""
        try:
            self.journal.update(lambda record: record.waits(update.deployment_id, waiting, note))
        except StorageError as error:
            text = f"cannot store that deployment {update.deployment_id} is waiting: {error.text}"
            _logger.warning("%s", Diagnostic("UPD31", text, remedy=error.remedy))

    # -- the server ---------------------------------------------------------------------------------------------

    def ask_server(self, update: Update, point: GatePoint, *, is_new: bool) -> None:
        """Tell the server once that the update waits; later, ask whether it is still wanted.

        Args:
            update: the update.
            point: where it waits.
            is_new: whether it has only just begun to wait.

        Raises:
            AbortedError: the server has ended the deployment.
            MenderError: the server can't be asked now.
        """
        waiting, status = self._stored(update).waiting, STATUSES.get(point)
        if status is not None and (waiting is None or not waiting.is_told):
            self._tell(update, status)
            if waiting is not None:
                self._store(update, replace(waiting, is_told=True), _as_it_is)
        elif not is_new:  # otherwise it was offered just now
            self.deployments.fresh_link(update)
            self.tracker.note(lambda one, now: one.answered(now))

    def _tell(self, update: Update, status: Status) -> None:
        self.outbox.flush()
        try:
            self.deployments.send_status(update.deployment_id, status)
        except (AbortedError, UnauthorizedError, UnknownDeploymentError):
            raise
        except ServerError as error:
            if error.status in TROUBLE or error.status >= 500:
                raise
            _logger.warning(
                "deployment %s is waiting, but the server does not accept that status: %s", update.deployment_id, error
            )

    def _now(self) -> str:
        return self.clock.now().isoformat(timespec="seconds")
