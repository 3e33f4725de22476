"""The client status, for users and programs: what the client is doing, since when, why, and what it will do next.

It is only informative and may be lost: decisions are based on the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field, fields, is_dataclass, replace
from mender_client.errors import MenderError

from .gates import GatePoint
from .holding import AHEAD
from .machine import ENDS, EXPLANATIONS, State
from .record import Record

if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Value = TypeVar("_Value")

STARTING, WAITING, STOPPED = "starting", "waiting", "stopped"
"""What the client is doing if it isn't working on an update; otherwise, this is the name of a ``State``."""

_FORMER_WORDS = {
    "handed-over": State.INSTALLING.value,
    "in-hands": State.INSTALLING.value,
    "proven": State.VERIFIED.value,
    "settling": State.RECONCILING.value,
}
"""The terms that version 1.0.0 wrote to the status file, and those of this version."""


class Authorisation(str, Enum):
    """Whether the server accepts this device, as far as is known."""

    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    WAITING = "waiting"
    """Pending acceptance, or rejected: the server does not say which."""


@dataclass(frozen=True)
class Failure:
    """The last failure.

    Attributes:
        job: what failed: ``authorisation``, ``reports``, ``inventory``, ``poll`` or ``update``; empty if nothing ever
            has.
        kind: the category of the error.
        text: the message.
        at: when it happened, RFC 3339.
        since: when the first of the consecutive failures happened, RFC 3339.
        in_a_row: the number of consecutive failures of the job; 0 if it has succeeded since.
    """

    job: str = ""
    kind: str = ""
    text: str = ""
    at: str = ""
    since: str = ""
    in_a_row: int = 0


@dataclass(frozen=True)
class Download:
    """The progress of the download.

    Attributes:
        done: bytes on disk.
        total: the size of the Artifact in bytes; 0 if the storage doesn't say.
        kept: how many of the bytes on disk were there before the last start of the client.
        reused: how many of them were not downloaded, because the device had their content.
        bytes_per_second: the recent rate.
    """

    done: int = 0
    total: int = 0
    kept: int = 0
    bytes_per_second: int = 0
    reused: int = 0


@dataclass(frozen=True)
class AtGate:
    """The gate at which the update waits; all fields are empty if it does not wait.

    Attributes:
        point: ``download``, ``install``, ``reboot`` or ``commit``.
        reason: what it waits for.
        since: since when.
        until: when the gate may open by itself; empty if unknown.
        needs_approval: whether an operator has to approve the update.
    """

    point: str = ""
    reason: str = ""
    since: str = ""
    until: str = ""
    needs_approval: bool = False


