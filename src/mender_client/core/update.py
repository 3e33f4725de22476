"""The update in progress: its data, and the only function that changes its state, which also ends loops."""

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
    """The sub-updater's process, distinguishable from a later one with the same pid.

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
            boot_id: the current boot.
            uptime_seconds: the time since this boot, suspend included.
            ticks_per_second: the kernel's clock ticks.
        """
        if boot_id != self.boot_id or self.start_time <= 0:
            return 0.0
        return max(uptime_seconds - self.start_time / ticks_per_second, 0.0)


@dataclass(frozen=True)
class Update:
    """The update in progress: everything that is needed to continue it after a restart.

    Attributes:
        deployment_id: the deployment.
        artifact_name: the Artifact to be installed.
        state: its state.
        since: when that state was entered, RFC 3339; for display.
        provides: what the device reported when it was offered the deployment; it must report the same until the end.
        form: the form of the update poll in which it did so.
        flow: how it is installed.
        device_types: the device types that the Artifact is compatible with, according to the server.
        link: the download address of the Artifact; empty if version 1.0.0 began the update.
        remote_object: what the storage said about the whole object.
        seen_bytes: bytes on disk when the client last started; more than that is progress.
        writes: state changes without progress so far.
        tried: whether the status ``downloading`` has been reported since the client started.
        process: the sub-updater's process, once it runs.
        unknown: unknown fields that another version wrote, preserved for it.
        began: when it was first offered, RFC 3339; empty if an older version began it.
        fetched_bytes: bytes of the Artifact that were received over the network, as far as recorded.
        resumed_bytes: bytes that were on disk when the client last started, and were not downloaded again.
        reused_bytes: bytes that were not downloaded, because the device had their content.
        done_bytes: the furthest progress of an adaptive download.
        not_adaptive: why it is no longer downloaded adaptively; empty otherwise.
        payload_type: the type of the Artifact's payload, once it is downloaded.
        software: what is installed if the update succeeds, once the Artifact is downloaded.
        result: the result so far; unknown in the flow HANDOVER.
        reboot: the update module's last answer to NeedsArtifactReboot; empty before.
        reason: why it fails, as far as known in the flow MODULES; empty otherwise.
        waiting: the gate at which it waits; None if it does not wait.
        decisions: the operator's decisions about it; None if there are none.
        closed_since: for each gate that it has passed, since when that was closed; it may reach the gate again.
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
        """The deployment as the server offered it, with the artifact name of the device after the update."""
        name = self.artifact_name if self.software is None else self.software.artifact_name
        return Deployment(self.deployment_id, name, self.device_types, self.link, self.payload_type)

    @property
    def is_handed_over(self) -> bool:
        """Whether it is installed by the sub-updater or by the embedding program."""
        return self.flow is Flow.HANDOVER

    @property
    def is_held(self) -> bool:
        """Whether it waits at the gate of its state."""
        return self.waiting is not None and GATES.get(self.state) is self.waiting.point

    @property
    def is_only_verified_again(self) -> bool:
        """Whether its download is complete and reported, so that a restarted client only verifies what is on disk."""
        waiting = self.waiting
        return self.is_handed_over and waiting is not None and waiting.point is GatePoint.INSTALL and waiting.is_told

    def after(self, event: Event) -> Update:
        """The update with its result after an event in its state."""
        if self.is_handed_over:
            return self
        return replace(self, result=result_after(self.state, event, self.result))

    def entered(self, state: State, *, now: str) -> Update:
        """The update in another state: the only function that changes the state, and therefore the one that ends loops.

        Raises:
            LoopError: there were too many changes without progress.
        """
        if self.writes >= MAXIMUM_WRITES and state not in IRREVOCABLE[self.flow]:
            raise LoopError(f"the state has changed {self.writes} times without progress")
        return replace(self, state=state, since=now, writes=self.writes + 1)

    @property
    def installed(self) -> Software | None:
        """What the update leaves on the device, given its result so far; None if that is the previous software."""
        if self.software is None or self.result is Result.FAILED:
            return None
        is_clean = self.result is Result.CLEAN
        return self.software if is_clean else inconsistent(self.provides, self.software)

    def fetched(self, *, received: int, kept: int, reused: int = 0) -> Update:
        """The update with the numbers of bytes of its download since the client started.

        Args:
            received: bytes that were received over the network.
            kept: bytes that were on disk already.
            reused: bytes that did not have to be downloaded, because the device had their content.
        """
        if not received + kept + reused:
            return self
        fetched = self.fetched_bytes + received
        return replace(self, fetched_bytes=fetched, resumed_bytes=kept, reused_bytes=reused)
