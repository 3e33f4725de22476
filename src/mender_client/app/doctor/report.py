"""Runs the checks in order, and prints the results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from mender_client.app.command import completed
from mender_client.app.exitcodes import ExitCode
from mender_client.app.paths import Paths
from mender_client.core.text import printable
from mender_client.dataclass import asdict, replace
from mender_client.system.files import AS_CLIENT
from mender_client.system.keys import Passphrase

from . import device, files, network, remote
from .context import DiagnosticContext
from .results import Check, CheckResult, Verdict, fault

CHECKS: Mapping[str, Check] = {
    "configuration": files.configuration,
    "permissions": files.permissions,
    "data directory": files.data_directory,
    "device type": files.device_type,
    "artifact info": files.artifact_info,
    "identity": device.identity,
    "key": device.key,
    "clock": device.clock,
    "DNS": network.names,
    "connection": network.connection,
    "proxy": network.proxy,
    "TLS": network.certificate,
    "authorisation": network.authorisation,
    "install script": files.install_script,
    "partitions": files.partitions,
    "update": device.update,
    "state file": files.state_file,
    "daemon": device.daemon,
    "service": device.service,
    "remote access": remote.remote_access,
}
"""Every check by its name, in the order of the report."""

_OF_THE_MACHINE = ("partitions", "daemon", "service", "remote access")
"""The checks that don't apply to a device of a gateway."""

_LOCAL = (
    "configuration", "permissions", "data directory", "device type", "identity", "key", "install script", "update",
    "state file",
)  # fmt: skip
"""The checks of each device when all devices of a gateway are checked."""

_NOTEWORTHY = (Verdict.WARNING, Verdict.FAULT)
_LONGEST_TEXT = 2000

_Results = list[tuple[str, CheckResult]]
"""Results with the names of their checks."""


def run_doctor(paths: Paths, *, passphrase: Passphrase, is_json: bool, command: str) -> ExitCode:
    """Check the device and print the results.

    Args:
        paths: the device's files.
        passphrase: unlocks the device key.
        is_json: print JSON.
        command: the command that calls the program for this device.

    Returns:
        FAILED when there is a fault.
    """
    results = _run_checks(paths, passphrase, command)
    if is_json:
        print(json.dumps([{"check": name, **asdict(result)} for name, result in results], indent=1))
    else:
        print("\n".join([*_lines(results), _summary(results)]))
    return ExitCode.FAILED if any(result.verdict is Verdict.FAULT for _, result in results) else ExitCode.DONE


def print_summary(paths: Paths, *, passphrase: Passphrase, command: str) -> None:
    """Check the device and print what needs attention, and whether the server accepts the device.

    Arguments as for ``run_doctor``.
    """
    print("doctor:", flush=True)  # an unresponsive server delays the results
    results = _run_checks(paths, passphrase, command)
    shown = [(name, result) for name, result in results if result.verdict in _NOTEWORTHY or name == "authorisation"]
    print("\n".join([*_lines(shown), f"{_summary(results)}; run '{command} doctor' for the full report"]))


def find_faults(paths: Paths, *, passphrase: Passphrase, command: str) -> list[tuple[str, CheckResult]]:
    """The warnings and faults of a device, from checks that don't contact a server; arguments as for ``run_doctor``."""
    checked = {name: check for name, check in CHECKS.items() if name in _LOCAL}
    return [(name, one) for name, one in _run_checks(paths, passphrase, command, checked) if one.verdict in _NOTEWORTHY]


def _run_checks(paths: Paths, passphrase: Passphrase, command: str, checks: Mapping[str, Check] = CHECKS) -> _Results:
    context = DiagnosticContext(paths, passphrase)
    if paths.is_of_gateway:
        checks = {name: check for name, check in checks.items() if name not in _OF_THE_MACHINE}
    try:
        return [(name, _shown(result, command)) for name, check in checks.items() for result in _run(check, context)]
    finally:
        context.close()


def _shown(result: CheckResult, command: str) -> CheckResult:
    found, remedy = (printable(completed(text, command), limit=_LONGEST_TEXT) for text in (result.found, result.remedy))
    return replace(result, found=found, remedy=remedy)


def _run(check: Check, context: DiagnosticContext) -> Iterator[CheckResult]:
    """The results of a check; an OSError, for instance a missing permission, becomes a fault."""
    try:
        yield from check(context)
    except OSError as error:
        what = error.filename or "it"
        remedy = AS_CLIENT if isinstance(error, PermissionError) else "check its path"
        yield fault(f"cannot check {what}: {error.strerror}", remedy)


def _lines(results: _Results) -> Iterator[str]:
    for name, result in results:
        word = "FAULT" if result.verdict is Verdict.FAULT else result.verdict.value
        code = f" [{result.code}]" if result.code else ""
        yield f"{word:8} {name:15} {result.found}{code}"
        if result.remedy:
            yield f"{'':24} -> {result.remedy}"


def _summary(results: _Results) -> str:
    faults = sum(result.verdict is Verdict.FAULT for _, result in results)
    warnings = sum(result.verdict is Verdict.WARNING for _, result in results)
    return f"{_count(faults, 'fault')}, {_count(warnings, 'warning')}"


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'s' * (number != 1)}"
