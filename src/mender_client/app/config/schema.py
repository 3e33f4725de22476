"""``mender.conf`` as JSON Schema, draft 2020-12, for editors and pipelines; generated from the declared keys.

It covers a single file. A schema can't reject a key that is given twice in different case, a missing server or
partner key (either may be in the other file), or ``5.0`` in place of a whole number.
"""

from __future__ import annotations

from collections.abc import Iterable

from mender_client import TYPE_CHECKING

from .keys import ACCEPTED_KEYS, CLOSED_OBJECTS, RETIRED_KEYS, Key
from .kinds import any_case
from .settings import KEYS

if TYPE_CHECKING:
    from typing import Any

    Schema = dict[str, Any]


def build_schema() -> Schema:
    """The schema as a JSON document."""
    described = _described()
    groups = sorted({name.partition(".")[0] for name in described if "." in name})
    inside = {group: [name for name in described if name.startswith(f"{group}.")] for group in groups}
    definitions = {**described, **{group: _object(names, group) for group, names in inside.items()}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mender.conf",
        "description": "Configuration of mender-python-client. Keys are the same in upper and lower case.",
        **_object([name for name in definitions if "." not in name], ""),
        "allOf": [_not_both("ServerURL", "Servers"), _not_both("ArtifactVerifyKey", "ArtifactVerifyKeys")],
        "$defs": definitions,
    }


def _described() -> dict[str, Schema]:
    own = {key.name: _definition(key) for key in KEYS}
    accepted = {name: {"description": "Used by other Mender clients; has no effect here."} for name in ACCEPTED_KEYS}
    retired = {
        name: {"description": "No longer used by other Mender clients.", "deprecated": True} for name in RETIRED_KEYS
    }
    return {**own, **accepted, **retired}


def _definition(key: Key) -> Schema:
    default = list(key.default) if isinstance(key.default, tuple) else key.default
    shown = {"examples": [key.example]} if key.example is not None else {}
    return {"description": f"{key.help} ({key.form})", "default": default, **shown, **key.kind.schema()}


def _object(names: Iterable[str], group: str) -> Schema:
    """An object with these keys: editors offer ``properties``; ``patternProperties`` also accepts other case."""
    known = {name.removeprefix(f"{group}.") if group else name: {"$ref": f"#/$defs/{name}"} for name in names}
    document: Schema = {
        "type": "object",
        "properties": known,
        "patternProperties": {_any_case(name): reference for name, reference in known.items()},
    }
    if group in CLOSED_OBJECTS:
        document["additionalProperties"] = False
    elif not group:  # a key of such an object, written outside of it with a dot
        outside = {rf"^{any_case(name)}\.": False for name in CLOSED_OBJECTS}
        document["patternProperties"] = {**document["patternProperties"], **outside}
    return document


def _any_case(name: str) -> str:
    return f"^{any_case(name)}$"


def _not_both(one: str, other: str) -> Schema:
    """At least one of the two is missing or empty."""
    empty = {"enum": ["", []]}
    return {"anyOf": [{"patternProperties": {_any_case(name): empty}} for name in (one, other)]}
