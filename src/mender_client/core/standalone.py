"""A standalone update: one that is installed with commands, without a server (installer contract, section 6).

It is not a deployment: no status is reported, nothing reboots the device, and it may wait for its ``commit`` for days.
Its position is written to disk before the named step begins, so a later command knows what a power cut interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from mender_client.dataclass import dataclass, replace

from .machine import Result
from .model import INCONSISTENT, Software


class Position(str, Enum):
    """The positions of a standalone update."""

    STREAMED = "streamed"
    ARTIFACT_INSTALL = "artifact-install"
    INSTALLED = "installed"
    ARTIFACT_COMMIT = "artifact-commit"
    COMMITTED = "committed"
    ARTIFACT_COMMIT_LEAVE = "artifact-commit-leave"
    ARTIFACT_ROLLBACK = "artifact-rollback"
    ARTIFACT_FAILURE = "artifact-failure"
    CLEANUP = "cleanup"


EXPLANATIONS: Mapping[Position, str] = {
    Position.STREAMED: "stored by the update module, but not installed; 'resume' installs it",
    Position.ARTIFACT_INSTALL: "interrupted during the installation; 'resume' rolls it back",
    Position.INSTALLED: "installed, but not committed; 'commit' makes it permanent, 'rollback' reverts it",
    Position.ARTIFACT_COMMIT: "interrupted during the commit; 'resume' rolls it back",
    Position.COMMITTED: "committed; 'resume' finishes it",
    Position.ARTIFACT_COMMIT_LEAVE: "committed, but its last scripts were interrupted; 'resume' finishes it",
    Position.ARTIFACT_ROLLBACK: "interrupted during the rollback; 'resume' rolls it back",
    Position.ARTIFACT_FAILURE: "failed or rolled back; 'resume' finishes it",
    Position.CLEANUP: "finished except for the cleanup; 'resume' does it",
}
"""What each position means, and which command continues from there."""

STOPS: Mapping[Position, str] = {
    Position.STREAMED: "ArtifactInstall_Enter",
    Position.INSTALLED: "ArtifactCommit_Enter",
    Position.COMMITTED: "ArtifactCommit_Leave",
    Position.ARTIFACT_ROLLBACK: "ArtifactRollback_Enter",
    Position.ARTIFACT_FAILURE: "ArtifactFailure_Enter",
    Position.CLEANUP: "Cleanup",
}
"""Where a command can be told to stop, by the state that comes next there."""

INTERRUPTED = frozenset({Position.ARTIFACT_INSTALL, Position.ARTIFACT_COMMIT})
"""Positions that only a power cut or a kill leaves behind, and from which the update can only be rolled back."""

REVERSIBLE = frozenset({Position.STREAMED, Position.INSTALLED, Position.COMMITTED, *INTERRUPTED})
"""Positions from which a rollback can begin."""


class Fact(Enum):
    """Something that happened during a command."""

    NOTHING = "no update is in progress"
    STREAMED = "the payload is where the update module put it"
    STREAMING_FAILED = "the Artifact can't be read or used, or the update module did not take it"
    EMPTY = "the payload is empty"
    INSTALLED = "the update module has installed it"
    INSTALLING_FAILED = "the update module could not install it"
    AUTOMATIC = "it is committed at once, because it can't be rolled back"
    COMMITTED = "the update module has committed it"
    COMMITTING_FAILED = "the update module could not commit it"
    CLEANED = "nothing was left but the cleanup, and that is done"
    NOT_MODIFIED = "nothing was changed"
    ROLLED_BACK = "what was there before is restored"
    ROLLBACK_FAILED = "what was there before could not be restored"
    NO_ROLLBACK = "the update module can't roll back"
    POST_COMMIT_FAILED = "something after the commit failed"
    CLEANUP_FAILED = "the cleanup failed"
    REBOOT = "the update module wants a reboot"
    FAILED = "the command has failed"


@dataclass(frozen=True)
class StandaloneUpdate:
    """The standalone update in progress: everything that a later command needs.

    Attributes:
        payload_type: the type of its payload.
        software: what it leaves on the device if it succeeds.
        position: its position.
        since: when the position was written, RFC 3339; for display.
        result: the result so far.
    """

    payload_type: str
    software: Software
    position: Position
    since: str
    result: Result = Result.CLEAN

    @property
    def artifact_name(self) -> str:
        """The name of its Artifact."""
        return self.software.artifact_name

    @property
    def text(self) -> str:
        """Why the client does not poll, and how to continue, for people."""
        which = f"no update poll: {self.artifact_name} is being installed in standalone mode"
        return f"{which}; it is {EXPLANATIONS[self.position]}"

    @property
    def is_rolled_back(self) -> bool:
        """Whether the previous software is restored."""
        return self.result is Result.FAILED and self.position in (Position.ARTIFACT_FAILURE, Position.CLEANUP)

    @property
    def installed(self) -> Software | None:
        """What it leaves on the device, given its result so far; None if that is the previous software."""
        if self.result is not Result.INCONSISTENT:
            return self.software if self.result is Result.CLEAN else None
        name = self.artifact_name
        return (
            self.software if name.endswith(INCONSISTENT) else replace(self.software, artifact_name=name + INCONSISTENT)
        )
