"""The rules of the inventory: which attributes the server accepts, and which requests it refuses."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mender_client.errors import ServerError
from mender_devserver.messages import as_object, as_text, json_kind, load_json, pick, size_of
from mender_devserver.timestamps import check_timestamp

MOST_ATTRIBUTES = 100
LONGEST_NAME_BYTES = 1024
_PREFIX = "failed to decode request body: "


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute as it was sent; the real server refuses any timestamp, because it fails to validate it."""

    name: str
    value: Any
    has_timestamp: bool


def read_attributes(body: bytes) -> list[Attribute]:
    """Decode the attributes of a request.

    Raises:
        ServerError: 400; a single invalid attribute makes the whole request invalid.
    """
    listed = load_json(body, _PREFIX)
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise ServerError(f"{_PREFIX}json: cannot unmarshal {json_kind(listed)} into a list of attributes", status=400)
    attributes = [_decode(as_object(one, _PREFIX)) for one in listed]
    for one in attributes:
        if problems := [*_name_problems(one.name), *_timestamp_problems(one), *_value_problems(one.value)]:
            raise ServerError("; ".join(problems) + ".", status=400)
    return attributes


def merge_attributes(old: Mapping[str, Any], sent: Sequence[Attribute], *, replace: bool) -> dict[str, Any]:
    """The inventory after a PUT (``replace``) or a PATCH; if a name is repeated, the last attribute counts.

    Raises:
        ServerError: 400 for too many attributes as sent, including repetitions; 500 for a NUL in a name, as the real
            server answers because of a bug. In both cases nothing changes.
    """
    count = len(sent) if replace else len(old) + len([one for one in sent if one.name not in old])
    if count > MOST_ATTRIBUTES:
        raise ServerError("the number of attributes in the scope is above the limit", status=400)
    if any("\0" in one.name for one in sent):
        raise ServerError("internal error", status=500)
    return {**({} if replace else old), **{one.name: one.value for one in sent}}


def _decode(fields: Mapping[str, Any]) -> Attribute:
    given = pick(fields, "name", "value", "scope", "description", "timestamp")
    name = as_text(given["name"], _PREFIX)
    for field in ("scope", "description"):
        as_text(given[field], _PREFIX)
    has_timestamp = given["timestamp"] is not None
    if has_timestamp:
        check_timestamp(given["timestamp"], _PREFIX)
    return Attribute(sys.intern(name), given["value"], has_timestamp)


def _name_problems(name: str) -> list[str]:
    if not name:
        return ["name: cannot be blank"]
    if size_of(name) > LONGEST_NAME_BYTES:
        return [f"name: the length must be between 1 and {LONGEST_NAME_BYTES}"]
    return []


def _timestamp_problems(attribute: Attribute) -> list[str]:
    return ["timestamp: must be either a string or byte slice"] if attribute.has_timestamp else []


def _value_problems(value: object) -> list[str]:
    if isinstance(value, list):
        return _list_problems([json_kind(one) for one in value])
    if json_kind(value) not in ("string", "number"):
        return ["value: supported types are string, float64, and arrays thereof"]
    return []


def _list_problems(kinds: list[str]) -> list[str]:
    """The problems of a list of values of these kinds: all values must be of the kind of the first one."""
    if kinds and kinds[0] not in ("string", "number"):
        kind = {"array": "slice", "object": "map", "null": "invalid"}.get(kinds[0], kinds[0])
        return [f"value: array values must be either string or float64, not: {kind}"]
    if len(set(kinds)) > 1:
        return ["value: array values must be of consistent type: string or float64"]
    return []
