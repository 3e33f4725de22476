"""``status``, ``history`` and ``doctor`` for all devices of a gateway: one line, or a few, for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.app.doctor.report import find_faults
from mender_client.app.exitcodes import ExitCode
from mender_client.app.formatting import ago, for_programs
from mender_client.app.history import as_document as outcome_document
from mender_client.app.history import render as render_outcome
from mender_client.app.paths import Paths
from mender_client.app.status import Status, as_document, look
from mender_client.core.text import printable
from mender_client.dataclass import asdict
from mender_client.errors import Diagnostic, StorageError
from mender_client.system.keys import Passphrase
from mender_client.system.locks import DaemonLock
from mender_client.system.snapshot import peek_record

from .entries import Found, read_entries
from .paths import DevicePaths

if TYPE_CHECKING:
    from typing import Any

_SCHEMA = 1
"""The version of the JSON documents; incremented when something is renamed, removed or changes its meaning."""

_LONGEST_LINE = 2000


def show_statuses(gateway: Paths, devices: Path, *, is_json: bool) -> ExitCode:
    """Print what each device is doing.

    Args:
        gateway: the gateway's own paths.
        devices: the directory with the descriptions of the devices.
        is_json: print JSON.

    Raises:
        ConfigError: the descriptions can't be read.
    """
    found = read_entries(devices, gateway.root)
    statuses = {paths.entry.name: _look(paths) for paths in _each(found, gateway, devices)}
    pid = DaemonLock(gateway.data / "gateway.lock").holder()
    if is_json:
        documents = {name: _document(one) for name, one in statuses.items()}
        faults = {name: str(fault) for name, fault in found.faults.items()}
        print(json.dumps({"schema": _SCHEMA, "gateway_pid": pid, "devices": documents, "faults": faults}, indent=1))
        return ExitCode.DONE
    print(f"the gateway is running (pid {pid})" if pid is not None else "the gateway is not running")
    now = datetime.now(timezone.utc)
    for name, one in statuses.items():
        _print(name, one if isinstance(one, str) else _line(one, now))
    for name, fault in found.faults.items():
        _print(name or str(devices), str(fault))
    return ExitCode.DONE


def _line(status: Status, now: datetime) -> str:
    client = status.client
    contact = f", last answer{ago(client.contact, now)}" if client is not None and client.contact else ", no answer yet"
    return f"{status.artifact_name or 'unknown'}: {status.activity}{contact}"


def _document(status: Status | str) -> Any:
    return {"problem": status} if isinstance(status, str) else as_document(status)


def _look(paths: DevicePaths) -> Status | str:
    """The status of a device, or the reason why it can't be read."""
    try:
        return look(paths)
    except StorageError as error:
        return str(error)


def show_histories(gateway: Paths, devices: Path, *, is_json: bool) -> ExitCode:
    """Print the last deployments of each device, oldest first; arguments as for ``show_statuses``.

    Raises:
        ConfigError: the descriptions can't be read.
    """
    found = read_entries(devices, gateway.root)
    records, problems = {}, {}
    for paths in _each(found, gateway, devices):
        try:
            records[paths.entry.name] = peek_record(paths.journal)[0]
        except StorageError as error:
            problems[paths.entry.name] = str(error)
    if is_json:
        document = {name: [outcome_document(one) for one in record.outcomes] for name, record in records.items()}
        shown = for_programs({"schema": _SCHEMA, "devices": document, "problems": problems}, times=("began", "ended"))
        print(json.dumps(shown, indent=1))
        return ExitCode.DONE
    lines = [(one.at, name, one) for name, record in records.items() for one in record.outcomes]
    for _, name, outcome in sorted(lines, key=lambda line: line[:2]):
        _print(name, "  ".join(render_outcome(outcome)))
    if not lines:
        print("no deployment has finished on these devices")
    for name, problem in problems.items():
        _print(name, problem)
    return ExitCode.DONE


def check_devices(gateway: Paths, devices: Path, passphrase: Passphrase, *, is_json: bool, command: str) -> ExitCode:
    """Check descriptions and files of all devices, without contacting a server, and print warnings and faults.

    Args, besides those of ``show_statuses``:
        passphrase: unlocks the device keys.
        command: the command that calls the program for the gateway.

    Returns:
        FAILED when there is a fault.

    Raises:
        ConfigError: the descriptions can't be read.
    """
    found = read_entries(devices, gateway.root)
    results = [
        {"device": name, "check": "description", "verdict": "fault", **_parts(fault)}
        for name, fault in found.faults.items()
    ]
    for paths in _each(found, gateway, devices):
        own = f"{command} --device {paths.entry.name}"
        for check, result in find_faults(paths, passphrase=passphrase, command=own):
            results.append({"device": paths.entry.name, "check": check, **asdict(result)})
    if is_json:
        print(json.dumps(results, indent=1))
    else:
        for one in results:
            code = f" [{one['code']}]" if one["code"] else ""
            remedy = f"; {one['remedy']}" if one["remedy"] else ""
            _print(one["device"] or str(devices), f"{one['check']}: {one['found']}{remedy}{code}")
        count = len(results)
        print(f"{len(found.entries) + len(found.faults)} devices, {count or 'no'} problem{'s' * (count != 1)}")
    return ExitCode.FAILED if any(one["verdict"] == "fault" for one in results) else ExitCode.DONE


def _parts(fault: Diagnostic) -> dict[str, str]:
    return {"found": fault.text, "remedy": fault.remedy, "code": fault.code}


def _each(found: Found, gateway: Paths, devices: Path) -> Iterator[DevicePaths]:
    for name in sorted(found.entries):
        yield DevicePaths.of(found.entries[name], gateway, devices)


def _print(name: str, text: str) -> None:
    print(printable(f"{name}: {text}", limit=_LONGEST_LINE))
