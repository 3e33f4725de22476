"""Checks owners and modes of the operator's files: who can write them, and who can read them.

The rules are in ``docs/reference/files.md``. A user who can change one of these files decides what this device
installs, or can impersonate it, so the client refuses to start; if others can read a secret, it warns at each start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mender_client.dataclass import dataclass
from mender_client.errors import ConfigError, Diagnostic
from mender_client.system.trust import Trust

from .config import Config
from .paths import Paths


@dataclass(frozen=True)
class FileFindings:
    """The faults of the files; warnings concern readable secrets, and files that are only reported to the server."""

    problems: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]


def identity_problem(paths: Paths, trust: Trust) -> Diagnostic | None:
    """Why the identity script can't or must not be run; None when it may."""
    with_setup = "" if paths.is_of_gateway else " ('mender-python-client setup --install-scripts' installs one)"
    return trust.program_problem(paths.identity_script, f"install an identity script there, with mode 755{with_setup}")


def check_configuration_files(paths: Paths) -> None:
    """Refuse configuration files that another user could have written, before they are read.

    Raises:
        ConfigError: there are such files; for each, the reason and the command that fixes it.
    """
    if problems := configuration_file_problems(paths):
        raise ConfigError(problems)


def configuration_file_problems(paths: Paths) -> Sequence[Diagnostic]:
    """The configuration files that another user could have written: the reason, and the command that fixes it."""
    trust = Trust.below(paths.root)
    problems = [
        Diagnostic("FIL06", f"{file}: another user could have written it: {problem.text}", problem.remedy)
        for file in (paths.config, paths.fallback_config)
        if (problem := trust.permission_problem(file))
    ]
    return list(dict.fromkeys(problems))


def look_at_files(config: Config, paths: Paths, passphrase_file: str | None = None) -> FileFindings:
    """Check owners and modes of every file that the client relies on, and of that of ``--passphrase-file``.

    Missing files are reported elsewhere.
    """
    trust = Trust.below(paths.root)
    secrets = [*_keys(config, paths)]
    if passphrase_file not in (None, "-"):
        secrets.append(("--passphrase-file", paths.below_root(passphrase_file)))
    problems = [
        Diagnostic("FIL07", f"{name}: another user could change it: {problem.text}", problem.remedy)
        for name, file in (*_relied_on(config, paths), *secrets)
        if (problem := trust.permission_problem(file))
    ]
    if config.has_gates:
        # imported only where there are gates, to save memory
        from .gates import gate_problems

        problems += gate_problems(config, paths)
    warnings = [
        Diagnostic("FIL08", f"{name}: another user can read this secret: {exposure.text}", exposure.remedy)
        for name, file in (*_configurations_with_a_secret(config, paths), *secrets)
        if (exposure := trust.exposure(file))
    ]
    warnings += [
        Diagnostic("FIL09", f"{name}: another user could change it: {problem.text}", problem.remedy)
        for name, file in _told(config, paths)
        if (problem := trust.permission_problem(file))
    ]
    return FileFindings(tuple(problems), tuple(warnings))


def check_files(config: Config, paths: Paths, passphrase_file: str | None = None) -> tuple[Diagnostic, ...]:
    """Refuse files that another user could have changed; arguments as for ``look_at_files``.

    Returns:
        The warnings.

    Raises:
        ConfigError: there are such files; for each, the reason and the command that fixes it.
    """
    findings = look_at_files(config, paths, passphrase_file)
    if findings.problems:
        raise ConfigError(findings.problems)
    return findings.warnings


def _relied_on(config: Config, paths: Paths) -> Iterator[tuple[str, Path]]:
    """The files that would let a user who can change them install anything, or impersonate this device."""
    yield "the data directory", paths.data
    for setting, file in (
        ("ServerCertificate", config.server_certificate),
        ("HttpsClient.Certificate", config.client_certificate),
        *((config.artifact_verify_setting, file) for file in config.artifact_verify_keys),
    ):
        if file:
            path = paths.below_root(file)
            yield setting, path
            yield from ((setting, path / name) for name in _names(path))


def _keys(config: Config, paths: Paths) -> Iterator[tuple[str, Path]]:
    named = config.auth_private_key
    if not named:
        yield "the device key", paths.key
    elif not named.startswith("pkcs11:"):
        yield "Security.AuthPrivateKey", paths.below_root(named)
    if config.client_key and not config.client_key.startswith("pkcs11:"):
        yield "HttpsClient.Key", paths.below_root(config.client_key)


def _configurations_with_a_secret(config: Config, paths: Paths) -> Iterator[tuple[str, Path]]:
    marks = {"TenantToken": b"tenanttoken"} if config.tenant_token else {}
    if "pin-value" in config.auth_private_key.lower():
        marks["Security.AuthPrivateKey (pin-value)"] = b"pin-value"
    for name, mark in marks.items():
        yield from ((name, file) for file in (paths.config, paths.fallback_config) if _holds(file, mark))


def _names(directory: Path) -> list[str]:
    """The names in a directory, which ServerCertificate may be; none for a file."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _holds(file: Path, mark: bytes) -> bool:
    try:
        return mark in file.read_bytes().lower()
    except OSError:
        return False


def _told(config: Config, paths: Paths) -> Iterator[tuple[str, Path]]:
    """The files that are reported to the server: changing them can only make updates fail, or lose their log."""
    if config.update_log_path:
        yield "UpdateLogPath", paths.below_root(config.update_log_path)
    type_file = config.device_type_file
    yield "the device type", paths.below_root(type_file) if type_file else paths.device_type
    yield "artifact_info", paths.artifact_info
