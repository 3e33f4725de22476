"""Changes to valid input: random ones to bytes and text, and ones that respect the structure of JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

ODD = [b"\0", b"\xff", b"\x80", b"/", b"..", b"\n", b"0", b"7", b"9", b"-1", b"\0" * 512, b"ustar", b'"', b"{", b"["]

ODD_TEXTS = [
    *("", " ", "\0", "\n", "\r\nX-Injected: 1", "\t", "=", ":", ";", ",", "/", "..", "*", "%00", "\\", '"', "'"),
    *(
        "\x1b[2J\x1b]0;x\x07",
        "\x9b2J",
        "\x7f",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\ud800",
        "\udcff",
        "\U0001f600",
        "é" * 40,
    ),
    *("١٢٣", "²", "１２", "1_000", "-1", "+1", "0x10", "1e9", "00", "9" * 18, "9" * 19, "9" * 25, "9" * 5000, "NaN"),  # noqa: RUF001 - odd on purpose
    *("x" * 300, "x" * 70_000, "../../etc/passwd", "file:///etc/passwd", "http://[::1", "http://h:99999/", "//h/"),
    *("2015-10-21T07:28:00Z", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 -9999", "bytes 0-0/1"),
    *("true", "null", "{}", "[]", "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----", "MIIB"),
]


class Raw(str):
    """A placeholder in a document for JSON that no value can represent."""

    __slots__ = ()


ODD_VALUES: Sequence[Any] = [
    *(None, True, False, 0, -1, 0.5, 1, 2**31, 2**63, 2**64, -(2**63), [], {}, [None], [[]], {"": ""}, ["x"] * 200),
    *map(Raw, ("NaN", "-Infinity", "1e999", "-0", "9" * 25, "9" * 4200, "9" * 5000, '"\\ud800"', '"\\u0000"', "01")),
    *map(Raw, ("[" * 300 + "]" * 300, "[" * 900 + "]" * 900, "[" * 50_000, '{"a":' * 400 + "1" + "}" * 400, "{", "")),
    Raw('{"a":' * 50_000),
    *ODD_TEXTS,
]


def mutate_bytes(rng: random.Random, content: bytes, odd: Sequence[bytes] = ODD) -> bytes:
    """Change, cut, duplicate, insert or overwrite bytes at a random place."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not changed:
            break
        at = rng.randrange(rng.choice((len(changed), min(len(changed), 6000))))
        match rng.randrange(7):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.randrange(256)
            case 2:
                del changed[at : at + rng.choice((1, 16, 512, len(changed)))]
            case 3:
                changed[at:at] = rng.choice(odd)
            case 4:
                piece = rng.choice(odd)
                changed[at : at + len(piece)] = piece
            case 5:
                block = at // 512 * 512
                changed[block:block] = changed[block : block + 512 * rng.randrange(1, 4)]
            case _:
                size = rng.choice((4, 16, 512))
                other = rng.randrange(len(changed))
                changed[at : at + size] = changed[other : other + size]
    return bytes(changed)


def mutate_text(rng: random.Random, text: str) -> str:
    """Insert, replace, cut, repeat or exchange text; occasionally only an odd text remains."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        match rng.randrange(6):
            case 0:
                text = text[:start] + rng.choice(ODD_TEXTS) + text[start:]
            case 1:
                text = text[:start] + rng.choice(ODD_TEXTS) + text[end:]
            case 2:
                text = text[:start] + text[end:]
            case 3:
                text = (text[:start] + text[start:end] * rng.choice((2, 3, 100)) + text[end:])[:200_000]
            case 4:
                text = text[:start] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[start + 1 :]
            case _:
                if rng.randrange(4) == 0:
                    text = rng.choice(ODD_TEXTS)
    return text


def mutate_value(rng: random.Random, value: Any) -> Any:
    """Change a random part of a JSON value."""
    if isinstance(value, dict) and value and rng.randrange(5):
        return _mutate_object(rng, value)
    if isinstance(value, list) and value and rng.randrange(4):
        changed = list(value)
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                del changed[at]
            case 1:
                changed = changed * (rng.choice((2, 200)) if len(changed) < 1000 else 1)
            case _:
                changed[at] = mutate_value(rng, changed[at])
        return changed
    if isinstance(value, str) and rng.randrange(2):
        return mutate_text(rng, value)
    return rng.choice(ODD_VALUES)


def _mutate_object(rng: random.Random, value: dict[str, Any]) -> dict[str, Any]:
    changed = dict(value)
    key = rng.choice(list(changed))
    match rng.randrange(8):
        case 0:
            del changed[key]
        case 1:
            changed[rng.choice((key.upper(), key.title(), mutate_text(rng, key)))] = changed.pop(key)
        case 2:
            changed[mutate_text(rng, key)] = rng.choice(ODD_VALUES)
        case 3:
            changed[Twice(key)] = rng.choice(ODD_VALUES)
        case _:
            changed[key] = mutate_value(rng, changed[key])
    return changed


class Twice(str):
    """A key that is written although the same key is present already."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def write_json(value: Any) -> str:
    """Write a document with elements that no JSON library would write."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{write_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_json, value)) + "]"
    return json.dumps(value)


def json_case(rng: random.Random, originals: Sequence[Any]) -> bytes:
    """Make a broken document from one of these values; most of the results are still JSON."""
    value = rng.choice(originals)
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = mutate_value(rng, value)
    data = write_json(value).encode("utf-8", "surrogatepass")
    match rng.randrange(12):
        case 0:
            return mutate_bytes(rng, data)
        case 1:
            return data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
        case 2:
            return data + rng.choice((b"\0", b"\n\n", b"{}", b","))
    return data
