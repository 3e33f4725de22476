"""What ``mender-connect.conf`` allows on this device."""

from __future__ import annotations

from collections.abc import Sequence

from mender_client.dataclass import dataclass

from .files import FileLimits
from .protocol.terminal import TerminalLimits


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
