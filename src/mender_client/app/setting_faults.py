"""Finds settings that can't work on this device: those with which the daemon refuses to start, or warns.

The device key itself is not checked, because it may need a passphrase; ``doctor`` does that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mender_client.errors import ConfigError, Diagnostic
from mender_client.system.tls import find_certificate_faults

from .config import Config
from .devicekey import device_key
from .file_checks import look_at_files
from .host import tls_settings
from .parts import verify_keys
from .paths import Paths

DIRECTORY_REMEDY = "make the directory, writable for the client, or name another one"
"""The remedy if no file can be created in a configured directory."""

Faults = tuple[Sequence[Diagnostic], Sequence[Diagnostic]]
"""Errors and warnings."""


def find_setting_faults(config: Config, paths: Paths) -> Faults:
    """What is wrong with the files, programs and time zones that the settings name, and with the URI of the key."""
    problems = list(look_at_files(config, paths).problems)
    try:
        device_key(config, paths)
    except ConfigError as error:
        problems += error.problems
    certificate_problems, certificate_warnings = find_certificate_faults(tls_settings(config, paths))
    key_problems, key_warnings = find_verify_key_faults(config, paths)
    warnings = [*certificate_warnings, *key_warnings, *find_log_faults(config, paths)]
    return [*problems, *certificate_problems, *key_problems], warnings


def find_log_faults(config: Config, paths: Paths) -> Sequence[Diagnostic]:
    """Why no deployment log can be written, if its directory is configured; updates work without it."""
    named = config.update_log_path
    if not named or not (problem := directory_problem(paths.below_root(named))):
        return ()
    return [Diagnostic("FIL25", f"UpdateLogPath: cannot write the deployment log: {problem}", DIRECTORY_REMEDY)]


def directory_problem(directory: Path) -> str:
    """Why no file can be created in a directory; empty if one can be."""
    if not os.path.isdir(directory):
        return f"there is no directory {directory}"
    return "" if os.access(directory, os.W_OK | os.X_OK) else f"no file can be created in {directory}"


def find_verify_key_faults(config: Config, paths: Paths) -> Faults:
    """What is wrong with the keys that verify Artifacts; it is an error if none of them can be used."""
    keys = verify_keys(config, paths)
    if keys is None:
        return (), ()
    try:
        return (), keys.load()
    except ConfigError as error:
        return error.problems, ()
