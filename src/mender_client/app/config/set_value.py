"""``config set``: changes one key of the main configuration file, if the result is valid or is half of a pair."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.app.exitcodes import ExitCode
from mender_client.app.paths import Paths
from mender_client.dataclass import replace
from mender_client.errors import ConfigError, Diagnostic, StorageError
from mender_client.system.files import make_directory, open_input, storage_errors, write_atomic

from .commands import find_key, unknown_key
from .config_file import ConfigFile
from .keys import Key
from .reader import examine

if TYPE_CHECKING:
    from typing import Any

_HALF_A_PAIR = "CFG14"
"""The code of the problem that a key requires another one; only a warning here, as one of the two must be set first."""


def set_value(paths: Paths, name: str, text: str) -> ExitCode:
    """Set a key in the main configuration file; everything else in it is kept.

    Args:
        paths: the device's files.
        name: the name of the key, which is not case-sensitive.
        text: the value: a string as it is, anything else as JSON.

    Returns:
        USAGE when there is no such key.

    Raises:
        ConfigError: the value is invalid, or the configuration would have errors.
        StorageError: the file can't be read or written.
    """
    key = find_key(name)
    if key is None:
        print(unknown_key(name, "set"), file=sys.stderr)
        return ExitCode.USAGE
    value = _value(key, text)
    main = paths.config
    _refuse(one for one in examine(main, main, is_server_needed=False).problems if f": {key.name}: " not in one.text)
    document = ConfigFile(_content(main))
    document.set(key.name, value)
    data = document.data()
    problems = examine(main, paths.fallback_config, is_server_needed=False, instead_of_main=data).problems
    _refuse(problems)
    _write(main, data)
    for half in problems:
        unusable = replace(half, remedy=f"{half.remedy}: until then, the client refuses this configuration")
        print(f"warning: {unusable}", file=sys.stderr)
    print(f"{key.name} is set in {main}" + ("" if problems else "; a running daemon picks it up on SIGHUP"))
    return ExitCode.DONE


def _refuse(problems: Iterable[Diagnostic]) -> None:
    if found := [one for one in problems if one.code != _HALF_A_PAIR]:
        raise ConfigError(found)


def _value(key: Key, text: str) -> Any:
    """The value as it is written to the file."""
    try:
        key.kind.check(text)
        return text
    except ValueError as error:
        problem = error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        try:
            key.kind.check(value)
            return value
        except ValueError as error:
            problem = problem if isinstance(key.default, str) else error
    raise ConfigError([Diagnostic("CFG22", f"cannot set {key.name}: it {problem}")]) from problem


def _content(path: Path) -> bytes | None:
    with storage_errors("read", path), open_input(path) if path.exists() else nullcontext() as file:
        return file.read() if file else None


def _write(path: Path, data: bytes) -> None:
    if path.is_symlink():
        text = f"cannot change {path}: it is a symbolic link to {path.readlink()}"
        raise StorageError("CFG23", text, remedy="change that file by hand")
    make_directory(path.parent, mode=0o755)
    write_atomic(path, data, mode=stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600)
