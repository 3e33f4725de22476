"""Chooses what installs updates on this device: its sub-updater, or update modules (Installer)."""

from __future__ import annotations

import os
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.errors import Diagnostic

from .config import Config
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.system.trust import Trust

AUTO, SUB_UPDATER, MODULES = "auto", "sub-updater", "modules"


def chooses_sub_updater(config: Config, paths: Paths) -> bool:
    """Whether the sub-updater installs updates, rather than update modules."""
    if config.installer == AUTO:
        return os.path.isfile(paths.sub_updater) and os.access(paths.sub_updater, os.X_OK)
    return config.installer == SUB_UPDATER


def installer_reason(config: Config, paths: Paths) -> str:
    """What installs updates, and why, for people."""
    if config.installer != AUTO:
        return f"{_NAMES[config.installer]}, as Installer says"
    if chooses_sub_updater(config, paths):
        return f"the sub-updater, because {paths.sub_updater} exists"
    return f"update modules ({', '.join(module_names(paths)) or 'none'}), because there is no {paths.sub_updater}"


_NAMES = {SUB_UPDATER: "the sub-updater", MODULES: "update modules"}


def installer_problem(config: Config, paths: Paths, trust: Trust) -> Diagnostic | None:
    """Why no update can be installed; None when one can."""
    modules = [] if chooses_sub_updater(config, paths) else module_names(paths)
    if modules:
        problems = [trust.program_problem(paths.modules_directory / name) for name in modules]
        return problems[0] if all(problems) else None
    if config.installer == MODULES:
        text = f"{paths.modules_directory} contains no update module"
        return Diagnostic("FIL19", text, "install update modules there, with mode 755")
    return trust.program_problem(paths.sub_updater)


def module_problem(module: Path, paths: Paths, trust: Trust) -> Diagnostic | None:
    """Why an update module can't or must not be run; None when it may."""
    if not os.path.lexists(module):
        remedy = f"install it with mode 755, or a sub-updater as {paths.sub_updater}"
        return Diagnostic("FIL20", f"{module} is missing", remedy)
    return trust.program_problem(module)


def module_names(paths: Paths) -> list[str]:
    """The names of the installed update modules, which are the payload types that they install."""
    try:
        entries = sorted(os.listdir(paths.modules_directory))
    except OSError:
        return []
    found = [(name, paths.modules_directory / name) for name in entries]
    return [name for name, path in found if os.path.isfile(path) and os.access(path, os.X_OK)]
