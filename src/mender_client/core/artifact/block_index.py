"""The index of an indexed payload: which bytes each of its compressed members contains, and their hashes.

Such a payload is a sequence of independent gzip members of up to eight blocks of 4 KiB each. They are preceded by empty
members, whose headers contain the index in their extra fields (RFC 1952, section 2.3.1.1): every gzip reads the
sequence as one stream.

The index isn't trusted: it only determines what to fetch, and the manifest's digests decide. So an index that is broken
in any way, or too large for the memory reserved for it, is treated as missing.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from mender_client.dataclass import dataclass

from .stream import Readable, read_up_to

BLOCK_BYTES = 4096
MEMBER_BLOCKS = 8
MEMBER_BYTES = MEMBER_BLOCKS * BLOCK_BYTES
"""The largest expanded size of a member."""
HASH_BYTES = 8
LARGEST_PAYLOAD_BYTES = (8 << 30) + (1 << 20)
"""An image of 8 GiB and what the tar adds. The hashes of its blocks take 16 MiB of memory."""

_VERSION = 1
_HEAD = struct.Struct("<IIIIIIQ")
_PIECE_BYTES = 8000
"""BusyBox rejects an extra field that is larger than its buffer, 8 KiB, as corrupt."""
_SUBFIELD = b"MB"
_GZIP_WITH_EXTRA = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff"
_EMPTY_DEFLATE = b"\x03\x00" + bytes(8)
_PIECE_HEAD_BYTES = len(_GZIP_WITH_EXTRA) + 2 + 4
_PIECE_OVERHEAD_BYTES = _PIECE_HEAD_BYTES + len(_EMPTY_DEFLATE)
_COUNTS = bytes(range(1, MEMBER_BLOCKS + 1))
_LEAST_MEMBER_BYTES = 20
"""The size of an empty gzip member."""


@dataclass(frozen=True)
class BlockIndex:
    """How a payload is divided, and the hashes of its blocks.

    Args:
        size: the expanded size of the payload in bytes.
        begin: where the first block begins; unless it is 0, the first member contains the bytes before it.
        lengths: the stored length of each data member in bytes; typecode H.
        firsts: the first block of each data member with blocks, followed by the number of blocks; typecode I.
        hashes: the first 8 bytes of the SHA-256 of each block of 4 KiB from ``begin`` on; the last block may be
            shorter.
        stored_bytes: the stored size of the index itself, which is where in the payload the first data member begins.
    """

    size: int
    begin: int
    lengths: array[int]
    firsts: array[int]
    hashes: bytes
    stored_bytes: int

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return len(self.hashes) // HASH_BYTES

    def member_span(self, member: int) -> tuple[int, int]:
        """The expanded bytes that a data member contains: start and end."""
        number = member - bool(self.begin)
        if number < 0:
            return 0, self.begin
        first, end = self.firsts[number], self.firsts[number + 1]
        return self.begin + BLOCK_BYTES * first, min(self.begin + BLOCK_BYTES * end, self.size)

    def blocks_of(self, member: int) -> range:
        """The blocks that a data member contains."""
        number = member - bool(self.begin)
        return range(0) if number < 0 else range(self.firsts[number], self.firsts[number + 1])

    def block_span(self, block: int) -> tuple[int, int]:
        """The expanded bytes that a block covers: start and end."""
        start = self.begin + BLOCK_BYTES * block
        return start, min(start + BLOCK_BYTES, self.size)

    def member_of(self, block: int) -> int:
        """The data member that contains a block."""
        return bisect_right(self.firsts, block) - 1 + bool(self.begin)

    def offsets(self) -> array[int]:
        """Where each data member begins, in stored bytes after the index, and where the last one ends; typecode Q."""
        return array("Q", accumulate(self.lengths, initial=0))


@dataclass(frozen=True)
class IndexReading:
    """What was found at the start of a payload.

    Args:
        index: the index, or None.
        pending: bytes that were read but belong to what follows.
        problem: why the index can't be used, if there is something like one; "" otherwise.
    """

    index: BlockIndex | None
    pending: bytes = b""
    problem: str = ""


def count_blocks(size: int, begin: int) -> int:
    """The number of blocks of a payload whose first block begins at ``begin``."""
    return -(-(size - begin) // BLOCK_BYTES)


def encode_index(size: int, begin: int, lengths: array[int], counts: bytes, hashes: bytes) -> bytes:
    """Build the index as it is stored.

    Args:
        size: as in ``BlockIndex``.
        begin: as in ``BlockIndex``.
        lengths: as in ``BlockIndex``.
        counts: the number of blocks of each data member with blocks.
        hashes: as in ``BlockIndex``.
    """
    # imported when needed: most devices never need it
    import zlib

    body = zlib.compress(_little_endian(lengths).tobytes() + counts + hashes, 9)
    pieces = -(-(_HEAD.size + len(body)) // _PIECE_BYTES)
    stored_bytes = _HEAD.size + len(body) + pieces * _PIECE_OVERHEAD_BYTES
    content = _HEAD.pack(_VERSION, stored_bytes, BLOCK_BYTES, MEMBER_BLOCKS, len(lengths), begin, size) + body
    starts = range(0, len(content), _PIECE_BYTES)
    return b"".join(_piece(content[start : start + _PIECE_BYTES]) for start in starts)


def read_index(source: Readable, stored_bytes: int, announce: Callable[[int], object]) -> IndexReading:
    """Read the index at the start of a gzip payload, and not a byte more.

    Args:
        source: the payload as it is stored.
        stored_bytes: its stored size.
        announce: called with the stored size of the index as soon as that is known.

    Returns:
        The index; or None, and the bytes that an ordinary decoder has to read first. All other bytes that were read
        belong to complete, empty gzip members.
    """
    return _IndexReader(source, stored_bytes).read(announce)


class _Broken(Exception):
    """There is no index, or one that can't be used."""


