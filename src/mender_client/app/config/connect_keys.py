"""``mender-connect.conf``: its keys, which are those of Mender's add-on, and their meaning for ``connect``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, fields
from mender_client.errors import ConfigError, Diagnostic

from .keys import KeySet, key
from .kinds import BYTES, FLAG, SECONDS_OR_NONE, TEXT, TEXTS, Kind, whole
from .reader import ConfigFindings, Reader

if TYPE_CHECKING:
    from typing import Any

_CELLS = whole(1, 65535)
_FILES = "Limits.FileTransfer"


def _octal(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-7]{0,4}", value):
        raise ValueError('must be a string of octal digits such as "027"')
    return value


OCTAL = Kind(_octal, "octal digits", lambda: {"type": "string", "pattern": "^[0-7]{0,4}$"})


@dataclass(frozen=True)
class ConnectConfig:
    """The settings of ``mender-connect.conf``, each of them checked."""

    user: str = key("User", TEXT, "The user that shells run as; required for terminals.", example="root")
    shell_command: str = key("ShellCommand", TEXT, "The shell; it must be listed in /etc/shells.", "/bin/sh", "path")
    shell_arguments: tuple[str, ...] = key(
        "ShellArguments", TEXTS, "The arguments of the shell; --login makes any shell a login shell.", ("--login",)
    )
    remote_terminal: bool = key(
        "RemoteTerminal", FLAG, "False disables terminals, as in the archived Python client.", True
    )
    terminal_disable: bool = key("Terminal.Disable", FLAG, "Disable terminals.", False)
    terminal_width: int = key(
        "Terminal.Width", _CELLS, "The width of a terminal, unless the user sets it.", 80, "characters"
    )
    terminal_height: int = key(
        "Terminal.Height", _CELLS, "The height of a terminal, unless the user sets it.", 40, "lines"
    )
    file_transfer_disable: bool = key("FileTransfer.Disable", FLAG, "Disable file transfers.", False)
    port_forward_disable: bool = key("PortForward.Disable", FLAG, "Disable port forwarding.", False)
    mender_client_disable: bool = key(
        "MenderClient.Disable", FLAG, "Ignore check-update and send-inventory requests from the server.", False
    )
    stop_expired: bool = key("Sessions.StopExpired", FLAG, "False ignores both of the following time limits.", True)
    expire_after_seconds: int = key(
        "Sessions.ExpireAfter", SECONDS_OR_NONE, "How long a terminal may stay open; 0 for no limit.", 0, "seconds"
    )
    expire_after_idle_seconds: int = key(
        "Sessions.ExpireAfterIdle",
        SECONDS_OR_NONE,
        "How long a terminal may go without input; cannot be combined with ExpireAfter. 0 means 600 if ExpireAfter is "
        "0, too.",
        0,
        "seconds",
    )
    most_per_user: int = key(
        "Sessions.MaxPerUser", whole(0, 1000), "How many terminals a user of the server may have; 0 means 1.", 0
    )
    has_limits: bool = key("Limits.Enabled", FLAG, "Whether the limits of Limits.FileTransfer apply.", False)
    chroot: str = key(
        f"{_FILES}.Chroot",
        TEXT,
        "Files are only read and written below this directory; *, ? and [abc] match several directories.",
        form="directory",
        example="/data",
    )
    is_link_followed: bool = key(
        f"{_FILES}.FollowSymLinks", FLAG, "Whether a path may lead through a symbolic link.", False
    )
    is_overwritten: bool = key(f"{_FILES}.AllowOverwrite", FLAG, "Whether an upload may replace a file.", False)
    owner_put: str = key(
        f"{_FILES}.OwnerPut",
        TEXT,
        "The owner of uploads; only files of this user are replaced.",
        form="user",
        example="root",
    )
    group_put: str = key(
        f"{_FILES}.GroupPut",
        TEXT,
        "The group of uploads; only files of this group are replaced.",
        form="group",
        example="root",
    )
    owners_get: tuple[str, ...] = key(
        f"{_FILES}.OwnerGet", TEXTS, "Only files of these users are read.", (), example=["root"]
    )
    groups_get: tuple[str, ...] = key(
        f"{_FILES}.GroupGet", TEXTS, "Only files of these groups are read.", (), example=["root"]
    )
    umask: str = key(f"{_FILES}.Umask", OCTAL, "Uploads get the mode 0777 without these bits.", example="027")
    most_bytes: int = key(f"{_FILES}.MaxFileSize", BYTES, "Larger files are refused; 0 for no limit.", 0, "bytes")
    sent_per_minute: int = key(
        f"{_FILES}.Counters.MaxBytesTxPerMinute",
        BYTES,
        "After this many bytes sent in a minute, no further transfer begins; 0 for no limit.",
        0,
        "bytes",
    )
    received_per_minute: int = key(
        f"{_FILES}.Counters.MaxBytesRxPerMinute", BYTES, "The same for bytes received.", 0, "bytes"
    )

    @property
    def has_terminals(self) -> bool:
        """Whether terminals are enabled."""
        return self.remote_terminal and not self.terminal_disable


CONNECT_KEYS = KeySet(
    tuple(field.metadata["key"] for field in fields(ConnectConfig)),
    (
        "ReconnectIntervalSeconds",
        "ServerURL",
        "Servers",
        "ServerCertificate",
        "SkipVerify",
        "ClientProtocol",
        "HttpsClient",
        "SkipVerifyTLS",
        f"{_FILES}.AllowSuid",
        f"{_FILES}.RegularFilesOnly",
        f"{_FILES}.PreserveMode",
        f"{_FILES}.PreserveOwner",
        f"{_FILES}.PreserveGroup",
    ),
)
"""The keys; those in the second tuple have no effect: retry intervals grow automatically, servers and TLS settings
come from mender.conf, only regular files are read, uploads never get the setuid or setgid bit, and modes and owners are
preserved."""

_ATTRIBUTES = {field.metadata["key"].name: field.name for field in fields(ConnectConfig)}


def examine_connect(main: Path, fallback: Path) -> ConfigFindings:
    """Read, merge and check the two files ``mender-connect.conf``, as ``examine`` does for ``mender.conf``."""
    reader = Reader(CONNECT_KEYS)
    reader.read(main)
    if fallback != main:
        reader.read(fallback)
    limits = [name for name in reader.values if name.startswith(_FILES)]
    if limits and "Limits.Enabled" not in reader.values:
        text = f"{reader.origins[limits[0]]}: {limits[0]}: has no effect, because Limits.Enabled is not true"
        reader.warnings.append(Diagnostic("CON13", text, "set Limits.Enabled to true, or remove the limits"))
    is_terminal_off = reader.values.get("Terminal.Disable") or reader.values.get("RemoteTerminal") is False
    has_user = reader.values.get("User") or "User" in reader.refused
    if not reader.has_found or reader.is_incomplete or is_terminal_off or has_user:
        return reader.findings()
    text = f"{main}: User: is missing, and terminals need it"
    remedy = "set the user that shells run as, or set Terminal.Disable to true"
    reader.problems.append(Diagnostic("CON01", text, remedy))
    return reader.findings()


def load_connect(main: Path, fallback: Path) -> tuple[ConnectConfig, tuple[Diagnostic, ...]]:
    """Load the settings, and the warnings about them.

    Raises:
        ConfigError: the files have errors, all of which are reported at once; or neither of them exists, so ``connect``
            is not enabled on this device.
    """
    if not main.exists() and not fallback.exists():
        text = f"connect is not enabled on this device: there is no {main}"
        remedy = f'to allow terminals, file transfers and port forwarding, write {{"User": "root"}} to {main}'
        raise ConfigError([Diagnostic("CON02", text, remedy)])
    findings = examine_connect(main, fallback)
    if findings.problems:
        raise ConfigError(findings.problems)
    return build_connect(findings.values), findings.warnings


def build_connect(values: Mapping[str, Any]) -> ConnectConfig:
    """Build the settings from checked values, by the names of ``CONNECT_KEYS``; a missing one has its default."""
    return ConnectConfig(**{_ATTRIBUTES[name]: value for name, value in values.items()})
