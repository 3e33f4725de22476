"""Checks whether ``mender-connect.conf`` can work here, for ``connect``, ``config check`` and ``doctor``."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

from mender_client.errors import Diagnostic
from mender_client.system.trust import Trust

from .config.connect_keys import ConnectConfig
from .paths import Paths

_SHELLS = Path("/etc/shells")


def file_problems(paths: Paths) -> list[Diagnostic]:
    """The files that another user could have written: they determine who gets a shell."""
    trust = Trust.below(paths.root)
    return [
        Diagnostic("CON04", f"{file}: another user could have written it: {problem.text}", problem.remedy)
        for file in (paths.connect_config, paths.fallback_connect_config)
        if (problem := trust.permission_problem(file))
    ]


def missing_package() -> Diagnostic | None:
    """The package that ``connect`` needs and that isn't installed; None when nothing is missing."""
    from importlib.util import find_spec

    return None if find_spec("wsproto") else package_problem("wsproto")


def package_problem(name: str) -> Diagnostic:
    """The message that a package isn't installed."""
    text = f"connect needs the Python package {name}, which is not installed"
    remedy = "install it: 'pip install mender-python-client[connect]', or Debian's python3-wsproto"
    return Diagnostic("CON03", text, remedy)


def shell_problems(config: ConnectConfig) -> list[Diagnostic]:
    """Why no terminal can be opened with these settings; empty if terminals are disabled."""
    if not config.has_terminals:
        return []
    shell, problems = config.shell_command, list[Diagnostic]()
    if not os.path.isabs(shell) or not os.path.isfile(shell) or not os.access(shell, os.X_OK):
        text = f"ShellCommand: there is no executable file {shell!r:.200}"
        remedy = "specify the absolute path of an executable file, such as /bin/sh"
        problems.append(Diagnostic("CON05", text, remedy))
    elif not _is_listed(shell):
        problems.append(Diagnostic("CON06", f"ShellCommand: {shell} is not listed in {_SHELLS}", "add it there"))
    if not _exists(config.user, pwd.getpwnam):
        text = f"User: there is no user {config.user!r:.80}"
        problems.append(Diagnostic("CON07", text, "specify a user of this device"))
    return problems


def setting_warnings(config: ConnectConfig) -> Iterator[Diagnostic]:
    """Limits of file transfers that can't take effect on this device."""
    if not config.has_limits:
        return
    names = [
        ("OwnerPut", [config.owner_put], pwd.getpwnam, "user"),
        ("GroupPut", [config.group_put], grp.getgrnam, "group"),
        ("OwnerGet", config.owners_get, pwd.getpwnam, "user"),
        ("GroupGet", config.groups_get, grp.getgrnam, "group"),
    ]
    for key, listed, find, what in names:
        for name in listed:
            if name and not name.isdigit() and not _exists(name, find):
                text = f"Limits.FileTransfer.{key}: there is no {what} {name!r:.80}"
                yield Diagnostic("CON11", text, f"specify a {what} of this device")
    if config.chroot and not (os.path.isabs(config.chroot) and _is_directory(config.chroot)):
        text = f"Limits.FileTransfer.Chroot: there is no directory {config.chroot!r:.200}"
        yield Diagnostic("CON12", text, "create it, or specify the absolute path of another directory")


def _is_directory(pattern: str) -> bool:
    """Whether there is a directory with this name, or one that matches it as a pattern."""
    if os.path.isdir(pattern):
        return True
    from glob import iglob

    return any(map(os.path.isdir, iglob(pattern)))


def _exists(name: str, find: Callable[[str], object]) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


def _is_listed(shell: str) -> bool:
    """Whether a shell is listed in /etc/shells; true if that file can't be read."""
    try:
        lines = _SHELLS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return True
    return shell in (line.strip() for line in lines)
