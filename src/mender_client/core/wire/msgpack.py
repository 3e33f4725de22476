"""MessagePack as used by device connect: reading is bounded, and a whole number can be written in 8 bytes.

The server reads some numbers only as int64 (``0xd3``), whatever their value, while general libraries write the shortest
form. Data from a peer may claim to have 2**32 members or be nested without limit: so a document may have at most
``MOST_MEMBERS`` values and ``MOST_LEVELS`` levels, and no memory is reserved for bytes that have not arrived.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass

if TYPE_CHECKING:
    from typing import Any

MOST_LEVELS = 16
MOST_MEMBERS = 4096
_EXTENSION_SIZES = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i",
    0xD3: ">q",
}  # fmt: skip
_LENGTHS = {
    0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xC7: ">B", 0xC8: ">H", 0xC9: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
    0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I",
}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


@dataclass(frozen=True)
class Int64:
    """A whole number that is written as int64."""

    value: int


@dataclass(frozen=True)
class Extension:
    """A value of an extension type; -1 is a time stamp."""

    kind: int
    data: bytes


def pack(value: Any) -> bytes:
    """Encode a value: None, bool, int, float, str, bytes, ``Int64``, ``Extension``, or a list or mapping of these."""
    out = bytearray()
    _pack(out, value)
    return bytes(out)


def _pack(out: bytearray, value: Any) -> None:
    if value is None or value is True or value is False:
        out.append(0xC0 if value is None else 0xC2 + value)
    elif isinstance(value, str):
        data = value.encode("utf-8", "replace")
        _pack_head(out, len(data), (0xA0, 32), (0xD9, 0xDA, 0xDB))
        out += data
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _pack_head(out, len(value), (0, 0), (0xC4, 0xC5, 0xC6))
        out += value
    elif isinstance(value, Int64):
        out += struct.pack(">Bq", 0xD3, value.value)
    elif isinstance(value, int):
        _pack_int(out, value)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, Extension):
        _pack_extension(out, value)
    elif isinstance(value, Mapping):
        _pack_head(out, len(value), (0x80, 16), (0, 0xDE, 0xDF))
        for name, inner in value.items():
            _pack(out, name)
            _pack(out, inner)
    elif isinstance(value, (list, tuple)):
        _pack_head(out, len(value), (0x90, 16), (0, 0xDC, 0xDD))
        for inner in value:
            _pack(out, inner)
    else:
        raise TypeError(f"cannot pack a {type(value).__name__}")


def _pack_head(out: bytearray, size: int, fix: tuple[int, int], marks: tuple[int, int, int]) -> None:
    first, limit = fix
    if size < limit:
        out.append(first + size)
    elif marks[0] and size < 1 << 8:
        out += struct.pack(">BB", marks[0], size)
    elif size < 1 << 16:
        out += struct.pack(">BH", marks[1], size)
    else:
        out += struct.pack(">BI", marks[2], size)


def _pack_int(out: bytearray, value: int) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
    elif 0 <= value < 1 << 8:
        out += struct.pack(">BB", 0xCC, value)
    elif 0 <= value < 1 << 16:
        out += struct.pack(">BH", 0xCD, value)
    elif 0 <= value < 1 << 32:
        out += struct.pack(">BI", 0xCE, value)
    elif value >= 0:
        out += struct.pack(">BQ", 0xCF, value)
    else:
        out += struct.pack(">Bq", 0xD3, value)


def _pack_extension(out: bytearray, value: Extension) -> None:
    size = len(value.data)
    fixed = [mark for mark, one in _EXTENSION_SIZES.items() if one == size]
    if fixed:
        out.append(fixed[0])
    else:
        _pack_head(out, size, (0, 0), (0xC7, 0xC8, 0xC9))
    out += struct.pack(">b", value.kind)
    out += value.data


def unpack(data: bytes) -> Any:
    """Decode the only value in the data. Binary data is returned as ``bytes``, a time stamp as an ``Extension``.

    Raises:
        ValueError: there is no value, more than one, or one that is too large.
    """
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes after the value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._members = 0
        self.at = 0

    def value(self, level: int) -> Any:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise ValueError(f"more than {MOST_MEMBERS} values")
        mark = self._take(1)[0]
        if mark < 0x80 or mark >= 0xE0:
            return mark if mark < 0x80 else mark - 0x100
        if mark < 0xC0:
            return self._fixed(mark, level)
        if mark in _CONSTANTS:
            return _CONSTANTS[mark]
        if mark in _NUMBERS:
            return self._number(_NUMBERS[mark])
        if mark in _EXTENSION_SIZES:
            return self._extension(_EXTENSION_SIZES[mark])
        if mark in _LENGTHS:
            return self._sized(mark, self._number(_LENGTHS[mark]), level)
        raise ValueError("byte 0xc1 is not a value")

    def _fixed(self, mark: int, level: int) -> Any:
        if mark < 0x90:
            return self._map(mark & 0xF, level)
        return self._list(mark & 0xF, level) if mark < 0xA0 else self._text(mark & 0x1F)

    def _sized(self, mark: int, size: int, level: int) -> Any:
        if mark <= 0xC6:
            return self._take(size)
        if mark <= 0xC9:
            return self._extension(size)
        if mark <= 0xDB:
            return self._text(size)
        return self._list(size, level) if mark <= 0xDD else self._map(size, level)

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise ValueError("it ends in the middle of a value")
        taken, self.at = self._data[self.at : end], end
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self, size: int) -> str:
        return self._take(size).decode("utf-8", "replace")

    def _extension(self, size: int) -> Extension:
        kind = self._number(">b")
        return Extension(kind, self._take(size))

    def _list(self, size: int, level: int) -> list[Any]:
        self._enter(size, level)
        return [self.value(level + 1) for _ in range(size)]

    def _map(self, size: int, level: int) -> dict[Any, Any]:
        self._enter(size, level)
        found: dict[Any, Any] = {}
        for _ in range(size):
            name = self.value(level + 1)
            if not isinstance(name, (str, int)):
                raise ValueError("a name that is not text")
            found[name] = self.value(level + 1)
        return found

    def _enter(self, size: int, level: int) -> None:
        if level >= MOST_LEVELS:
            raise ValueError(f"nested more than {MOST_LEVELS} levels deep")
        if size > MOST_MEMBERS:
            raise ValueError(f"more than {MOST_MEMBERS} values")
