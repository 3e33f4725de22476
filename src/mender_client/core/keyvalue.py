"""``key=value`` text: what identity and inventory scripts print, and what device_type and artifact_info hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Parsed ``key=value`` text.

    Attributes:
        pairs: key and value in the order in which they stood; a key may repeat.
        malformed: the lines that are no ``key=value``, for whoever has to say so.
    """

    pairs: tuple[tuple[str, str], ...]
    malformed: tuple[str, ...]


def parse_key_values(text: str) -> KeyValues:
    """Split text into pairs at the first ``=`` of each line.

    Values are taken as they stand, because an identity must not change by a space; only the line end goes.
    Blank lines are skipped; a line without ``=`` or with nothing before it is malformed.

    Args:
        text: what a script printed or a file holds.
    """
    pairs: list[tuple[str, str]] = []
    malformed: list[str] = []
    for raw in text.split("\n"):
        line = raw.rstrip("\r")
        if not line.strip():
            continue
        key, separator, value = line.partition("=")
        if separator and key.strip():
            pairs.append((key, value))
        else:
            malformed.append(line)
    return KeyValues(tuple(pairs), tuple(malformed))


def group_by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Gather the values of each key, keys in order of their first appearance."""
    grouped: dict[str, list[str]] = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in grouped.items()}