@dataclass(frozen=True)
class Counts:
    """Totals, which never decrease, not even across restarts.

    Attributes:
        polls: update polls that the server has answered.
        requests: polls and inventories that were requested by a signal or a program, and are done or have failed.
        failures: failures by kind.
        bytes_fetched: bytes of Artifacts that were received over the network.
        bytes_resumed: bytes of Artifacts that did not have to be downloaded again.
        bytes_reused: bytes of Artifacts that did not have to be downloaded, because the device had their content.
        deployments: deployments by how they ended.
    """

    polls: int = 0
    requests: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    bytes_fetched: int = 0
    bytes_resumed: int = 0
    bytes_reused: int = 0
    deployments: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientStatus:
    """The client status; times are RFC 3339, empty for never.

    Attributes:
        version: the version of the running client.
        python: the interpreter's version.
        started: when it started.
        doing: ``STARTING``, ``WAITING``, ``STOPPED`` or the name of the update's ``State``.
        since: when it began doing that.
        deployment_id: the deployment that it is working on, empty for none.
        artifact_name: the Artifact of that deployment.
        installed: the name of the installed Artifact, as it was sent with the last update poll.
        download: the progress of its download.
        server_url: the server that answered last.
        authorisation: whether the server accepts this device.
        authorised_since: since when that has been known.
        contact: when a server last answered.
        polled: when the server last answered an update poll.
        failure: the last failure.
        next_poll: when the next update poll is due.
        next_inventory: when the inventory is sent next.
        unreported: the number of messages that the server has not acknowledged.
        at_gate: the gate at which the update waits.
        held: who holds all updates, and why; empty when nobody does.
        counts: totals.
    """

    version: str = ""
    python: str = ""
    started: str = ""
    doing: str = STARTING
    since: str = ""
    deployment_id: str = ""
    artifact_name: str = ""
    installed: str = ""
    download: Download = Download()
    server_url: str = ""
    authorisation: Authorisation = Authorisation.UNKNOWN
    authorised_since: str = ""
    contact: str = ""
    polled: str = ""
    failure: Failure = Failure()
    next_poll: str = ""
    next_inventory: str = ""
    unreported: int = 0
    at_gate: AtGate = AtGate()
    held: str = ""
    counts: Counts = Counts()

    @property
    def news(self) -> tuple[object, ...]:
        """The values whose changes are passed to observers at once; other changes can wait."""
        failure = self.failure
        trouble = (failure.job, failure.kind, failure.text) if failure.in_a_row else ()
        work = (self.started, self.doing, self.deployment_id, self.download, self.counts.requests)
        return *work, self.authorisation, trouble, self.unreported, self.at_gate, self.held

    def begun(self, now: str, *, version: str, python: str) -> ClientStatus:
        """The status of a starting client, with the totals and the last events of the previous run."""
        return ClientStatus(
            version=version,
            python=python,
            started=now,
            since=now,
            server_url=self.server_url,
            contact=self.contact,
            polled=self.polled,
            failure=replace(self.failure, in_a_row=0) if self.failure.in_a_row else self.failure,
            counts=self.counts,
        )

    def does(self, doing: str, now: str, *, deployment_id: str = "", artifact_name: str = "") -> ClientStatus:
        """The status with what the client is doing now."""
        if (doing, deployment_id) == (self.doing, self.deployment_id):
            return self
        is_same = bool(deployment_id) and deployment_id == self.deployment_id
        return replace(
            self,
            doing=doing,
            since=now,
            deployment_id=deployment_id,
            artifact_name=artifact_name,
            download=self.download if is_same else Download(),
            next_poll="",
            next_inventory="",
        )

    def downloads(self, download: Download) -> ClientStatus:
        """The status with the progress of the download."""
        return replace(self, download=download)

    def planned(self, *, next_poll: str, next_inventory: str) -> ClientStatus:
        """The status with the times of the next poll and the next inventory."""
        return replace(self, next_poll=next_poll, next_inventory=next_inventory)

    def contacted(self, server_url: str, now: str) -> ClientStatus:
        """A server has answered, with whatever result."""
        return replace(self, server_url=server_url, contact=now)

    def judged(self, authorisation: Authorisation, now: str) -> ClientStatus:
        """It has become known whether the server accepts this device."""
        if authorisation is self.authorisation:
            return self
        return replace(self, authorisation=authorisation, authorised_since=now)

    def failed(self, job: str, error: MenderError, now: str, *, in_a_row: int) -> ClientStatus:
        """A job has failed; ``in_a_row`` is the number of its consecutive failures."""
        kind = error.kind.value
        since = self.failure.since if in_a_row > 1 and job == self.failure.job else now
        failures = {**self.counts.failures, kind: self.counts.failures.get(kind, 0) + 1}
        return replace(
            self,
            failure=Failure(job, kind, str(error), now, since, in_a_row),
            counts=replace(self.counts, failures=failures),
        )

    def recovered(self, job: str) -> ClientStatus:
        """A job has succeeded."""
        if job != self.failure.job or not self.failure.in_a_row:
            return self
        return replace(self, failure=replace(self.failure, in_a_row=0))

    def asks_with(self, installed: str) -> ClientStatus:
        """An update poll is sent with the name of this installed Artifact."""
        return replace(self, installed=installed)

    def heeded(self) -> ClientStatus:
        """A poll or inventory that was requested is done, or has failed."""
        return replace(self, counts=replace(self.counts, requests=self.counts.requests + 1))

    def answered(self, now: str) -> ClientStatus:
        """The server has answered an update poll."""
        return replace(self, polled=now, counts=replace(self.counts, polls=self.counts.polls + 1))

    def fetched(self, received: int, kept: int, reused: int = 0) -> ClientStatus:
        """Bytes of an Artifact were received, were on disk from an earlier attempt, or were reused from the device."""
        counts = self.counts
        new = replace(
            counts,
            bytes_fetched=counts.bytes_fetched + received,
            bytes_resumed=counts.bytes_resumed + kept,
            bytes_reused=counts.bytes_reused + reused,
        )
        return replace(self, counts=new)

    def remembering(self, record: Record) -> ClientStatus:
        """The status with what the record contains about deployments."""
        counts = replace(self.counts, deployments=dict(record.totals))
        hold = None if record.decisions is None else record.decisions.hold
        return replace(
            self,
            unreported=len(record.outbox),
            counts=counts,
            at_gate=_at_gate(record),
            held="" if hold is None else hold.text,
        )


