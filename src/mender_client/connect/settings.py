"""What ``mender-connect.conf`` allows on this device."""

from __future__ import annotations

from collections.abc import Sequence

from mender_client.dataclass import dataclass

from .protocol.terminal import TerminalLimits


@dataclass(frozen=True)
class FileLimits:
    """What users may do with files; the defaults are those of a device without limits.

    Attributes:
        chroot: only what is below it, a directory or a pattern for directories; empty for everywhere.
        is_link_followed: whether a path may lead through a link.
        is_overwritten: whether an upload may replace a file.
        owner_put, group_put: whom an upload belongs to, and whose files alone it may replace; empty for any.
        owners_get, groups_get: whose files may be read; empty for any.
        umask: decides about the mode of uploads alone, if it is given.
        most_bytes: of a file; 0 for no limit.
    """

    chroot: str = ""
    is_link_followed: bool = True
    is_overwritten: bool = True
    owner_put: str = ""
    group_put: str = ""
    owners_get: Sequence[str] = ()
    groups_get: Sequence[str] = ()
    umask: int | None = None
    most_bytes: int = 0


@dataclass(frozen=True)
class ConnectSettings:
    """The settings.

    Attributes:
        user: whom shells belong to.
        shell_command, shell_arguments: what a shell is.
        terminals: bounds terminals, or disables them.
        disabled: the other protocols that are off.
        files: what users may do with files.
        sent_per_minute, received_per_minute: bytes of files; 0 for no limit.
    """

    user: str
    shell_command: str = "/bin/sh"
    shell_arguments: Sequence[str] = ("--login",)
    terminals: TerminalLimits = TerminalLimits()
    disabled: frozenset[int] = frozenset()
    files: FileLimits = FileLimits()
    sent_per_minute: int = 0
    received_per_minute: int = 0
