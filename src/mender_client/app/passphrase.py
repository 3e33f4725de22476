"""The passphrase that ``--passphrase-file`` names: read once, and only when a key is encrypted."""

from __future__ import annotations

import logging
import sys
from functools import cache, partial
from pathlib import Path

from mender_client.errors import ConfigError, Diagnostic
from mender_client.system.keys import Passphrase, no_passphrase
from mender_client.system.trust import Trust

from .paths import Paths

_logger = logging.getLogger(__name__)
_STANDARD_INPUT = "-"


def passphrase_of(source: str | None, paths: Paths | None = None) -> Passphrase:
    """The passphrase that an option names; read once, and only when it is needed.

    Args:
        source: the value of ``--passphrase-file``; None if it isn't given.
        paths: place the file below the root directory, like every file of the device; None to use the path as it is.

    Raises:
        ConfigError: another user could have written the file.
    """
    if source is None:
        return no_passphrase
    if source != _STANDARD_INPUT and paths is not None:
        file = paths.below_root(source)
        check_secret_file("--passphrase-file", file, paths)
        source = str(file)
    return cache(partial(_read, source))


def _read(source: str) -> bytes:
    from mender_client.system.secretfile import LONGEST_BYTES, check_secret, read_secret

    if source != _STANDARD_INPUT:
        return read_secret(Path(source), "passphrase")
    line = sys.stdin.buffer.readline(LONGEST_BYTES + 2) if sys.stdin else b""
    return check_secret(line, "passphrase", "standard input")


def check_secret_file(name: str, file: Path, paths: Paths) -> None:
    """Refuse a file that another user could have written, and warn about one that another user can read.

    Raises:
        ConfigError: another user could have written it.
    """
    trust = Trust.below(paths.root)
    if problem := trust.permission_problem(file):
        text = f"{name}: another user could change it: {problem.text}"
        raise ConfigError([Diagnostic("FIL17", text, problem.remedy)])
    if exposure := trust.exposure(file):
        text = f"{name}: another user can read this secret: {exposure.text}"
        _logger.warning("%s", Diagnostic("FIL18", text, exposure.remedy))
