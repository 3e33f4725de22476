"""The update under way: what is known of it, and the only way into another state, which also ends loops."""

from __future__ import annotations

from collections.abc import Mapping

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field, replace

from .gates import GatePoint
from .holding import Decisions, Waiting
from .machine import GATES, IRREVOCABLE, Event, Flow, Result, State, result_after
from .model import Deployment, Link, NextForm, Provides, Software, inconsistent
from .resume import RemoteObject

if TYPE_CHECKING:
    from typing import Any

MAXIMUM_WRITES = 28
"""A deployment whose state changed this often without progress fails; other Mender clients use the same number."""


class LoopError(Exception):
    """The update has changed its state too often without progress."""


@dataclass(frozen=True)
class ProcessRef:
    """The sub-updater's process, told apart from a later one with the same pid.

    Attributes:
        pid: its process ID.
        boot_id: the boot in which it was started.
        start_time: when it was started, in clock ticks since that boot.
    """

    pid: int
    boot_id: str
    start_time: int

    def age_seconds(self, boot_id: str, uptime_seconds: float, ticks_per_second: float) -> float:
        """How long ago the process was started; 0 when that was in another boot or is unknown.

        Args:
            boot_id: this boot.
            uptime_seconds: the time since this boot, suspend included.
            ticks_per_second: the kernel's clock ticks.
        """
        if boot_id != self.boot_id or self.start_time <= 0:
            return 0.0
        return max(uptime_seconds - self.start_time / ticks_per_second, 0.0)


@dataclass(frozen=True)
class Update:
    """The update under way: everything that is needed to continue it after a restart.

    Attributes:
        deployment_id: the deployment.
        artifact_name: the Artifact that it brings.
        state: where it stands.
        since: when that state was entered, RFC 3339; for people.
        provides: what the device said when it was offered the deployment; it must say the same until the end.
        form: how it said it.
        flow: how it is installed.
        device_types: the device types that the Artifact is for, as the server knows them.
        link: where the Artifact is; without an address when version 1.0.0 began the update.
        remote_object: what the storage said about the whole object.
        seen_bytes: how much was on disk when the client last started; more than that is progress.
        writes: state changes without progress so far.
        tried: the status ``downloading`` was reported since the client started.
        process: the sub-updater's process, once it runs.
        unknown: fields of another version, kept for it.
        began: when it was first offered, RFC 3339; empty when an older version began it.
        fetched_bytes: how much of the Artifact has come over the network, as far as is noted.
        resumed_bytes: how much of it was on disk when the client last started, and did not come again.
        reused_bytes: how much of it did not come, since its content was on the device.
        done_bytes: how far an adaptive download was at its best.
        not_adaptive: why it is not downloaded adaptively any more; empty otherwise.
        payload_type: the type of the Artifact's payload, once it is downloaded.
        software: what will be installed when it succeeds, once it is downloaded.
        result: how it has gone so far; of the flow HANDOVER this is not known.
        reboot: what the update module answered last to NeedsArtifactReboot; empty before.
        reason: why it fails, as far as the flow MODULES knows; empty otherwise.
        waiting: at which gate it waits; None when it does not.
        decisions: what people have decided about it; None for nothing.
        closed_since: since when a gate was closed that it has passed, by gate; it may meet the gate again.
    """

    deployment_id: str
    artifact_name: str
    state: State
    since: str
    provides: Provides
    form: NextForm
    flow: Flow = Flow.HANDOVER
    device_types: tuple[str, ...] = ()
    link: Link = Link("")
    remote_object: RemoteObject = RemoteObject()
    seen_bytes: int = 0
    writes: int = 0
    tried: bool = False
    process: ProcessRef | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)
    began: str = ""
    fetched_bytes: int = 0
    resumed_bytes: int = 0
    reused_bytes: int = 0
    done_bytes: int = 0
    not_adaptive: str = ""
    payload_type: str = ""
    software: Software | None = None
    result: Result = Result.CLEAN
    reboot: str = ""
    reason: str = ""
    waiting: Waiting | None = None
    decisions: Decisions | None = None
    closed_since: Mapping[str, str] = field(default_factory=dict)

    @property
    def deployment(self) -> Deployment:
        """The deployment as the server offered it, with the name that the device has when it is done."""
        name = self.artifact_name if self.software is None else self.software.artifact_name
        return Deployment(self.deployment_id, name, self.device_types, self.link, self.payload_type)

    @property
    def is_handed_over(self) -> bool:
        """Whether somebody else installs it."""
        return self.flow is Flow.HANDOVER

    @property
    def is_held(self) -> bool:
        """Whether it waits at the gate of its state."""
        return self.waiting is not None and GATES.get(self.state) is self.waiting.point

    @property
    def is_only_verified_again(self) -> bool:
        """Whether its download is over and told, and a restarted client merely verifies what is on disk."""
        waiting = self.waiting
        return self.is_handed_over and waiting is not None and waiting.point is GatePoint.INSTALL and waiting.is_told

    def after(self, event: Event) -> Update:
        """The update that knows what an event in its state does to its result."""
        if self.is_handed_over:
            return self
        return replace(self, result=result_after(self.state, event, self.result))

    def entered(self, state: State, *, now: str) -> Update:
        """The update in another state: the one function that writes states, and so the one that ends loops.

        Raises:
            LoopError: there were too many changes without progress.
        """
        if self.writes >= MAXIMUM_WRITES and state not in IRREVOCABLE[self.flow]:
            raise LoopError(f"the state has changed {self.writes} times without progress")
        return replace(self, state=state, since=now, writes=self.writes + 1)

    @property
    def installed(self) -> Software | None:
        """What the update leaves on the device as it has gone so far; None when that is what was there before."""
        if self.software is None or self.result is Result.FAILED:
            return None
        is_clean = self.result is Result.CLEAN
        return self.software if is_clean else inconsistent(self.provides, self.software)

    def fetched(self, *, received: int, kept: int, reused: int = 0) -> Update:
        """The update that knows what its download has cost since the client started.

        Args:
            received: bytes that came over the network.
            kept: bytes that were on disk already.
            reused: bytes that did not have to come, since the device had their content.
        """
        if not received + kept + reused:
            return self
        fetched = self.fetched_bytes + received
        return replace(self, fetched_bytes=fetched, resumed_bytes=kept, reused_bytes=reused)
