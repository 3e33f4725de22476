"""What the client remembers across restarts: one document, changed by pure functions, written as JSON elsewhere.

The update under way, the messages that the server has not acknowledged, and the outcomes that are known. An outcome
and the messages that tell it enter the document in one change, so there is no instant at which one could be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from .accepted_identity import AcceptedIdentity, NewKey
from .machine import ENDS, Event, State, advance
from .model import Deployment, Provides, Status
from .resume import RemoteObject
from .wire import NextForm

MAXIMUM_WRITES = 28
"""A deployment whose state changed this often without progress fails; other Mender clients use the same number."""

MAXIMUM_OUTCOMES = 100
"""How many outcomes are remembered."""


class LoopError(Exception):
    """The deployment goes in circles."""


class MessageKind(str, Enum):
    """What a message to the server is."""

    STATUS = "status"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Message:
    """Something the server must hear of a deployment, in the order of the outbox.

    Attributes:
        deployment_id: which deployment.
        kind: a status, or the deployment's log as it is on disk.
        status: the status; None for a log.
    """

    deployment_id: str
    kind: MessageKind
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a deployment ended on this device.

    Attributes:
        deployment_id: which deployment.
        status: success or failure.
        at: when it was noted, RFC 3339; for people.
        artifact_name: what was to be installed, empty when it is not known.
        began: when it was first offered, RFC 3339; empty when it is not known.
        fetched_bytes: how much of the Artifact came over the network, in all tries.
        resumed_bytes: how much of it was on disk already when the client last started, and did not come again.
    """

    deployment_id: str
    status: Status
    at: str = ""
    artifact_name: str = ""
    began: str = ""
    fetched_bytes: int = 0
    resumed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """Which process the sub-updater is, so that a later one with the same pid is not taken for it.

    Attributes:
        pid: its process id.
        boot_id: the boot in which it was started.
        start_time: when it was started, in the kernel's ticks since that boot.
    """

    pid: int
    boot_id: str
    start_time: int

    def age_seconds(self, boot_id: str, uptime_seconds: float, ticks_per_second: float) -> float:
        """How long ago the process was started; 0 when that was in another boot, or isn't known.

        Args:
            boot_id: this boot.
            uptime_seconds: the time since this boot, sleep included.
            ticks_per_second: of the kernel.
        """
        if boot_id != self.boot_id or self.start_time <= 0:
            return 0.0
        return max(uptime_seconds - self.start_time / ticks_per_second, 0.0)


