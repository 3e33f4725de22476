"""The JSON documents of the header, read strictly: a value of the wrong kind is named, never guessed at."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from .names import is_one_line
from .refusal import malformed, shown

_LONGEST_NUMBER = 40
"""Digits; longer ones would take quadratic time to convert."""


class Document:
    """A JSON object from the header.

    Args:
        values: the parsed object.
        title: what to call it in messages.
    """

    def __init__(self, values: Mapping[str, Any], title: str) -> None:
        self.values = values
        self.title = title

    def text(self, key: str) -> str | None:
        """Give a string of one line; None when it is absent or null.

        Raises:
            ArtifactError: it is something else, or empty.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if not _is_line(value) or not value:
            raise self._wrong(key, "a string of one line")
        return str(value)

    def line(self, key: str) -> str:
        """Give a string of one line, which may be empty but must be there.

        Raises:
            ArtifactError: it is something else.
        """
        value = self.values.get(key)
        if not _is_line(value):
            raise self._wrong(key, "a string of one line")
        return str(value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Give a list of strings; None when it is absent or null.

        Raises:
            ArtifactError: it is something else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(_is_line(item) for item in value):
            raise self._wrong(key, "a list of strings")
        return tuple(value)

    def child(self, key: str) -> Document | None:
        """Give an object; None when it is absent or null.

        Raises:
            ArtifactError: it is something else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Document(value, f"{key} in {self.title}")

    def only(self, *keys: str) -> None:
        """Refuse keys that this client doesn't know, where not to heed one could do harm.

        Raises:
            ArtifactError: there is another one.
        """
        for key in self.values:
            if key not in keys:
                raise malformed(f"{self.title} holds {shown(key)}, which this client doesn't know")

    def _wrong(self, key: str, wanted: str) -> Exception:
        return malformed(f"{shown(key)} in {self.title} isn't {wanted}")


def _is_line(value: object) -> bool:
    return isinstance(value, str) and is_one_line(value)


def parse_document(content: bytes, title: str) -> Document:
    """Parse a JSON object.

    Raises:
        ArtifactError: it isn't one, holds a key twice, a number without end, or text that isn't Unicode.
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
        raise ValueError("a key is there twice")
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
