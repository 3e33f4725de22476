"""``key=value`` text: what identity and inventory scripts print, and what device_type and artifact_info contain."""

from __future__ import annotations

from collections.abc import Iterable

from mender_client.dataclass import dataclass


@dataclass(frozen=True)
class KeyValues:
    """Parsed ``key=value`` text.

    Attributes:
        pairs: keys and values in their order; a key may repeat.
        malformed: the lines that are not ``key=value``.
    """

    pairs: tuple[tuple[str, str], ...]
    malformed: tuple[str, ...]


def parse_key_values(text: str) -> KeyValues:
    """Split each line of a text at its first ``=``.

    Values are kept as they are, except for the line end, because even a space would change an identity. Blank lines
    are skipped; a line without ``=`` or with nothing before it is malformed.
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


def parse_key_value_file(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of a hand-edited file, without surrounding blanks, comments and a byte order mark."""
    lines = (line for line in text.removeprefix("\ufeff").split("\n") if not line.lstrip().startswith("#"))
    return tuple((key.strip(), value.strip()) for key, value in parse_key_values("\n".join(lines)).pairs)


def group_by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Gather the values of each key, keys in order of their first appearance."""
    grouped: dict[str, list[str]] = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in grouped.items()}
