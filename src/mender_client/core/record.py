"""The client's persistent record, and the pure functions that change it.

It holds the update in progress, the messages that the server has not acknowledged, and the known outcomes. An outcome
and the messages that report it are recorded in one change, so that neither can be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field, replace

from .holding import Decisions, Waiting
from .machine import ENDS, Event, Flow, State, advance
from .model import (
    AcceptedIdentity,
    Deployment,
    Link,
    NewKey,
    NextForm,
    Provides,
    Software,
    Status,
    is_deployment_id,
)
from .resume import RemoteObject
from .standalone import StandaloneUpdate
from .text import printable
from .update import Update

if TYPE_CHECKING:
    from typing import Any

MAXIMUM_OUTCOMES = 100
"""How many outcomes are kept."""

_LONGEST_REASON = 300


class MessageKind(str, Enum):
    """The kinds of message to the server."""

    STATUS = "status"
    LOG = "log"


@dataclass(frozen=True)
class Message:
    """A message in the outbox, about a deployment.

    Attributes:
        deployment_id: the deployment.
        kind: a status, or the deployment's log as it is on disk.
        status: the status; None for a log.
        refused_hours: for how many hours something between client and server has been refusing it.
    """

    deployment_id: str
    kind: MessageKind
    status: Status | None = None
    refused_hours: int = 0

    @property
    def content(self) -> Message:
        """The message as it was first stored."""
        return replace(self, refused_hours=0)


@dataclass(frozen=True)
class Outcome:
    """How a deployment ended on this device.

    Attributes:
        deployment_id: the deployment.
        status: success or failure.
        at: when it was recorded, RFC 3339; for display.
        artifact_name: the Artifact that was to be installed; empty if unknown.
        began: when it was first offered, RFC 3339; empty if unknown.
        fetched_bytes: bytes of the Artifact that were received over the network, in all attempts.
        resumed_bytes: bytes that were on disk already when the client last started, and were not downloaded again.
        reason: why it failed; empty if it did not, or if unknown.
        reused_bytes: bytes that were not downloaded, because the device had their content.
    """

    deployment_id: str
    status: Status
    at: str = ""
    artifact_name: str = ""
    began: str = ""
    fetched_bytes: int = 0
    resumed_bytes: int = 0
    reason: str = ""
    reused_bytes: int = 0


@dataclass(frozen=True)
class Unread:
    """What another version wrote and this one does not understand: JSON values, kept verbatim for that version.

    Attributes:
        update: the update in progress, None if there is none.
        outbox: messages to the server.
        outcomes: outcomes.
        fields: other fields, by name; each is kept until there is a value to replace it.
    """

    update: object = None
    outbox: tuple[object, ...] = ()
    outcomes: tuple[object, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """A human-readable summary; empty if there is nothing."""
        parts = [] if self.update is None else [self._update_summary()]
        parts += [
            f"{len(entries)} {noun}{'' if len(entries) == 1 else 's'}"
            for entries, noun in ((self.outbox, "pending report"), (self.outcomes, "outcome"))
            if entries
        ]
        return ", ".join([*parts, *self.fields])

    def _update_summary(self) -> str:
        found = self.update if isinstance(self.update, Mapping) else {}
        stood = ", ".join(f"{key} {printable(repr(found[key]), limit=40)}" for key in ("flow", "state") if key in found)
        return f"the update under way ({stood or 'without a state'})"

    @property
    def deployment_id(self) -> str:
        """The deployment of the update; empty if there is no update, or if it has no valid deployment ID."""
        found = self.update.get("deployment_id") if isinstance(self.update, Mapping) else None
        return found if isinstance(found, str) and is_deployment_id(found) else ""

    @property
    def artifact_name(self) -> str:
        """The Artifact of the update; empty if unknown."""
        found = self.update.get("artifact_name") if isinstance(self.update, Mapping) else None
        return found if isinstance(found, str) else ""


@dataclass(frozen=True)
class Record:
    """The client's persistent record.

    Attributes:
        update: the update in progress, if any.
        outbox: the messages that the server has not acknowledged yet, oldest first.
        outcomes: how the last deployments ended, oldest first.
        accepted: the identity and key that the server last accepted; None if unknown.
        new_key: the key that was generated since, if any.
        identity_change: how identity or key now differ from those, and why, for display; empty if they don't.
        unknown: unknown fields that another version wrote, preserved for it.
        totals: how many deployments have ``succeeded``, ``failed`` or been ``aborted``, including those that are no
            longer in ``outcomes``.
        unread: known fields that another version wrote and this one does not understand, preserved for it.
        software: what the last successful deployment installed; None if unknown.
        standalone: the standalone update in progress, if any.
        decisions: the operator's decisions about this update and all future ones; None if there are none.
    """

    update: Update | None = None
    outbox: tuple[Message, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    accepted: AcceptedIdentity | None = None
    new_key: NewKey | None = None
    identity_change: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    unread: Unread = Unread()
    software: Software | None = None
    standalone: StandaloneUpdate | None = None
    decisions: Decisions | None = None

    def provides(self, seen: Provides) -> Provides:
        """What the device provides: the content of its files, and what the Artifact that was installed last added."""
        return seen if self.software is None else self.software.completing(seen)

    def update_of(self, deployment_id: str) -> Update | None:
        """The update in progress, if it belongs to this deployment."""
        return self.update if self.update is not None and self.update.deployment_id == deployment_id else None

    def outcome_of(self, deployment_id: str) -> Outcome | None:
        """How a deployment ended, if known."""
        return next((one for one in reversed(self.outcomes) if one.deployment_id == deployment_id), None)

    def begun(
        self, deployment: Deployment, provides: Provides, form: NextForm, *, now: str, flow: Flow = Flow.HANDOVER
    ) -> Record:
        """The record with a new update in progress; if it is in progress already, only its link is replaced.

        The link is stored, so that a restarted client can continue the download without asking the server. It is a
        secret like the device key, which is stored beside the state file with the same mode (0600), and it expires.
        """
        known = self.update_of(deployment.id)
        if known is not None and known.artifact_name == deployment.artifact_name:
            return self.linked(deployment.id, deployment.link)
        update = Update(
            deployment.id,
            deployment.artifact_name,
            State.DOWNLOADING,
            now,
            provides,
            form,
            flow=flow,
            device_types=deployment.device_types,
            link=deployment.link,
            began=now,
        )
        return replace(self, update=update, unread=replace(self.unread, update=None))

    def linked(self, deployment_id: str, link: Link) -> Record:
        """The record with a fresh link to the Artifact."""
        return self._changed(deployment_id, lambda update: replace(update, link=link))

    def described(self, deployment_id: str, remote_object: RemoteObject) -> Record:
        """The record with what the storage said about the Artifact."""
        return self._changed(deployment_id, lambda update: replace(update, remote_object=remote_object))

    def waits(self, deployment_id: str, waiting: Waiting | None, note: Callable[[Update], Update]) -> Record:
        """The record with the gate at which the update waits (or None), and with the changes of ``note``."""
        return self._changed(deployment_id, lambda update: replace(note(update), waiting=waiting))

    def put_together(self, deployment_id: str, *, received: int, done: int) -> Record:
        """The record with the progress of an adaptive download.

        Args:
            deployment_id: the deployment.
            received: bytes that were received over the network and have not been recorded yet.
            done: bytes of the Artifact that are complete; more than ever before counts as progress.
        """

        def change(update: Update) -> Update:
            update = replace(update, fetched_bytes=update.fetched_bytes + received)
            return update if done <= update.done_bytes else replace(update, done_bytes=done, writes=0)

        return self._changed(deployment_id, change)

    def not_adaptive(self, deployment_id: str, reason: str) -> Record:
        """The record with the reason why an update can't be downloaded adaptively."""
        return self._changed(deployment_id, lambda update: replace(update, not_adaptive=reason))

    def _changed(self, deployment_id: str, change: Callable[[Update], Update]) -> Record:
        update = self.update_of(deployment_id)
        return self if update is None else replace(self, update=change(update))

    def resumed(self, state: State, *, bytes_on_disk: int, now: str) -> Record:
        """The record after a restart.

        A client that waits (at a gate, for the sub-updater or for an unreachable server) may be restarted any number
        of times; only repeated attempts can be a loop. After every restart, an update module is called again.

        Raises:
            LoopError: there were too many changes without progress.
        """
        update = self.update
        if update is None:
            return self
        is_tried = update.tried or any(message.deployment_id == update.deployment_id for message in self.outbox)
        is_tried = is_tried if state is State.DOWNLOADING else not update.is_handed_over
        if state is update.state and (update.is_held or not is_tried):
            return self
        if state is State.CHECK_ROLLBACK and update.state is not state:
            update = update.after(Event.FAULT)
        if update.state is State.DOWNLOADING and bytes_on_disk > update.seen_bytes:
            grown = bytes_on_disk - update.seen_bytes  # received before the client ended without recording it
            update = replace(update, seen_bytes=bytes_on_disk, writes=0, fetched_bytes=update.fetched_bytes + grown)
        # pending reports of the interrupted attempt are dropped: the next attempt sends its own
        left = self.silenced(update.deployment_id) if state is State.DOWNLOADING else self
        waiting = update.waiting if state is State.DOWNLOADING else None
        if waiting is not None and not update.is_only_verified_again:
            waiting = replace(waiting, is_told=False)  # first report that it is downloaded again
        return replace(left, update=replace(update.entered(state, now=now), tried=False, waiting=waiting))

    def moved(
        self, deployment_id: str, event: Event, *, now: str, note: Callable[[Update], Update] = lambda update: update
    ) -> Record:
        """The record after an event that does not end the update; unchanged if the update is over already.

        Args:
            deployment_id: the deployment.
            event: what happened.
            now: the time, RFC 3339.
            note: adds to the update what has become known.

        Raises:
            ValueError: the update's state does not expect the event.
            LoopError: there were too many changes without progress.
        """
        update = self.update_of(deployment_id)
        if update is None:
            return self
        state = advance(update.flow, update.state, event)
        if state in ENDS:
            raise ValueError(f"{event.value}: this ends the update and needs its outcome")
        update = note(update).after(event)
        # FETCHED keeps the gate: after a restart, a waiting update is merely verified again
        update = update if event is Event.FETCHED else replace(update, waiting=None)
        software = update.installed if state is State.CLEANUP else None
        return replace(self, update=update.entered(state, now=now), software=software or self.software)

    def concluded(
        self,
        deployment_id: str,
        event: Event,
        *,
        now: str,
        note: Callable[[Update], Update] = lambda update: update,
        reason: str = "",
    ) -> Record:
        """The record after an event that ends a deployment: the outcome, its messages and the end are one change.

        A deployment without a known update can end as well: it was begun by another client, or by another version whose
        update can't be read. A known outcome does not change: the first report is final.

        The arguments are those of ``moved``, and ``reason``: why it failed.

        Raises:
            ValueError: the update's state does not expect the event.
        """
        if self.outcome_of(deployment_id) is not None:
            return self._without_unread(deployment_id)
        update = self.update_of(deployment_id)
        if update is None:
            end = advance(Flow.HANDOVER, State.INSTALLING, event)
        else:
            end = advance(update.flow, update.state, event)
            update = note(update).after(event)
        status = {State.SUCCEEDED: Status.SUCCESS, State.FAILED: Status.FAILURE}.get(end)
        totals = {**self.totals, end.value: self.totals.get(end.value, 0) + 1}
        left = replace(self._without(deployment_id), totals=totals)
        if status is None:
            return left
        has_changed = status is Status.SUCCESS or (
            event is Event.LOOP and update is not None and not update.is_handed_over
        )
        if update is not None and has_changed:
            left = replace(left, software=update.installed or self.software)
        outcome = _outcome(deployment_id, status, now, update, self.unread)
        if status is Status.FAILURE:
            outcome = replace(outcome, reason=printable(reason, limit=_LONGEST_REASON))
        return replace(left, outcomes=(*self.outcomes, outcome)[-MAXIMUM_OUTCOMES:]).telling(deployment_id, status)

    def _without(self, deployment_id: str) -> Record:
        """The record without the update and the messages of this deployment."""
        left = self.silenced(deployment_id)._without_unread(deployment_id)
        return left if left.update_of(deployment_id) is None else replace(left, update=None)

    def _without_unread(self, deployment_id: str) -> Record:
        if self.unread.deployment_id != deployment_id:
            return self
        return replace(self, unread=replace(self.unread, update=None))

    def telling(self, deployment_id: str, status: Status) -> Record:
        """The record with a status to report; the log precedes a failure, as nothing may follow a final status."""
        if not status.is_final and self.outcome_of(deployment_id) is not None:
            return self
        messages = [Message(deployment_id, MessageKind.STATUS, status)]
        if status is Status.FAILURE:
            messages.insert(0, Message(deployment_id, MessageKind.LOG))
        pending = {message.content for message in self.outbox}
        new = tuple(message for message in messages if message not in pending)
        return replace(self, outbox=(*self.outbox, *new)) if new else self

    def acknowledged(self, message: Message) -> Record:
        """The record after the server has acknowledged a message."""
        outbox = list(self.outbox)
        if message in outbox:
            outbox.remove(message)
        update = self.update
        downloading = None if update is None else Message(update.deployment_id, MessageKind.STATUS, Status.DOWNLOADING)
        if update is not None and message.content == downloading:
            update = replace(update, tried=True)
        return replace(self, outbox=tuple(outbox), update=update)

    def refused(self, message: Message, *, hours: int) -> Record:
        """The record after a message has been refused for a further number of hours."""
        counted = replace(message, refused_hours=message.refused_hours + hours)
        return replace(self, outbox=tuple(counted if one == message else one for one in self.outbox))

    def silenced(self, deployment_id: str) -> Record:
        """The record without the messages of a deployment, for instance because the server has aborted it."""
        return replace(self, outbox=tuple(one for one in self.outbox if one.deployment_id != deployment_id))

    def accepted_as(self, accepted_identity: AcceptedIdentity) -> Record:
        """The record after the server has accepted the device; a recorded change of identity or key is cleared."""
        return replace(self, accepted=accepted_identity, new_key=None, identity_change="")


def _outcome(deployment_id: str, status: Status, now: str, update: Update | None, unread: Unread) -> Outcome:
    if update is None:
        name = unread.artifact_name if unread.deployment_id == deployment_id else ""
        return Outcome(deployment_id, status, now, name)
    return Outcome(
        deployment_id,
        status,
        now,
        update.artifact_name,
        update.began,
        update.fetched_bytes,
        update.resumed_bytes,
        reused_bytes=update.reused_bytes,
    )
