"""Runs the checks in their order, and prints what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from mender_client.app.exitcodes import ExitCode
from mender_client.core.text import printable

from . import device, files, network
from .context import DiagnosticContext
from .findings import Check, CheckResult, Finding, Verdict, fault

if TYPE_CHECKING:
    from mender_client.app.paths import Paths
    from mender_client.system.keys import Passphrase

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
    "journal": files.journal,
    "daemon": device.daemon,
    "service": device.service,
}
"""Every check by its name, in the order of the report."""

_LONGEST_TEXT = 2000


def run_doctor(paths: Paths, *, passphrase: Passphrase, is_json: bool = False) -> ExitCode:
    """Examine the device and print what was found.

    Args:
        paths: where everything lies.
        passphrase: opens the device key when it is locked.
        is_json: for programs.

    Returns:
        FAILED when there is a fault.
    """
    findings = _examine(paths, passphrase)
    if is_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        print("\n".join([*_lines(findings), _summary(findings)]))
    return ExitCode.FAILED if any(one.verdict is Verdict.FAULT for one in findings) else ExitCode.DONE


def give_verdict(paths: Paths, *, passphrase: Passphrase) -> None:
    """Examine the device and print in short how it stands: what needs somebody's attention, and what the server says.

    Args:
        paths: where everything lies.
        passphrase: opens the device key when it is locked.
    """
    print("doctor:", flush=True)  # a server that doesn't answer takes its time
    findings = _examine(paths, passphrase)
    said = [one for one in findings if one.verdict in _NOTEWORTHY or one.check == "authorisation"]
    print("\n".join([*_lines(said), f"{_summary(findings)}; 'mender-python-client doctor' tells all"]))


_NOTEWORTHY = (Verdict.WARNING, Verdict.FAULT)


def _examine(paths: Paths, passphrase: Passphrase) -> list[Finding]:
    """Run every check."""
    context = DiagnosticContext(paths, passphrase)
    try:
        return [
            Finding(name, verdict, printable(found, limit=_LONGEST_TEXT), printable(remedy, limit=_LONGEST_TEXT))
            for name, check in CHECKS.items()
            for verdict, found, remedy in _looks(check, context)
        ]
    finally:
        context.close()


def _looks(check: Check, context: DiagnosticContext) -> Iterator[CheckResult]:
    """What a check says; one that isn't allowed to look says that."""
    try:
        yield from check(context)
    except OSError as error:
        what = error.filename or "it"
        yield fault(
            f"cannot look at {what}: {error.strerror}", "run this as the user that the client runs as, or as root"
        )


def _lines(findings: list[Finding]) -> Iterator[str]:
    for one in findings:
        word = one.verdict.value if one.verdict is not Verdict.FAULT else "FAULT"
        yield f"{word:8} {one.check:15} {one.found}"
        if one.remedy:
            yield f"{'':24} -> {one.remedy}"


def _summary(findings: list[Finding]) -> str:
    faults = sum(one.verdict is Verdict.FAULT for one in findings)
    warnings = sum(one.verdict is Verdict.WARNING for one in findings)
    return f"{_count(faults, 'fault')}, {_count(warnings, 'warning')}"


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'s' * (number != 1)}"
