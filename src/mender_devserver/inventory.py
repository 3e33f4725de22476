"""The rules of the inventory: which attributes the server accepts, and which requests it refuses."""

from __future__ import annotations

from typing import Any

from mender_client.errors import ServerError
from mender_devserver.messages import json_kind, load_json

MOST_ATTRIBUTES = 100
LONGEST_NAME = 1024


def read_attributes(body: bytes) -> dict[str, Any]:
    """Decode the attributes of a request; the last of the same name wins.

    Raises:
        ServerError: 400; one invalid attribute makes the whole request invalid.
    """
    prefix = "failed to decode request body: "
    listed = load_json(body, prefix)
    if not isinstance(listed, list):
        raise ServerError(f"{prefix}json: cannot unmarshal {json_kind(listed)} into a list of attributes", status=400)
    attributes: dict[str, Any] = {}
    for one in listed:
        if not isinstance(one, dict):
            raise ServerError(f"{prefix}json: cannot unmarshal {json_kind(one)} into an attribute", status=400)
        problems = [*_name_problems(one.get("name")), *_value_problems(one.get("value"))]
        if problems:
            raise ServerError("; ".join(problems) + ".", status=400)
        attributes[one["name"]] = one["value"]
    return attributes


def merge_attributes(old: dict[str, Any], sent: dict[str, Any], *, replace: bool) -> dict[str, Any]:
    """The inventory after a PUT (``replace``) or a PATCH.

    Raises:
        ServerError: 400 for too many attributes; then nothing changes.
    """
    merged = sent if replace else {**old, **sent}
    if len(merged) > MOST_ATTRIBUTES:
        raise ServerError("the number of attributes in the scope is above the limit", status=400)
    return merged


def _name_problems(name: object) -> list[str]:
    if not isinstance(name, str) or not name:
        return ["name: cannot be blank"]
    if len(name) > LONGEST_NAME:
        return [f"name: the length must be between 1 and {LONGEST_NAME}"]
    return []


def _value_problems(value: object) -> list[str]:
    if isinstance(value, list):
        kinds = [json_kind(one) for one in value]
        for kind in kinds:
            if kind not in ("string", "number"):
                kind = {"array": "slice", "object": "map"}.get(kind, kind)
                return [f"value: array values must be either string or float64, not: {kind}"]
        return ["value: array values must be of consistent type"] if len(set(kinds)) > 1 else []
    if json_kind(value) not in ("string", "number"):
        return ["value: supported types are string, float64, and arrays thereof"]
    return []
