"""The standard output of a standalone command, and its exit code (installer contract, section 6.1)."""

from __future__ import annotations

from collections.abc import Iterator, Set

from mender_client.app.exitcodes import ExitCode
from mender_client.core.standalone import Fact

BEGUN = "Installing artifact..."
"""Printed once the header has been read."""

_AUTOMATIC = (
    (Fact.EMPTY, "Artifact with empty payload. Committing immediately."),
    (Fact.AUTOMATIC, "Update Module doesn't support rollback. Committing immediately."),
)
_DONE = (
    ({Fact.STREAMING_FAILED}, "Streaming failed."),
    ({Fact.INSTALLING_FAILED}, "Installation failed."),
    ({Fact.COMMITTING_FAILED}, "Committing failed."),
    ({Fact.INSTALLED, Fact.COMMITTED}, "Installed and committed."),
    ({Fact.COMMITTED}, "Committed."),
    (
        {Fact.INSTALLED},
        "Installed, but not committed.\nUse 'commit' to update, or 'rollback' to roll back the update.",
    ),
    ({Fact.STREAMED}, "Streamed to storage, but not installed/enabled."),
    ({Fact.NOTHING}, "No update in progress."),
    ({Fact.CLEANED}, "Cleaned up."),
)
_SYSTEM = (
    (Fact.ROLLBACK_FAILED, "Rollback failed. System may be in an inconsistent state."),
    (Fact.NO_ROLLBACK, "Update Module does not support rollback. System may be in an inconsistent state."),
    (Fact.NOT_MODIFIED, "System not modified."),
    (Fact.ROLLED_BACK, "Rolled back."),
)
_REMARKS = (
    (Fact.POST_COMMIT_FAILED, "One or more post-commit steps failed."),
    (Fact.CLEANUP_FAILED, "Cleanup failed."),
    (Fact.REBOOT, "At least one payload requested a reboot of the device it updated."),
)


def lines(facts: Set[Fact]) -> Iterator[str]:
    """The lines to print, in order; remarks are on the same line as the state of the system."""
    yield from [text for fact, text in _AUTOMATIC if fact in facts][:1]
    yield from [text for wanted, text in _DONE if wanted <= facts][:1]
    last = [text for fact, text in _SYSTEM if fact in facts][:1] + [text for fact, text in _REMARKS if fact in facts]
    if last:
        yield " ".join(last)


def exit_code(facts: Set[Fact], *, is_reboot_told: bool) -> ExitCode:
    """The exit code.

    Args:
        facts: what has happened.
        is_reboot_told: whether a required reboot has its own exit code.
    """
    if Fact.FAILED in facts:
        return ExitCode.FAILED
    if Fact.NOTHING in facts:
        return ExitCode.NOTHING
    return ExitCode.REBOOT if is_reboot_told and Fact.REBOOT in facts else ExitCode.DONE
