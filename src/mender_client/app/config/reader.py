"""Reads ``mender.conf``: two files merged into one checked configuration, every fault found at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mender_client.core.text import printable
from mender_client.errors import ConfigError

from .keys import ACCEPTED_KEYS, KEYS, RETIRED_KEYS, Key
from .settings import Config, build_config

_MAXIMUM_FILE_BYTES = 1024 * 1024
_UNKNOWN_NAMED = 20
"""How many unknown keys of a file are named; the rest is counted."""
_LONGEST_GUESSED = 64
_TOO_DEEP = "is nested too deeply or holds a number that is too large"
_GROUPS = frozenset(key.name.partition(".")[0].lower() for key in KEYS if "." in key.name)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and what should be said about it."""

    config: Config
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConfigFindings:
    """Everything that the files say, right or wrong.

    Attributes:
        values: the checked values that are given, by the name of the key.
        origins: the file that each of them is from.
        problems: one sentence for each fault.
        warnings: one sentence for each thing that is odd and does no harm.
        ignored: the keys that other clients know and that have no effect here, as they are written.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, Path]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    ignored: tuple[str, ...]


def load_config(main: Path, fallback: Path, *, is_server_needed: bool = True) -> LoadedConfig:
    """Read, merge and check the two configuration files.

    Args:
        main: a key here wins.
        fallback: gives the keys that the main file lacks.
        is_server_needed: whether it is a fault that no server is configured.

    Raises:
        ConfigError: every problem of both files at once, each with file and key.
    """
    findings = examine(main, fallback, is_server_needed=is_server_needed)
    if findings.problems:
        raise ConfigError(findings.problems)
    values = {key.name: findings.values.get(key.name, key.default) for key in KEYS}
    return LoadedConfig(build_config(values), findings.warnings)


def check_settings(settings: Mapping[str, object]) -> Config:
    """Check settings that a program gives instead of a file, by the same keys; an unknown one is a fault here.

    Args:
        settings: what ``mender.conf`` would hold.

    Raises:
        ConfigError: every problem at once.
    """
    reader = _Reader()
    label = Path("settings")
    try:
        reader.take(label, json.dumps(settings).encode())
    except (TypeError, ValueError) as error:
        raise ConfigError([f"{label}: must hold what JSON can hold: {error}"]) from error
    _check_together(reader, label, label, is_server_needed=False)
    problems = [*reader.problems, *reader.warnings]
    if not problems and not reader.values.get("ServerURL") and not reader.values.get("Servers"):
        problems.append(f"{label}: ServerURL: is missing; set the server's address")
    if problems:
        raise ConfigError(problems)
    return build_config({key.name: reader.values.get(key.name, key.default) for key in KEYS})


def examine(
    main: Path, fallback: Path, *, is_server_needed: bool = True, instead_of_main: bytes | None = None
) -> ConfigFindings:
    """Read, merge and check the two configuration files, and tell all that was found.

    Args:
        main: a key here wins.
        fallback: gives the keys that the main file lacks.
        is_server_needed: whether it is a fault that no server is configured.
        instead_of_main: what the main file is going to hold.
    """
    reader = _Reader()
    if instead_of_main is None:
        reader.read(main)
    else:
        reader.take(main, instead_of_main)
    if fallback != main:
        reader.read(fallback)
    _check_together(reader, main, fallback, is_server_needed=is_server_needed)
    return ConfigFindings(
        reader.values, reader.origins, tuple(reader.problems), tuple(reader.warnings), tuple(reader.ignored)
    )


def suggest(name: str) -> str:
    """The known key that is nearest to a wrong name; empty when none is near."""
    from difflib import get_close_matches

    known = {key.name.lower(): key.name for key in KEYS}
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return known[close[0]] if close else ""


class _Reader:
    """Collects values, problems and warnings from one file after the other."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Path] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.ignored: list[str] = []
        self.has_found = False
        self.is_unknown = False  # what a file says that could not be read as a whole
        self._keys = {key.name.lower(): key for key in KEYS}
        self._silent = {name.lower() for name in (*ACCEPTED_KEYS, *RETIRED_KEYS)}

    def read(self, path: Path) -> None:
        """Take the values of a file that no earlier file gave; a file that isn't there has none."""
        try:
            with path.open("rb") as file:
                data = file.read(_MAXIMUM_FILE_BYTES + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            self._give_up(path, f"cannot be read: {error.strerror}; check its owner and mode")
            return
        self.take(path, data)

    def take(self, path: Path, data: bytes) -> None:
        """Take the values of a file's content that no earlier file gave."""
        self.has_found = True
        document = self._parse(path, data)
        if document is None:
            return
        unknown = len(self.warnings)
        try:
            self._take(path, "", document, given=set())
        except RecursionError:
            self._give_up(path, _TOO_DEEP)
        more = len(self.warnings) - unknown - _UNKNOWN_NAMED
        if more > 0:
            self.warnings[unknown + _UNKNOWN_NAMED :] = [f"{path}: {more} more unknown keys are ignored"]

    def _give_up(self, path: Path, why: str) -> None:
        self.has_found = self.is_unknown = True
        self.problems.append(f"{path}: {why}")

    def _parse(self, path: Path, data: bytes) -> _Pairs | None:
        if len(data) > _MAXIMUM_FILE_BYTES:
            self._give_up(path, f"is larger than {_MAXIMUM_FILE_BYTES} bytes; it can't be the right file")
            return None
        try:
            document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_Pairs)
        except UnicodeDecodeError:
            self._give_up(path, "is not UTF-8 text")
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            self._give_up(path, f"is not valid JSON: {where}: {error.msg.lower()}")
        except (RecursionError, ValueError):
            self._give_up(path, _TOO_DEEP)
        else:
            if isinstance(document, _Pairs):
                return document
            self._give_up(path, "must hold a JSON object")
        return None

    def _take(self, path: Path, prefix: str, pairs: _Pairs, *, given: set[str]) -> None:
        for name, value in pairs.items:
            full = prefix + name
            lower = full.lower()
            if lower in given:
                self.problems.append(
                    f"{path}: {printable(full)}: is given twice; keys are the same in upper and lower case"
                )
            given.add(lower)
            if not prefix and lower in _GROUPS:
                if isinstance(value, _Pairs):
                    self._take(path, f"{name}.", value, given=given)
                else:
                    self.problems.append(f"{path}: {full}: must be an object")
            elif lower in self._keys and "." not in name:
                self._check(path, self._keys[lower], value)
            elif lower in self._silent:
                self.ignored.append(full)
            else:
                self.warnings.append(f"{path}: unknown key {full!r:.80} is ignored" + self._advice(full))

    def _check(self, path: Path, key: Key, value: Any) -> None:
        try:
            checked = key.kind.check(_plain(value))
        except ValueError as error:
            self.problems.append(f"{path}: {key.name}: {error}")
            return
        if key.name not in self.values:
            self.values[key.name] = checked
            self.origins[key.name] = path

    def _advice(self, name: str) -> str:
        if len(name) > _LONGEST_GUESSED or len(self.warnings) > _UNKNOWN_NAMED:
            return ""  # to look for what was meant takes time
        close = suggest(name)
        if close.lower() == name.lower():
            group, _, inner = close.partition(".")
            return f'; write it as {{"{group}": {{"{inner}": …}}}}'
        return f"; did you mean {close!r}?" if close else ""


class _Pairs:
    """A JSON object as it was written, with repeated keys."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value.items}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _check_together(reader: _Reader, main: Path, fallback: Path, *, is_server_needed: bool) -> None:
    values, origins = reader.values, reader.origins
    for one, other in (("ServerURL", "Servers"), ("ArtifactVerifyKey", "ArtifactVerifyKeys")):
        if values.get(one) and values.get(other):
            reader.problems.append(f"{origins[other]}: {other}: can't be used together with {one} ({origins[one]})")
    if reader.is_unknown:
        return  # what seems to be missing may stand in the file that can't be read
    for one, other in (
        ("HttpsClient.Certificate", "HttpsClient.Key"),
        ("HttpsClient.Key", "HttpsClient.Certificate"),
    ):
        if values.get(one) and not values.get(other):
            reader.problems.append(f"{origins[one]}: {one}: needs {other} too")
    is_server_wrong = any("ServerURL:" in problem or "Servers:" in problem for problem in reader.problems)
    if is_server_needed and not values.get("ServerURL") and not values.get("Servers") and not is_server_wrong:
        where = "no key ServerURL" if reader.has_found else "no such file"
        reader.problems.append(f"{main}: ServerURL: is missing ({where}, nor in {fallback}); set the server's address")
