"""Reads the operator's descriptions of the devices of a gateway.

A description is a subdirectory of the directory that ``--devices`` names, optionally with a ``device.json``, or an
entry in the ``devices.json`` of that directory. An invalid description only affects its own device.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.text import json_fault, printable
from mender_client.dataclass import dataclass, field
from mender_client.errors import ConfigError, Diagnostic, StorageError
from mender_client.system.files import read_text
from mender_client.system.trust import Trust

from .paths import DeviceEntry

if TYPE_CHECKING:
    from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ONE_FILE = "devices.json"
_OWN_FILE = "device.json"
_IDENTITY = "identity"
_MOST_BYTES = 8 * 1024 * 1024
_NAME_REMEDY = "use letters, digits, '.', '_' and '-', 64 at most"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(_is_text(one) for pair in value.items() for one in pair)


def _is_variables(value: Any) -> bool:
    return _is_texts(value) and all(_VARIABLE.fullmatch(name) for name in value)


KEYS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "Identity": (lambda value: _is_text(value) or _is_texts(value), "the path of a script, or names and values"),
    "DeviceType": (_is_text, "text"),
    "ArtifactName": (_is_text, "text"),
    "Inventory": (_is_text, "the path of a script, or of a directory with scripts"),
    "Modules": (_is_text, "the path of a directory with update modules"),
    "SubUpdater": (_is_text, "the path of a program"),
    "Group": (_is_text, "text"),
    "Variables": (_is_variables, "names and values of environment variables"),
}
"""The keys of a description; for each, the check of its value, and for messages, what the value must be."""

UNTRUSTED = ("GTW03", "GTW14")
"""The codes of faults of descriptions that another user could have written."""


@dataclass(frozen=True)
class Found:
    """The descriptions that the operator has written.

    Attributes:
        entries: the devices, by name.
        faults: the faults, by the name of the device; under the empty name, one that concerns no single device.
        groups: how many devices of a group may be updated at once; one for a group that isn't listed.
    """

    entries: Mapping[str, DeviceEntry]
    faults: Mapping[str, Diagnostic]
    groups: Mapping[str, int] = field(default_factory=dict)


def read_entries(directory: Path, root: Path) -> Found:
    """Read all descriptions.

    Args:
        directory: the directory with the descriptions.
        root: the root directory, as for ``Trust.below``.

    Raises:
        ConfigError: the directory can't be read, or another user could have written it.
    """
    trust = Trust.below(root)
    if problem := trust.permission_problem(directory):
        text = f"cannot use {directory}: another user could have written it: {problem.text}"
        raise ConfigError([Diagnostic("GTW01", text, problem.remedy)])
    try:
        with os.scandir(directory) as found:
            folders = sorted(one.name for one in found if _is_device(one))
    except OSError as error:
        text = f"cannot read the devices in {directory}: {error.strerror}"
        raise ConfigError([Diagnostic("GTW02", text, "create it, or specify another one with --devices")]) from error
    reader = _Reader(directory, trust)
    reader.take_file()
    for name in folders:
        reader.take_folder(name)
    return Found(reader.entries, reader.faults, reader.groups)


def _is_device(found: os.DirEntry[str]) -> bool:
    """Whether a directory describes a device; others may contain programs that several devices share.

    A hidden directory does not, so that a description can be renamed to its final name when it is complete.
    """
    if found.name.startswith("."):
        return False
    return any(os.path.lexists(os.path.join(found.path, name)) for name in (_OWN_FILE, _IDENTITY))


class _Reader:
    def __init__(self, directory: Path, trust: Trust) -> None:
        self._directory = directory
        self._trust = trust
        self.entries: dict[str, DeviceEntry] = {}
        self.faults: dict[str, Diagnostic] = {}
        self.groups: dict[str, int] = {}

    def take_file(self) -> None:
        """Read the entries of ``devices.json``, if there is one."""
        try:
            document = self._read(self._directory / _ONE_FILE)
            if document is None:
                return
            if unknown := sorted(set(document) - {"Devices", "Groups"}):
                raise _wrong(self._directory / _ONE_FILE, f"there is no key {printable(unknown[0])!r}")
            self.groups = _groups(document.get("Groups", {}), self._directory / _ONE_FILE)
            devices = document.get("Devices", {})
            if not isinstance(devices, dict):
                raise _wrong(self._directory / _ONE_FILE, "Devices must be an object")
        except ConfigError as error:
            self.faults[""] = error.problems[0]
            return
        for name, keys in devices.items():
            self._add(name, keys, self._directory, self._directory / _ONE_FILE, is_folder=False)

    def take_folder(self, name: str) -> None:
        """Read a directory that describes a device."""
        folder = self._directory / name
        if problem := self._trust.permission_problem(folder):
            text = f"cannot use {folder}: another user could have written it: {problem.text}"
            self.faults[name] = Diagnostic("GTW03", text, problem.remedy)
            return
        try:
            keys = self._read(folder / _OWN_FILE)
        except ConfigError as error:
            self.faults[name] = error.problems[0]
            return
        if name in self.entries:
            del self.entries[name]
            text = f"cannot use device {name}: it is both an entry in {_ONE_FILE} and a directory"
            self.faults[name] = Diagnostic("GTW04", text, "remove one of the two")
            return
        self._add(name, keys or {}, folder, folder / _OWN_FILE, is_folder=True)

    def _read(self, path: Path) -> dict[str, Any] | None:
        """The JSON object in a file; None if the file doesn't exist.

        Raises:
            ConfigError: it can't be used.
        """
        if not os.path.lexists(path):
            return None
        if problem := self._trust.permission_problem(path):
            text = f"cannot use {path}: another user could have written it: {problem.text}"
            raise ConfigError([Diagnostic("GTW14", text, problem.remedy)])
        try:
            document = json.loads(read_text(path, limit=_MOST_BYTES), object_pairs_hook=_object)
        except StorageError as error:
            raise _wrong(path, str(error)) from error
        except (ValueError, RecursionError) as error:
            why = json_fault(error) if isinstance(error, json.JSONDecodeError) else str(error)
            raise _wrong(path, f"it is not valid JSON: {why}") from error
        if not isinstance(document, dict):
            raise _wrong(path, "it must contain a JSON object")
        return document

    def _add(self, name: str, keys: Any, base: Path, file: Path, *, is_folder: bool) -> None:
        try:
            if not _NAME.fullmatch(name):
                text = f"cannot use {printable(name)!r} in {base.parent if is_folder else file} as the name of a device"
                raise ConfigError([Diagnostic("GTW05", text, _NAME_REMEDY)])
            _check(keys, file, "" if is_folder else f"{name}: ")
        except ConfigError as error:
            self.faults[printable(name)] = error.problems[0]
            return
        self.entries[name] = DeviceEntry(name, base, keys, is_folder)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, and reject a repeated name, which could stand for two devices."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"{printable(twice)!r} is listed twice")
    return made


def _check(keys: Any, file: Path, where: str) -> None:
    if not isinstance(keys, dict):
        raise _wrong(file, f"{where}must be an object")
    for key, value in keys.items():
        if key not in KEYS:
            raise _wrong(file, f"{where}there is no key {printable(key)!r}", f"use {', '.join(KEYS)}")
        is_right, kind = KEYS[key]
        if not is_right(value):
            raise _wrong(file, f"{where}{key} must be {kind}")


def _groups(given: Any, file: Path) -> dict[str, int]:
    numbers = given.values() if isinstance(given, dict) else [None]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 1 for number in numbers):
        raise _wrong(file, "Groups must be an object of whole numbers from 1 on")
    return dict(given)


def _wrong(file: Path, why: str, remedy: str = "correct the file") -> ConfigError:
    return ConfigError([Diagnostic("GTW06", f"cannot use {file}: {why}", remedy)])
