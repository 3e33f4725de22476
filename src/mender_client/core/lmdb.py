"""Reads an LMDB file: the database in which the Go and C++ clients keep the name of the installed Artifact.

It supports only what a migration needs: all entries of the main database, in files from little-endian machines with
32-bit or 64-bit words. The format is that of LMDB 0.9, as described in its ``mdb.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MAGIC = 0xBEEFC0DE
_BRANCH, _LEAF = 0x01, 0x02
_BIG = 0x01  # the value is on overflow pages
_OTHER = 0x06  # a sub-database or duplicate values, which the clients don't use
_DEEPEST = 32


def read_entries(data: bytes) -> dict[bytes, bytes]:
    """All keys with their values.

    Args:
        data: the content of the file.

    Raises:
        ValueError: it is not an LMDB file, or it is damaged.
    """
    try:
        tree = _Tree(data)
        return dict(tree.entries(tree.root, _DEEPEST))
    except (struct.error, IndexError) as error:
        raise ValueError("it is truncated") from error


class _Tree:
    """The pages of a file, with the root of the newest main database."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._word = next((word for word in (8, 4) if data[word + 8 : word + 12] == struct.pack("<I", _MAGIC)), 0)
        if not self._word:
            raise ValueError("it is not an LMDB file")
        self._header = self._word + 8
        # magic, version, address, size of the map; then two databases, of which the first holds the page size
        databases = self._header + 8 + 2 * self._word
        self._page_size = self._number(databases, 4)
        if not 256 <= self._page_size <= 65536:
            raise ValueError("its page size is invalid")
        self._left = len(data) // self._page_size  # no valid tree has more pages
        self._left_bytes = len(data)  # nor do its entries have more bytes
        database_size = 8 + 5 * self._word
        end = databases + 2 * database_size
        newest = max((0, self._page_size), key=lambda meta: self._number(meta + end + self._word, self._word))
        self.root = self._number(newest + end - self._word, self._word)

    def _number(self, offset: int, size: int) -> int:
        if offset + size > len(self._data):
            raise IndexError
        return int.from_bytes(self._data[offset : offset + size], "little")

    def entries(self, page: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
        """The entries at and below a page."""
        if page == (1 << 8 * self._word) - 1:
            return  # an empty database
        self._left -= 1
        if self._left < 0 or depth == 0:
            raise ValueError("its pages form a loop")
        start = page * self._page_size
        flags = self._number(start + self._word + 2, 2)
        for index in range((self._number(start + self._word + 4, 2) - self._header) // 2):
            node = start + self._number(start + self._header + 2 * index, 2)
            if flags & _BRANCH:
                size = 6 if self._word == 8 else 4
                yield from self.entries(self._number(node, size), depth - 1)
            elif flags & _LEAF:
                yield from self._entry(node)
            else:
                raise ValueError("it contains a page of an unknown kind")

    def _entry(self, node: int) -> Iterator[tuple[bytes, bytes]]:
        size, flags, key_size = struct.unpack_from("<IHH", self._data, node)
        value = node + 8 + key_size
        if flags & _OTHER:
            return
        if flags & _BIG:
            value = self._number(value, self._word) * self._page_size + self._header
        if value + size > len(self._data):
            raise IndexError
        self._left_bytes -= key_size + size
        if self._left_bytes < 0:
            raise ValueError("its entries overlap")
        yield self._data[node + 8 : node + 8 + key_size], self._data[value : value + size]
