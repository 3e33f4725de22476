"""The check of remote access: what ``mender-connect.conf`` allows, and the program that provides it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from mender_client.app.config.connect_keys import build_connect, examine_connect
from mender_client.app.connect_checks import file_problems, missing_package, setting_warnings, shell_problems
from mender_client.dataclass import replace
from mender_client.system.locks import DaemonLock

from .context import DiagnosticContext
from .results import CheckResult, Verdict, fault, ok, reported, skipped, warning

_STOCK = b"mender-connect"
_START = "start it: 'systemctl start mender-connect-python', or 'mender-python-client connect'"


def remote_access(context: DiagnosticContext) -> Iterator[CheckResult]:
    """If ``mender-connect.conf`` allows it, users can reach the device, over a single connection."""
    paths = context.paths
    if not paths.connect_config.exists() and not paths.fallback_connect_config.exists():
        yield skipped(f"off: there is no {paths.connect_config}")
        return
    pid, others = DaemonLock(paths.connect_lock, is_command=True).holder(), _other_programs(context)
    if others and pid is None:
        yield ok(f"mender-connect offers it (pid {others[0]})")
        return
    faults = list(_faults(context))
    yield from faults
    if others:
        found = f"mender-connect (pid {others[0]}) runs beside connect (pid {pid}): each closes the other's connection"
        yield fault(found, "stop one of the two")
    elif pid is None:
        yield warning("connect is not running", _START)
    elif all(one.verdict is not Verdict.FAULT for one in faults):
        yield ok(f"connect is running (pid {pid})")


def _faults(context: DiagnosticContext) -> Iterator[CheckResult]:
    """Faults of the settings, and missing packages."""
    paths = context.paths
    findings = examine_connect(paths.connect_config, paths.fallback_connect_config)
    problems, warnings = [*file_problems(paths), *findings.problems], list(findings.warnings)
    if not findings.problems:
        config = build_connect(findings.values)
        config = replace(config, remote_terminal=config.remote_terminal and context.config.remote_terminal)
        problems += shell_problems(config)
        warnings += setting_warnings(config)
    if missing := missing_package():
        problems.append(missing)
    for verdict, found in ((Verdict.FAULT, problems), (Verdict.WARNING, warnings)):
        yield from (reported(verdict, one, f"correct it in {paths.connect_config}") for one in found)


def _other_programs(context: DiagnosticContext) -> list[int]:
    """The process ids of Mender's add-on on this device."""
    found = []
    for process in context.processes.iterdir():
        with suppress(OSError):
            if process.name.isdigit() and (process / "comm").read_bytes().strip() == _STOCK:
                found += [int(process.name)] * (os.readlink(process / "root") == str(context.paths.root))
    return sorted(found)
