"""Chooses what installs updates on this device: its sub-updater, or update modules (Installer)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.model import CONFIGURATION
from mender_client.dataclass import replace
from mender_client.errors import Diagnostic

from .config import Config
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.system.trust import Trust

AUTO, SUB_UPDATER, MODULES = "auto", "sub-updater", "modules"
_HEEDING_ROOT = frozenset({"mender-configure", "rootfs-image"})
"""The update modules that come with the client and heed MENDER_ROOT."""


def chooses_sub_updater(config: Config, paths: Paths) -> bool:
    """Whether the sub-updater installs updates, rather than update modules.

    One that can't be executed does, too: updates fail until that is corrected, and are not installed in another way.
    """
    if config.installer == AUTO:
        return os.path.lexists(paths.sub_updater)
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
        remedy = "install update modules there, with mode 755" + _or_with_setup(paths, "--install-modules", "some")
        return {Diagnostic("FIL19", text, remedy): _NO_UPDATE}
    if not modules or chooses_sub_updater(config, paths):
        problem = sub_updater_problem(config, paths, trust)
        found = {} if problem is None else {problem: _NO_UPDATE}
        return found | _module_problems([CONFIGURATION] * has_configuration_module(config, paths), paths, trust)
    used = [name for name in modules if not config.payload_types or name in config.payload_types]
    if not used:
        text = f"PayloadTypes names none of the update modules ({', '.join(modules)})"
        return {Diagnostic("FIL24", text, "add the names of update modules, or remove the key"): _NO_UPDATE}
    problems = _module_problems(used, paths, trust)
    is_any_usable = any(trust.program_problem(paths.modules_directory / name) is None for name in used)
    return problems if is_any_usable else dict.fromkeys(problems, _NO_UPDATE)


def has_configuration_module(config: Config, paths: Paths) -> bool:
    """Whether there is an update module that applies configurations, even beside a sub-updater."""
    return CONFIGURATION not in config.payload_types and CONFIGURATION in module_names(paths)


def _module_problems(names: Iterable[str], paths: Paths, trust: Trust) -> dict[Diagnostic, str]:
    found = ((name, trust.program_problem(paths.modules_directory / name)) for name in names)
    return {problem: f"no payload of type {name} can be installed" for name, problem in found if problem is not None}


def sub_updater_problem(config: Config, paths: Paths, trust: Trust) -> Diagnostic | None:
    """Why the sub-updater can't or must not be run; None when it may."""
    remedy = "install a sub-updater there, with mode 755" + _or_with_setup(paths, "--install-sub-updater", "one")
    if config.installer != AUTO:
        return trust.program_problem(paths.sub_updater, remedy)
    remedy += f"; or install update modules in {paths.modules_directory}"
    problem = trust.program_problem(paths.sub_updater, remedy + _or_with_setup(paths, "--install-modules", "some"))
    is_program = os.path.isfile(paths.sub_updater) and os.access(paths.sub_updater, os.X_OK)
    if problem is None or is_program or not os.path.lexists(paths.sub_updater):
        return problem
    return replace(problem, remedy=f"{problem.remedy}, or remove it if update modules install the updates")


def _or_with_setup(paths: Paths, option: str, what: str) -> str:
    """The command that installs what comes with the client; for devices of a gateway there is none."""
    return "" if paths.is_of_gateway else f" ('mender-python-client setup {option}' installs {what})"


def module_problem(module: Path, paths: Paths, trust: Trust) -> Diagnostic | None:
    """Why an update module can't or must not be run; None when it may."""
    if not os.path.lexists(module):
        with_setup = _or_with_setup(paths, "--install-modules", "those that come with the client")
        remedy = f"install it with mode 755{with_setup}, or a sub-updater as {paths.sub_updater}"
        return Diagnostic("FIL20", f"{module} is missing", remedy)
    return trust.program_problem(module)


def root_warning(paths: Paths) -> Diagnostic | None:
    """Why updates of a device in a directory may change this machine; None on a device, and if no module is known to.

    The sub-updater is written for this client, and its contract is to heed MENDER_ROOT.
    """
    if paths.root == Path("/") or paths.is_of_gateway or _HEEDING_ROOT.issuperset(module_names(paths)):
        return None
    text = f"update modules and state scripts are not confined to {paths.root}: they may change this machine"
    remedy = "try them in a container or a virtual machine, unless they heed MENDER_ROOT"
    return Diagnostic("FIL23", text, remedy)


def module_names(paths: Paths) -> list[str]:
    """The names of the installed update modules, which are the payload types that they install."""
    try:
        entries = sorted(os.listdir(paths.modules_directory))
    except OSError:
        return []
    found = [(name, paths.modules_directory / name) for name in entries]
    return [name for name, path in found if os.path.isfile(path) and os.access(path, os.X_OK)]