@dataclass(frozen=True, slots=True)
class Update:
    """The update under way.

    Attributes:
        deployment_id: the deployment.
        artifact_name: the Artifact that it brings.
        state: where it stands.
        since: when that state was entered, RFC 3339; for people.
        provides: what the device said when it was offered the deployment; it must say the same until the end.
        form: how it said it.
        promise: what the storage said about the whole object.
        seen_bytes: how much was on disk when the client last started; more than that is progress.
        writes: state changes without progress so far.
        tried: the server has heard, in this life of the client, that it is being downloaded.
        hands: the sub-updater's process, once it runs.
        unknown: fields of another version, kept for it.
        began: when it was first offered, RFC 3339; empty when an older version began it.
        fetched_bytes: how much of the Artifact has come over the network, as far as is noted.
        resumed_bytes: how much of it was on disk when the client last started, and did not come again.
    """

    deployment_id: str
    artifact_name: str
    state: State
    since: str
    provides: Provides
    form: NextForm
    remote_object: RemoteObject = field(default_factory=RemoteObject)
    seen_bytes: int = 0
    writes: int = 0
    tried: bool = False
    process: ProcessRef | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)
    began: str = ""
    fetched_bytes: int = 0
    resumed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """The client's memory.

    Attributes:
        update: the update under way, if any.
        outbox: what the server has not acknowledged yet, oldest first.
        outcomes: how the last deployments ended, oldest first.
        accepted: as what the server accepted this device last, None when that isn't known.
        new_key: the key that was made since, if any.
        identity_change: how the device asks as something else, and why, for people; empty when it doesn't.
        unknown: fields of another version, kept for it.
        totals: how many deployments have ``succeeded``, ``failed`` or were ``aborted``, those that are forgotten too.
    """

    update: Update | None = None
    outbox: tuple[Message, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    accepted: AcceptedIdentity | None = None
    new_key: NewKey | None = None
    identity_change: str = ""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)

    def update_of(self, deployment_id: str) -> Update | None:
        """The update under way if it is that of this deployment."""
        return self.update if self.update is not None and self.update.deployment_id == deployment_id else None

    def outcome_of(self, deployment_id: str) -> Outcome | None:
        """How a deployment ended, if that is known."""
        return next((one for one in reversed(self.outcomes) if one.deployment_id == deployment_id), None)

    def begun(self, deployment: Deployment, provides: Provides, form: NextForm, *, now: str) -> Record:
        """The record with a new update under way; the same deployment again keeps what is known of it."""
        known = self.update_of(deployment.id)
        if known is not None and known.artifact_name == deployment.artifact_name:
            return self
        update = Update(deployment.id, deployment.artifact_name, State.DOWNLOADING, now, provides, form, began=now)
        return replace(self, update=update)

    def described(self, deployment_id: str, remote_object: RemoteObject) -> Record:
        """The record that knows what the storage said about the object."""
        update = self.update_of(deployment_id)
        if update is None or update.remote_object == remote_object:
            return self
        return replace(self, update=replace(update, remote_object=remote_object))

    def resumed(self, state: State, *, bytes_on_disk: int, now: str) -> Record:
        """The record after a restart.

        A client that waits, for the sub-updater or for a server out of reach, may be restarted as often as it likes;
        only trying again can be a loop.

        Raises:
            LoopError: there were too many changes without progress.
        """
        update = self.update
        if update is None:
            return self
        is_tried = update.tried or any(message.deployment_id == update.deployment_id for message in self.outbox)
        if state is update.state and not (state is State.DOWNLOADING and is_tried):
            return self
        if bytes_on_disk > update.seen_bytes:
            grown = bytes_on_disk - update.seen_bytes  # what came in a life that could not note it
            update = replace(update, seen_bytes=bytes_on_disk, writes=0, fetched_bytes=update.fetched_bytes + grown)
        if state is State.DOWNLOADING and update.writes >= MAXIMUM_WRITES:
            raise LoopError(f"its state changed {update.writes} times without progress")
        # what the server has not heard of an attempt that is over, it will hear of the next one
        left = self.silenced(update.deployment_id) if state is State.DOWNLOADING else self
        return replace(left, update=replace(_entered(update, state, now), tried=False))

    def fetched(self, deployment_id: str, *, received: int, kept: int) -> Record:
        """The record that knows what the download of this life cost.

        Args:
            deployment_id: which deployment.
            received: bytes that came over the network.
            kept: bytes that were on disk already.
        """
        update = self.update_of(deployment_id)
        if update is None or not received + kept:
            return self
        update = replace(update, fetched_bytes=update.fetched_bytes + received, resumed_bytes=kept)
        return replace(self, update=update)

    def moved(self, deployment_id: str, event: Event, *, now: str, process: ProcessRef | None = None) -> Record:
        """The record after an event that does not end the update; unchanged when that update is over already.

        Raises:
            ValueError: the update's state does not expect the event.
        """
        update = self.update_of(deployment_id)
        if update is None:
            return self
        state = advance(update.state, event)
        if state in ENDS:
            raise ValueError(f"{event.value}: this ends the update and needs its outcome")
        return replace(self, update=replace(_entered(update, state, now), process=process or update.process))

    def concluded(self, deployment_id: str, event: Event, *, now: str) -> Record:
        """The record after an event that ends a deployment: outcome, messages and end in one change.

        A deployment whose update we know nothing of (another client began it) may end as well. Where an outcome is
        known already it stands: the first word counts, whoever says the second one.

        Raises:
            ValueError: the update's state does not expect the event.
        """
        if self.outcome_of(deployment_id) is not None:
            return self
        update = self.update_of(deployment_id)
        end = advance(update.state if update is not None else State.INSTALLING, event)
        status = {State.SUCCEEDED: Status.SUCCESS, State.FAILED: Status.FAILURE}.get(end)
        rest = tuple(message for message in self.outbox if message.deployment_id != deployment_id)
        totals = {**self.totals, end.value: self.totals.get(end.value, 0) + 1}
        left = replace(self, update=None if update is not None else self.update, outbox=rest, totals=totals)
        if status is None:
            return left
        outcomes = (*self.outcomes, _outcome(deployment_id, status, now, update))[-MAXIMUM_OUTCOMES:]
        return replace(left, outcomes=outcomes).telling(deployment_id, status)

    def telling(self, deployment_id: str, status: Status) -> Record:
        """The record with a status to be sent; before a failure the log, since nothing may follow a final status."""
        messages = [Message(deployment_id, MessageKind.STATUS, status)]
        if status is Status.FAILURE:
            messages.insert(0, Message(deployment_id, MessageKind.LOG))
        new = tuple(message for message in messages if message not in self.outbox)
        return replace(self, outbox=(*self.outbox, *new)) if new else self

    def acknowledged(self, message: Message) -> Record:
        """The record once the server has acknowledged a message."""
        outbox = list(self.outbox)
        if message in outbox:
            outbox.remove(message)
        update = self.update
        if update is not None and message == Message(update.deployment_id, MessageKind.STATUS, Status.DOWNLOADING):
            update = replace(update, tried=True)
        return replace(self, outbox=tuple(outbox), update=update)

    def silenced(self, deployment_id: str) -> Record:
        """The record when the server wants to hear no more of a deployment (409, 404)."""
        return replace(self, outbox=tuple(one for one in self.outbox if one.deployment_id != deployment_id))

    def accepted_as(self, accepted_identity: AcceptedIdentity) -> Record:
        """The record once the server has accepted the device; what was noted of a change is over."""
        return replace(self, accepted=accepted_identity, new_key=None, identity_change="")

    def with_new_key(self, key: str, *, is_forced: bool) -> Record:
        """The record once the client has made a key, of which this is the fingerprint."""
        return replace(self, new_key=NewKey(key, is_forced))

    def with_identity_change(self, change: str) -> Record:
        """The record that knows how the device asks as something else than what was accepted."""
        return replace(self, identity_change=change)


def _outcome(deployment_id: str, status: Status, now: str, update: Update | None) -> Outcome:
    if update is None:
        return Outcome(deployment_id, status, now)
    return Outcome(
        deployment_id, status, now, update.artifact_name, update.began, update.fetched_bytes, update.resumed_bytes
    )


def _entered(update: Update, state: State, now: str) -> Update:
    return replace(update, state=state, since=now, writes=update.writes + 1)