class _IndexReader:
    def __init__(self, source: Readable, stored_bytes: int) -> None:
        self._source = source
        self._stored_bytes = stored_bytes
        self._pending = b""

    def read(self, announce: Callable[[int], object]) -> IndexReading:
        try:
            return IndexReading(self._read(announce))
        except _Broken as broken:
            return IndexReading(None, self._pending, str(broken))

    def _read(self, announce: Callable[[int], object]) -> BlockIndex:
        content = self._read_piece(None)
        if len(content) < _HEAD.size:
            raise _Broken("its index is cut off")
        version, index_bytes, block_bytes, member_blocks, members, begin, size = _HEAD.unpack_from(content)
        if version != _VERSION or (block_bytes, member_blocks) != (BLOCK_BYTES, MEMBER_BLOCKS):
            raise _Broken(f"its index is of version {version}, or for other sizes of blocks than {BLOCK_BYTES}")
        if not (begin < MEMBER_BYTES and begin <= size and 0 < size <= LARGEST_PAYLOAD_BYTES):
            raise _Broken(f"its index is for {size} bytes, more than a device reserves memory for, or nonsense")
        blocks = count_blocks(size, begin)
        if not -(-blocks // MEMBER_BLOCKS) <= members - bool(begin) <= blocks:
            raise _Broken(f"its index says that it has {members} parts")
        body = _Body(members, members - bool(begin), blocks)
        left = index_bytes - len(content) - _PIECE_OVERHEAD_BYTES
        is_whole = left == 0 or (left > 0 and len(content) == _PIECE_BYTES)
        if not is_whole or index_bytes > body.most_stored_bytes or index_bytes >= self._stored_bytes:
            raise _Broken(f"its index says that it has {index_bytes} bytes")
        announce(index_bytes)
        body.take(content[_HEAD.size :])
        while left:
            piece_bytes = min(_PIECE_BYTES, left - _PIECE_OVERHEAD_BYTES)
            if piece_bytes < 1:
                raise _Broken("its index is cut off")
            body.take(self._read_piece(piece_bytes))
            left -= piece_bytes + _PIECE_OVERHEAD_BYTES
        lengths, counts, hashes = body.finish()
        if counts.translate(None, _COUNTS) or sum(counts) != blocks:
            raise _Broken("its index doesn't say which blocks its parts contain")
        if min(lengths) < _LEAST_MEMBER_BYTES or index_bytes + sum(lengths) != self._stored_bytes:
            raise _Broken("its index doesn't fit its stored size")
        firsts = array("I", accumulate(counts, initial=0))
        return BlockIndex(size, begin, lengths, firsts, hashes, index_bytes)

    def _read_piece(self, expected_bytes: int | None) -> bytes:
        """Read a piece of the index; the length of the first one isn't known."""
        head = self._take(_PIECE_HEAD_BYTES)
        content_bytes = int.from_bytes(head[-2:], "little")
        if head != _piece_head(content_bytes):
            raise _Broken("" if expected_bytes is None else "its index is cut off")
        if content_bytes > _PIECE_BYTES or expected_bytes not in (None, content_bytes):
            raise _Broken("its index has a piece of a wrong size")
        rest = self._take(content_bytes + len(_EMPTY_DEFLATE))
        if rest[content_bytes:] != _EMPTY_DEFLATE:
            raise _Broken("its index isn't in empty members")
        self._pending = b""
        return rest[:content_bytes]

    def _take(self, count: int) -> bytes:
        """Read bytes, which are pending until their member is known to be complete and empty."""
        buffer = bytearray(count)
        taken = bytes(buffer[: read_up_to(self._source, memoryview(buffer))])
        self._pending += taken
        return taken


class _Body:
    """Expands the body of the index, using no more memory than the result needs.

    Args:
        members: the number of data members.
        counts: the number of data members with blocks.
        blocks: the number of blocks.
    """

    def __init__(self, members: int, counts: int, blocks: int) -> None:
        import zlib

        self._length_bytes = 2 * members
        self._hashes_at = self._length_bytes + counts
        self._size = self._hashes_at + HASH_BYTES * blocks
        self._inflate = zlib.decompressobj()
        self._error = zlib.error
        self._content = bytearray()

    @property
    def most_stored_bytes(self) -> int:
        """An upper bound of the size of an index with such a body, even if the body can't be compressed."""
        return self._size + self._size // 64 + _PIECE_BYTES

    def take(self, piece: bytes) -> None:
        """Expand a further piece, without exceeding the size of the whole body."""
        try:
            self._content += self._inflate.decompress(piece, self._size - len(self._content) + 1)
        except self._error as error:
            raise _Broken(f"its index can't be decompressed ({error})") from error
        if len(self._content) > self._size or self._inflate.unconsumed_tail or self._inflate.unused_data:
            raise _Broken("its index has more content than it should")

    def finish(self) -> tuple[array[int], bytes, bytes]:
        """The lengths, the numbers of blocks, and the hashes."""
        if len(self._content) != self._size or not self._inflate.eof:
            raise _Broken("its index has less content than it should")
        lengths = _little_endian(array("H", bytes(self._content[: self._length_bytes])))
        content = memoryview(self._content)
        return lengths, bytes(content[self._length_bytes : self._hashes_at]), bytes(content[self._hashes_at :])


def _piece_head(content_bytes: int) -> bytes:
    return (
        _GZIP_WITH_EXTRA
        + (content_bytes + 4 & 0xFFFF).to_bytes(2, "little")
        + _SUBFIELD
        + content_bytes.to_bytes(2, "little")
    )


def _piece(content: bytes) -> bytes:
    return _piece_head(len(content)) + content + _EMPTY_DEFLATE


def _little_endian(numbers: array[int]) -> array[int]:
    """Convert between native and little-endian byte order, in either direction."""
    swapped = array("H", numbers)
    if array("H", [1]).tobytes() != b"\x01\x00":
        swapped.byteswap()
    return swapped
