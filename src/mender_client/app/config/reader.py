"""Reads ``mender.conf``: merges two files into one checked configuration; all errors are reported at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.text import json_fault, printable
from mender_client.dataclass import dataclass
from mender_client.errors import ConfigError, Diagnostic
from mender_client.system.files import open_input, reading_remedy

from .keys import ACCEPTED_KEYS, CLOSED_OBJECTS, RETIRED_KEYS, Key, KeySet
from .settings import KEYS, Config, build_config

if TYPE_CHECKING:
    from typing import Any

_MAXIMUM_FILE_BYTES = 1024 * 1024
_UNKNOWN_NAMED = 20
"""The maximum number of unknown keys of a file that are named; the others are only counted."""
_LONGEST_GUESSED = 64
_MENDER_CONF = KeySet(KEYS, (*ACCEPTED_KEYS, *RETIRED_KEYS), CLOSED_OBJECTS)


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration, and the warnings about it."""

    config: Config
    warnings: tuple[Diagnostic, ...]


@dataclass(frozen=True)
class ConfigFindings:
    """The content of the files, and what is wrong with it.

    Attributes:
        values: the valid values in the files, by the name of the key.
        origins: the file that each value comes from.
        problems: the errors.
        warnings: probable mistakes that do no harm.
        ignored: the keys that are accepted without effect, in the spelling of the file.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, Path]
    problems: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]
    ignored: tuple[str, ...]


def load_config(main: Path, fallback: Path, *, is_server_needed: bool = True) -> LoadedConfig:
    """Read, merge and check the two configuration files; arguments as for ``examine``.

    Raises:
        ConfigError: all errors of both files at once, each with file and key.
    """
    findings = examine(main, fallback, is_server_needed=is_server_needed)
    if findings.problems:
        raise ConfigError(findings.problems)
    return LoadedConfig(build_config(findings.values), findings.warnings)


def check_settings(settings: Mapping[str, object]) -> LoadedConfig:
    """Check settings that a program passes instead of a file, with the same keys; unknown keys are errors here.

    Raises:
        ConfigError: all errors at once.
    """
    reader = Reader(_MENDER_CONF, is_unknown_refused=True)
    label = Path("settings")
    try:
        reader.take(label, json.dumps(settings, default=os.fspath).encode())
    except (TypeError, ValueError) as error:
        raise ConfigError([Diagnostic("CFG01", f"{label}: cannot be written as JSON: {error}")]) from error
    _check_together(reader, label, label, is_server_needed=True)
    if reader.problems:
        raise ConfigError(reader.problems)
    return LoadedConfig(build_config(reader.values), tuple(reader.warnings))


def examine(
    main: Path, fallback: Path, *, is_server_needed: bool = True, instead_of_main: bytes | None = None
) -> ConfigFindings:
    """Read, merge and check the two configuration files.

    Args:
        main: the file whose keys take precedence.
        fallback: the file that provides the keys that the main file lacks.
        is_server_needed: whether it is an error that no server is configured.
        instead_of_main: used instead of the content of the main file.
    """
    reader = Reader(_MENDER_CONF)
    if instead_of_main is None:
        reader.read(main)
    else:
        reader.take(main, instead_of_main)
    if fallback != main:
        reader.read(fallback)
    _check_together(reader, main, fallback, is_server_needed=is_server_needed)
    return reader.findings()


def suggest(name: str) -> str:
    """The key of ``mender.conf`` that is most similar to a wrong name; empty when none is similar."""
    return _MENDER_CONF.suggest(name)


class Reader:
    """Collects values, problems and warnings from files, one after another.

    Args:
        keys: the keys that the files may contain.
        is_unknown_refused: whether any other key is an error.
    """

    def __init__(self, keys: KeySet, *, is_unknown_refused: bool = False) -> None:
        self._key_set = keys
        self._is_unknown_refused = is_unknown_refused
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Path] = {}
        self.problems: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
        self.ignored: list[str] = []
        self.has_found = False
        self.is_incomplete = False  # a file could not be read or parsed
        self.refused: set[str] = set()  # the keys whose values are invalid
        self._keys = {key.name.lower(): key for key in keys.keys}
        self._silent = {name.lower() for name in keys.silent}
        self._groups = keys.groups
        self._closed = {name.lower() for name in keys.closed}

    def findings(self) -> ConfigFindings:
        """The findings so far."""
        return ConfigFindings(
            self.values, self.origins, tuple(self.problems), tuple(self.warnings), tuple(self.ignored)
        )

    def read(self, path: Path) -> None:
        """Take the values of a file that no earlier file has set; a missing file has none."""
        try:
            with open_input(path) as file:
                data = file.read(_MAXIMUM_FILE_BYTES + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            remedy = reading_remedy(error, path) or "check its owner and mode"
            self._give_up(Diagnostic("CFG02", f"{path}: cannot be read: {error.strerror}", remedy))
            return
        self.take(path, data)

    def take(self, path: Path, data: bytes) -> None:
        """Take the values in the content of a file that no earlier file has set."""
        self.has_found = True
        document = self._parse(path, data)
        if document is None:
            return
        before = len(self.warnings)
        try:
            self._take(path, "", document, given=set())
        except RecursionError:
            self._give_up(_too_deep(path))
        unknown = [one for one in self.warnings[before:] if one.code == "CFG11"]
        if (more := len(unknown) - _UNKNOWN_NAMED) > 0:
            others = [one for one in self.warnings[before:] if one.code != "CFG11"]
            rest = Diagnostic("CFG03", f"{path}: {more} more unknown keys are ignored")
            self.warnings[before:] = [*others, *unknown[:_UNKNOWN_NAMED], rest]

    def _give_up(self, problem: Diagnostic) -> None:
        self.has_found = self.is_incomplete = True
        self.problems.append(problem)

    def _parse(self, path: Path, data: bytes) -> _Pairs | None:
        if len(data) > _MAXIMUM_FILE_BYTES:
            too_large = f"{path}: is larger than {_MAXIMUM_FILE_BYTES} bytes"
            self._give_up(Diagnostic("CFG04", too_large, "check whether it is the right file"))
            return None
        try:
            document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_Pairs)
        except UnicodeDecodeError:
            self._give_up(Diagnostic("CFG05", f"{path}: is not UTF-8 text", "save it as UTF-8"))
        except json.JSONDecodeError as error:
            text = f"{path}: is not valid JSON: {json_fault(error)}"
            self._give_up(Diagnostic("CFG06", text, f"find the mistake with 'python3 -m json.tool {path}'"))
        except (RecursionError, ValueError):
            self._give_up(_too_deep(path))
        else:
            if isinstance(document, _Pairs):
                return document
            text = f"{path}: must contain a JSON object"
            self._give_up(Diagnostic("CFG08", text, "write the keys between { and }"))
        return None

    def _take(self, path: Path, prefix: str, pairs: _Pairs, *, given: set[str]) -> None:
        for name, value in pairs.items:
            full = prefix + name
            lower = full.lower()
            if lower in given:
                twice = f"{path}: {printable(full)}: is given twice (keys are not case-sensitive)"
                self.problems.append(Diagnostic("CFG09", twice, "remove one of the two"))
            given.add(lower)
            if lower in self._groups and "." not in name:
                if isinstance(value, _Pairs):
                    self._take(path, f"{full}.", value, given=given)
                elif value is None:
                    self._ignore(path, full, "null")
                else:
                    remedy = f'write it as {{"{full}": {{…}}}}'
                    self.problems.append(Diagnostic("CFG10", f"{path}: {full}: must be an object", remedy))
            elif lower in self._keys and "." not in name:
                self._check(path, self._keys[lower], value)
            elif lower in self._silent:
                self.ignored.append(full)
            elif self._is_unknown_refused or lower.partition(".")[0] in self._closed:
                self.problems.append(Diagnostic("CFG24", f"{path}: there is no key {full!r:.80}", self._advice(full)))
            else:
                ignored = f"{path}: unknown key {full!r:.80} is ignored"
                self.warnings.append(Diagnostic("CFG11", ignored, self._advice(full)))

    def _check(self, path: Path, key: Key, written: Any) -> None:
        """Check a value. Null, empty and blank-padded values only cause warnings, because other clients accept them."""
        plain = _plain(written)
        value = key.kind.trim(plain) if key.kind.trim else plain
        if value is None:
            self._ignore(path, key.name, "null")
            return
        if value == "" and key.default:
            self._ignore(path, key.name, "empty")
            return
        if value != plain:
            text = f"{path}: {key.name}: leading and trailing spaces are ignored"
            self.warnings.append(Diagnostic("CFG21", text, "remove them"))
        try:
            checked = key.kind.check(value)
        except ValueError as error:
            self.refused.add(key.name)
            self.problems.append(Diagnostic("CFG12", f"{path}: {key.name}: {error}"))
            return
        if key.name not in self.values:
            self.values[key.name] = checked
            self.origins[key.name] = path

    def _ignore(self, path: Path, name: str, what: str) -> None:
        text = f"{path}: {name}: is {what}, and the key is ignored"
        self.warnings.append(Diagnostic("CFG20", text, "remove the key, or give it a value"))

    def _advice(self, name: str) -> str:
        if len(name) > _LONGEST_GUESSED or len(self.warnings) > _UNKNOWN_NAMED:
            return ""  # finding similar names takes time
        close = self._key_set.suggest(name)
        if close.lower() == name.lower():
            group, _, inner = close.partition(".")
            return f'write it as {{"{group}": {{"{inner}": …}}}}'
        return f"did you mean {close!r}?" if close else ""


class _Pairs:
    """A JSON object as written, including repeated keys."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value.items}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _check_together(reader: Reader, main: Path, fallback: Path, *, is_server_needed: bool) -> None:
    values, origins = reader.values, reader.origins
    for one, other in (("ServerURL", "Servers"), ("ArtifactVerifyKey", "ArtifactVerifyKeys")):
        if values.get(one) and values.get(other):
            both = f"{origins[other]}: {other}: cannot be used together with {one} ({origins[one]})"
            reader.problems.append(Diagnostic("CFG13", both, "remove one of the two"))
    if reader.is_incomplete:
        return  # a key that seems missing may be in the file that can't be read
    for one, other in (
        ("HttpsClient.Certificate", "HttpsClient.Key"),
        ("HttpsClient.Key", "HttpsClient.Certificate"),
    ):
        if values.get(one) and not values.get(other):
            reader.problems.append(Diagnostic("CFG14", f"{origins[one]}: {one}: needs {other}", f"set {other} too"))
    has_server = values.get("ServerURL") or values.get("Servers") or reader.refused & {"ServerURL", "Servers"}
    if is_server_needed and not has_server:
        if main == fallback:
            why = "the file does not set it" if reader.has_found else "no such file"
        else:
            why = f"neither this file nor {fallback} {'sets it' if reader.has_found else 'exists'}"
        reader.problems.append(_no_server(main, why))


def _no_server(where: Path, why: str) -> Diagnostic:
    return Diagnostic("CFG15", f"{where}: ServerURL: is missing ({why})", "set the server's address")


def _too_deep(path: Path) -> Diagnostic:
    text = f"{path}: is nested too deeply or contains a number that is too large"
    return Diagnostic("CFG07", text, "check whether it is the right file")
