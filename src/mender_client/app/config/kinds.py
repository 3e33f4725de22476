"""The kinds of values in ``mender.conf``: for each, a check, and the same rule as JSON Schema.

Check and schema are side by side, so that the parser and ``mender.conf.schema.json`` stay consistent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass

if TYPE_CHECKING:
    from typing import Any

    Schema = dict[str, Any]

_MAXIMUM_SECONDS = 10 * 365 * 86400
_PORT = "[0-9]{0,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_NO_TEXT = r"[\u0000-\u001f\u007f-\u009f\ud800-\udfff]"
"""Control characters and unpaired surrogates, which have no place in file names and headers."""
_HOST = r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._~-]+)?\]"
_ADDRESS = rf"^[Hh][Tt][Tt][Pp][Ss]?://({_HOST})(:({_PORT}))?(/[!-\"$->@-~]*)?$"
"""An address without user, query and fragment, in the regular expression syntax shared by Python and ECMAScript."""


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        check: returns the value to use, or raises ValueError with a message that says what the value must be.
        words: the name of the kind, for people.
        schema: builds the same rule as JSON Schema, draft 2020-12; not called where values are only checked.
        trim: removes insignificant blanks from any value; None where blanks may be significant.
    """

    check: Callable[[Any], Any]
    words: str
    schema: Callable[[], Mapping[str, Any]]
    trim: Callable[[Any], Any] | None = None


def any_case(word: str) -> str:
    """A regular expression that matches an ASCII word in any case; JSON Schema has no flag for that."""
    return "".join(f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else re.escape(letter) for letter in word)


def check_text(value: Any) -> str:
    """Return the value if it is a string without control characters; raises ValueError otherwise."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if re.search(_NO_TEXT, value):
        raise ValueError("must not contain control characters")
    return value


TEXT = Kind(check_text, "text", lambda: {"type": "string", "not": {"pattern": _NO_TEXT}})
SECRET = Kind(check_text, "text, secret", lambda: {**TEXT.schema(), "writeOnly": True})


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


FLAG = Kind(_flag, "true or false", lambda: {"type": "boolean"})


def whole(smallest: int, largest: int) -> Kind:
    """The kind of whole numbers between two bounds, inclusive."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        if not smallest <= value <= largest:
            raise ValueError(f"must be at least {smallest}" if value < smallest else f"must be at most {largest}")
        return value

    def schema() -> Schema:
        return {"type": "integer", "minimum": smallest, "maximum": largest}

    return Kind(check, f"whole number from {smallest} to {largest}", schema)


SECONDS = whole(1, _MAXIMUM_SECONDS)
SECONDS_OR_NONE = whole(0, _MAXIMUM_SECONDS)
BYTES = whole(0, 1 << 50)


def _address(value: Any) -> str:
    text = check_text(value)
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and text.isascii() and " " not in text
        has_more = parts.username is not None or "?" in text or "#" in text
    except ValueError:
        is_right = has_more = False
    if is_right and has_more:
        raise ValueError("must contain neither user, query nor fragment")
    if not is_right or not re.match(_ADDRESS, text):
        raise ValueError("must be an address such as https://mender.example.com")
    return text.rstrip("/")


def trim_blanks(value: Any) -> Any:
    """Strip leading and trailing blanks from all strings in a value."""
    if isinstance(value, list):
        return [trim_blanks(item) for item in value]
    if isinstance(value, dict):
        return {name: trim_blanks(item) for name, item in value.items()}
    return value.strip(" \t\r\n") if isinstance(value, str) else value


def _address_schema() -> Schema:
    return {"anyOf": [{"const": ""}, {"allOf": [TEXT.schema(), {"pattern": _ADDRESS}]}]}


ADDRESS = Kind(_address, "address", _address_schema, trim_blanks)


def _servers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError('must be a list of objects such as {"ServerURL": "https://mender.example.com"}')
    urls = []
    for item in value:
        given = [inner for name, inner in item.items() if name.lower() == "serverurl"]
        if len(given) != 1 or not (url := _address(given[0])):
            raise ValueError('must contain a "ServerURL" in each object')
        urls.append(url)
    return tuple(urls)


def _servers_schema() -> Schema:
    key = f"^{any_case('ServerURL')}$"
    return {
        "type": "array",
        "items": {
            "type": "object",
            "patternProperties": {key: {"allOf": [TEXT.schema(), {"pattern": _ADDRESS}]}},
            "not": {"patternProperties": {key: False}},  # at least one
        },
    }


SERVERS = Kind(_servers, 'list of {"ServerURL": address}', _servers_schema, trim_blanks)


def listed(what: str) -> Callable[[Any], tuple[str, ...]]:
    """A check for a list of non-empty strings; ``what`` is the name of one of them in messages."""

    def check(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError("must be a list of strings")
        texts = tuple(check_text(item) for item in value)
        if not all(texts):
            raise ValueError(f"must not contain an empty {what}")
        return texts

    return check


def _texts_schema() -> Schema:
    return {"type": "array", "items": {**TEXT.schema(), "minLength": 1}}


TEXTS = Kind(listed("text"), "list of strings", _texts_schema, trim_blanks)
PATHS = Kind(listed("path"), "list of paths", _texts_schema)


def one_of(*choices: str) -> Kind:
    """The kind of a choice between words, which are not case-sensitive."""

    def check(value: Any) -> str:
        text = check_text(value).lower()
        if text not in choices:
            raise ValueError("must be one of " + ", ".join(choices))
        return text

    def schema() -> Schema:
        return {**TEXT.schema(), "pattern": f"^({'|'.join(any_case(choice) for choice in choices)})$"}

    return Kind(check, ", ".join(choices[:-1]) + " or " + choices[-1], schema, trim_blanks)
