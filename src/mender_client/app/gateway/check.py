"""``config check`` for the devices of a gateway: their descriptions, and their own settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mender_client.app.config import examine
from mender_client.app.config.settings import build_config
from mender_client.app.exitcodes import ExitCode
from mender_client.app.file_checks import configuration_file_problems
from mender_client.app.paths import Paths
from mender_client.app.setting_faults import find_setting_faults
from mender_client.core.text import printable
from mender_client.errors import Diagnostic

from .entries import Found, read_entries
from .paths import DevicePaths
from .settings import settings_of


def check_descriptions(gateway: Paths, devices: Path, *, is_json: bool) -> ExitCode:
    """Print the errors and warnings of all descriptions, each with its device.

    Args:
        gateway: the gateway's own paths.
        devices: the directory with the descriptions of the devices.
        is_json: print JSON.

    Returns:
        CONFIGURATION when any device would not be served.

    Raises:
        ConfigError: the descriptions can't be read.
    """
    found = read_entries(devices, gateway.root)
    errors, notes = list(_problems(found, gateway, devices)), list(_warnings(found, gateway, devices))
    if is_json:
        print(json.dumps({"problems": errors, "warnings": notes}, indent=1))
    else:
        for text in (*(f"error: {one}" for one in errors), *(f"warning: {one}" for one in notes)):
            print(printable(text, limit=2000))
        count = f"{len(found.entries)} device{'s' * (len(found.entries) != 1)}"
        print(f"{devices}: {count}, {_number(errors, 'error')}, {_number(notes, 'warning')}")
    return ExitCode.CONFIGURATION if errors else ExitCode.DONE


def _problems(found: Found, gateway: Paths, devices: Path) -> Iterator[str]:
    for name, fault in found.faults.items():
        yield f"{name}: {fault}" if name else str(fault)
    for paths in _with_settings(found, gateway, devices):
        for problem in (*configuration_file_problems(paths), *_settings_problems(paths)):
            yield f"{paths.entry.name}: {problem}"


def _settings_problems(paths: DevicePaths) -> Sequence[Diagnostic]:
    findings = examine(paths.config, paths.fallback_config)
    if findings.problems:
        return findings.problems
    return find_setting_faults(settings_of(build_config(findings.values), paths), paths)[0]


def _warnings(found: Found, gateway: Paths, devices: Path) -> Iterator[str]:
    for paths in _with_settings(found, gateway, devices):
        for warning in examine(paths.config, paths.config, is_server_needed=False).warnings:
            yield f"{paths.entry.name}: {warning}"


def _with_settings(found: Found, gateway: Paths, devices: Path) -> Iterator[DevicePaths]:
    """The devices that have their own settings."""
    for entry in found.entries.values():
        paths = DevicePaths.of(entry, gateway, devices)
        if entry.is_folder and paths.config.exists():
            yield paths


def _number(found: list[str], what: str) -> str:
    return f"{len(found) or 'no'} {what}{'s' * (len(found) != 1)}"