_NOWHERE = AtGate()


def _at_gate(record: Record) -> AtGate:
    waiting = None if record.update is None else record.update.waiting
    if waiting is None:
        return _NOWHERE
    return AtGate(waiting.point.value, waiting.reason, waiting.since, waiting.until, waiting.needs_approval)


def headline(client_status: ClientStatus) -> str:
    """What the client is doing and why, in one line."""
    what = client_status.doing
    if what == WAITING:
        return _why_it_waits(client_status)
    state = next((one for one in State if one.value == what and one not in ENDS), None)
    if state is None:
        return "stopped" if what == STOPPED else "starting"
    name = client_status.artifact_name or "an update"
    which = f"{name} (deployment {client_status.deployment_id or 'unknown'})"
    download = client_status.download
    if state is State.DOWNLOADING and download.total and not client_status.at_gate.point:
        return f"downloading {which}: {100 * download.done // download.total} %"
    if client_status.at_gate.point:
        return f"{which}: waiting {AHEAD[GatePoint(client_status.at_gate.point)]}: {client_status.at_gate.reason}"
    return f"{which}: {EXPLANATIONS[state]}"


def _why_it_waits(client_status: ClientStatus) -> str:
    if client_status.failure.in_a_row:
        failure = client_status.failure
        times = "once" if failure.in_a_row == 1 else f"{failure.in_a_row} times in a row"
        return f"waiting to try again; {failure.job} failed {times}: {failure.text}"
    if client_status.authorisation is Authorisation.WAITING:
        return f"pending acceptance on {client_status.server_url}"
    return "waiting for the next poll"


def decode_client_status(document: object) -> ClientStatus:
    """Decode a status from JSON; fields that are missing or of the wrong type are as in a new one."""
    status = filled(ClientStatus(), document)
    return replace(status, doing=_FORMER_WORDS[status.doing]) if status.doing in _FORMER_WORDS else status


def filled(default: _Value, document: object) -> _Value:
    """A dataclass with those fields of a JSON object that are of the right type; the others are as in ``default``."""
    if not isinstance(document, dict):
        return default
    found = {one.name: _like(getattr(default, one.name), document.get(one.name)) for one in fields(default)}  # type: ignore[arg-type]  # a dataclass
    return type(default)(**found)


def _like(default: Any, value: object) -> Any:
    """The value if it is of the default's type, else the default."""
    if type(default) is str:  # most are
        return value if type(value) is str else default
    if is_dataclass(default):
        found = filled(default, value)
        return default if found == default else found  # shared by the devices of a gateway
    if isinstance(default, Enum):
        return next((one for one in type(default) if one.value == value), default)
    if isinstance(default, Mapping):
        pairs = value.items() if isinstance(value, dict) else ()
        return {str(key): number for key, number in pairs if type(number) is int and number >= 0}
    if type(value) is not type(default) or (isinstance(value, int) and value < 0):
        return default
    return value
