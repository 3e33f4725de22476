"""What the settings in ``mender-connect.conf`` allow on this device."""

from __future__ import annotations

from collections.abc import Sequence

from mender_client.dataclass import dataclass

from .protocol.terminal import TerminalLimits


@dataclass(frozen=True)
class FileLimits:
    """What users may do with files; by default there are no limits.

    Attributes:
        chroot: a directory, or a pattern for directories, outside which no file can be accessed; empty for no limit.
        is_link_followed: whether a path may contain symbolic links.
        is_overwritten: whether an upload may replace a file.
        owner_put, group_put: the owner and group of uploads, and the only ones whose files they may replace; empty for
            any.
        owners_get, groups_get: the owners and groups whose files may be read; empty for any.
        umask: if given, it alone determines the mode of uploads.
        most_bytes: the maximum size of a file; 0 for no limit.
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
    """The settings of device connect.

    Attributes:
        user: the user that shells run as.
        shell_command, shell_arguments: the command of a shell.
        terminals: limits terminals, or disables them.
        disabled: the other protocols that are disabled.
        files: what users may do with files.
        sent_per_minute, received_per_minute: limits in bytes of file content; 0 for no limit.
    """

    user: str
    shell_command: str = "/bin/sh"
    shell_arguments: Sequence[str] = ("--login",)
    terminals: TerminalLimits = TerminalLimits()
    disabled: frozenset[int] = frozenset()
    files: FileLimits = FileLimits()
    sent_per_minute: int = 0
    received_per_minute: int = 0
