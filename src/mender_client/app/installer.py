"""Chooses what installs updates on this device: its sub-updater, or update modules (Installer)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.model import CONFIGURATION
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


_NO_UPDATE = "no update can be installed"


def installer_problems(config: Config, paths: Paths, trust: Trust) -> Mapping[Diagnostic, str]:
    """Why updates can't be installed, each with its consequence; empty if all can."""
    modules = module_names(paths)
    if config.installer == MODULES and not modules:
        text = f"{paths.modules_directory} contains no update module"
        return {Diagnostic("FIL19", text, "install update modules there, with mode 755"): _NO_UPDATE}
    if not modules or chooses_sub_updater(config, paths):
        problem = trust.program_problem(paths.sub_updater)
        found = {} if problem is None else {problem: _NO_UPDATE}
        return found | _module_problems([CONFIGURATION] * has_configuration_module(config, paths), paths, trust)
    used = [name for name in modules if not config.payload_types or name in config.payload_types]
    if not used:
        text = f"PayloadTypes names none of the update modules ({', '.join(modules)})"
        return {Diagnostic("FIL21", text, "add the names of update modules, or remove the key"): _NO_UPDATE}
    problems = _module_problems(used, paths, trust)
    is_any_usable = any(trust.program_problem(paths.modules_directory / name) is None for name in used)
    return problems if is_any_usable else dict.fromkeys(problems, _NO_UPDATE)


def has_configuration_module(config: Config, paths: Paths) -> bool:
    """Whether there is an update module that applies configurations, even beside a sub-updater."""
    return CONFIGURATION not in config.payload_types and CONFIGURATION in module_names(paths)


def _module_problems(names: Iterable[str], paths: Paths, trust: Trust) -> dict[Diagnostic, str]:
    found = ((name, trust.program_problem(paths.modules_directory / name)) for name in names)
    return {problem: f"no payload of type {name} can be installed" for name, problem in found if problem is not None}


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
