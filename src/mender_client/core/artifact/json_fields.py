"""Parses the JSON documents of the header strictly: a value of the wrong type is an error that names its key."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .names import is_one_line
from .refusal import malformed, shown

_LONGEST_NUMBER = 40
"""In digits: the time to convert a number is quadratic."""


class Document:
    """A JSON object from the header. Every method raises ArtifactError if the value has another type.

    Args:
        values: the parsed object.
        title: what to call it in messages.
    """

    def __init__(self, values: Mapping[str, Any], title: str) -> None:
        self.values = values
        self.title = title

    def text(self, key: str) -> str | None:
        """A non-empty string of one line; None if it is absent or null."""
        if self.values.get(key) is None:
            return None
        value = self.line(key)
        self._check(key, value != "", "a string of one line")
        return value

    def line(self, key: str) -> str:
        """A string of one line, which may be empty."""
        value = self.values.get(key)
        self._check(key, _is_line(value), "a string of one line")
        return str(value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of strings; None if it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        self._check(key, isinstance(value, list) and all(map(_is_line, value)), "a list of strings")
        return tuple(value)

    def child(self, key: str) -> Document | None:
        """An object; None if it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        self._check(key, isinstance(value, dict), "an object")
        return Document(value, f"{key} in {self.title}")

    def only(self, *keys: str) -> None:
        """Refuse all keys but these, because ignoring an unknown one could do harm."""
        for key in self.values:
            if key not in keys:
                raise malformed(f"{self.title} contains {shown(key)}, which this client doesn't know")

    def _check(self, key: str, is_right: bool, wanted: str) -> None:
        if not is_right:
            raise malformed(f"{shown(key)} in {self.title} isn't {wanted}")


def _is_line(value: object) -> bool:
    return isinstance(value, str) and is_one_line(value)


def parse_document(content: bytes, title: str) -> Document:
    """Parse a JSON object.

    Raises:
        ArtifactError: it isn't one, or contains a duplicate key, a number out of range, or invalid Unicode.
    """
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_number,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise malformed(f"{title} isn't valid JSON ({_first_words(error)})") from error
    if not isinstance(value, dict):
        raise malformed(f"{title} isn't a JSON object")
    return Document(value, title)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _first_words(error: Exception) -> str:
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__
