"""The names of state scripts (protocol: state scripts): ``ArtifactInstall_Enter_10_check``."""

from __future__ import annotations

import re

RETRY_LATER = 21
"""The exit code of a script that asks to be run again later."""

VERSIONS = ("2", "3")
"""The versions of the contract that a directory of scripts may be written for."""

_NAME = re.compile(
    r"(Idle|Sync|Download|ArtifactInstall|ArtifactReboot|ArtifactCommit|ArtifactRollback|ArtifactRollbackReboot"
    r"|ArtifactFailure)_(Enter|Leave|Error)_[0-9]{2}(_\S+)?"
)


def place_of(name: str) -> tuple[str, str] | None:
    """The state and the action that a script is for, by its file name; None if it isn't the name of a script."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match[1], match[2])
