"""The program's description of the device, checked when the workflow reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field  # with __slots__: a misspelt attribute is an error
from types import MappingProxyType
from typing import Any

from mender_client.core.keyvalue import KeyValues
from mender_client.core.model import Identity, Provides
from mender_client.errors import ConfigError, Diagnostic

Scalar = str | int | float

AttributeValue = Scalar | Sequence[Scalar]
"""One value of an attribute, or several. A number is sent as text, like those that scripts print; True as ``true``."""


@dataclass(slots=True)
class DeviceDescription:
    """Identity, inventory and software of a device. The program may change it at any time; it is read when needed.

    Attributes:
        identity: identifies the device, a serial number for instance; it must never change.
        device_type: the device type that Artifacts must be made for.
        artifact_name: the name of the installed software; set it when an update is installed. The client remembers
            what update modules install: with them, the program may keep the name that it always starts with.
        provides: further provides that Artifacts may depend on.
        inventory: the inventory attributes.
    """

    identity: Mapping[str, AttributeValue]
    device_type: str
    artifact_name: str
    provides: Mapping[str, Scalar] = field(default_factory=dict)
    inventory: Mapping[str, AttributeValue] = field(default_factory=dict)


class DescribedDevice:
    """A description in the form that the workflow reads; see ``core.ports.DeviceData``.

    Each method raises ConfigError if the program has put something into the description that can't be sent.
    """

    def __init__(self, description: DeviceDescription) -> None:
        self._description = description

    def identity(self) -> Identity:
        pairs = _pairs("identity", self._description.identity)
        if not pairs:
            raise _unusable(["identity must have an attribute that identifies the device, such as a serial number"])
        return Identity.from_key_values(KeyValues(pairs, ()))

    def inventory(self) -> Sequence[KeyValues]:
        return [KeyValues(_pairs("inventory", self._description.inventory), ())]

    def provides(self) -> Provides:
        described = self._description
        names = {"device_type": described.device_type, "artifact_name": described.artifact_name}
        if wrong := [f"{name} must be text, and not empty" for name, value in names.items() if not _is_name(value)]:
            raise _unusable(wrong)
        others = dict(_pairs("provides", described.provides))
        return Provides(described.device_type, described.artifact_name, MappingProxyType(others))


def _pairs(what: str, attributes: Mapping[str, AttributeValue]) -> tuple[tuple[str, str], ...]:
    """Keys and values as text.

    Raises:
        ConfigError: some attributes can't be sent; the error names all of them.
    """
    if not _is_a(Mapping, attributes):
        raise _unusable([f"{what} must be a mapping, such as a dict"])
    wrong = [
        f"a name in {what} is {name!r:.80}: it must be text, and not empty" for name in attributes if not _is_name(name)
    ]
    pairs = []
    for name, value in attributes.items():
        try:
            pairs += [(name, text) for text in _texts(value)]
        except TypeError as error:
            wrong.append(f"{what}[{name!r:.80}] is {error}; it must be text, a number, or a list of them")
    if wrong:
        raise _unusable(wrong)
    return tuple(pairs)


def _texts(value: AttributeValue) -> Iterator[str]:
    is_list = _is_a(Sequence, value) and not isinstance(value, (str, bytes, bytearray))
    for one in value if is_list else (value,):  # type: ignore[union-attr]  # a sequence then
        if isinstance(one, str):
            yield one
        elif isinstance(one, (int, float)):
            yield json.dumps(one)
        else:
            raise TypeError(f"a list with a {type(one).__name__}" if is_list else f"a {type(one).__name__}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_a(kind: type[Any], value: object) -> bool:
    """Whether a value has its annotated type; not every program is checked by a type checker."""
    return isinstance(value, kind)


def _unusable(faults: Sequence[str]) -> ConfigError:
    remedy = "correct the DeviceDescription"
    return ConfigError([Diagnostic("API03", f"cannot use the device's description: {one}", remedy) for one in faults])
