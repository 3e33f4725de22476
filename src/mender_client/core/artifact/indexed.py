"""Compresses a payload as independent gzip members with their index in front: see ``block_index``.

The payload is read once. Its members go to a temporary file first, since the index that precedes them needs their
lengths. The same payload gives the same bytes, on however many processors.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO

from mender_client.dataclass import dataclass
from mender_client.errors import ArtifactError

from .block_index import BLOCK_BYTES, HASH_BYTES, LARGEST_PAYLOAD_BYTES, MEMBER_BYTES, encode_index

_GROUP_BYTES = 16 * MEMBER_BYTES
_LEVEL = 6
"""The default of gzip; 9 takes three times as long and saves 0.4 %."""
_COPY_BYTES = 1024 * 1024
_GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"


@dataclass(frozen=True)
class Packed:
    """Members that were made of a part of a payload.

    Args:
        members: each as it is stored.
        hashes: those of the part's blocks.
    """

    members: Sequence[bytes]
    hashes: bytes


Apply = Callable[[Callable[[bytes], Packed], Iterator[bytes]], Iterable[Packed]]
"""As ``map``: the results in order. It may work on several processors, with a bounded number of parts in memory."""


@dataclass(frozen=True)
class Indexing:
    """What it takes to write an index.

    Args:
        spool: an empty temporary file.
        apply: how to compress.
    """

    spool: BinaryIO
    apply: Apply = map


class IndexedPayload:
    """A payload that was compressed, but for its place in the Artifact.

    Args:
        pieces: the expanded payload; each piece is used before the next one is taken.
        begin: the offset in it of the file whose blocks are to be aligned: the largest.
        indexing: what it takes.

    Raises:
        ArtifactError: it is larger than what an index is made for.
    """

    def __init__(self, pieces: Iterable[memoryview], begin: int, indexing: Indexing) -> None:
        self._spool = indexing.spool
        begin %= MEMBER_BYTES
        cutter = _Cutter(pieces, begin)
        lengths, hashes = array("H"), bytearray()
        for packed in indexing.apply(pack, cutter.parts()):
            if not begin or lengths:
                hashes += packed.hashes
            for member in packed.members:
                lengths.append(len(member))
                self._spool.write(member)
        self._index = encode_index(cutter.size, begin, lengths, bytes(hashes))
        self.stored_bytes = len(self._index) + sum(lengths)

    def write(self, out: BinaryIO) -> None:
        """Write it."""
        out.write(self._index)
        self._spool.seek(0)
        while piece := self._spool.read(_COPY_BYTES):
            out.write(piece)


class _Cutter:
    """Cuts a payload into parts of whole members.

    Attributes:
        size: the number of bytes so far.
    """

    def __init__(self, pieces: Iterable[memoryview], begin: int) -> None:
        self._pieces = pieces
        self._begin = begin
        self.size = 0

    def parts(self) -> Iterator[bytes]:
        """The bytes before the grid, if any, and then many members at a time."""
        wanted, part = self._begin or _GROUP_BYTES, bytearray()
        for piece in self._pieces:
            self.size += len(piece)
            if self.size > LARGEST_PAYLOAD_BYTES:
                raise ArtifactError(
                    "ART70",
                    f"cannot index the payload: it is larger than {LARGEST_PAYLOAD_BYTES} bytes",
                    remedy="write it without an index",
                )
            rest = piece
            while rest:
                taken = rest[: wanted - len(part)]
                part += taken
                rest = rest[len(taken) :]
                if len(part) == wanted:
                    yield bytes(part)
                    wanted, part = _GROUP_BYTES, bytearray()
        if part:
            yield bytes(part)


def pack(part: bytes) -> Packed:
    """Compress a part of a payload, member by member, and hash its blocks."""
    view = memoryview(part)
    starts = range(0, len(part), MEMBER_BYTES)
    hashes = b"".join(_hash(view[start : start + BLOCK_BYTES]) for start in range(0, len(part), BLOCK_BYTES))
    return Packed([_gzip_member(view[start : start + MEMBER_BYTES]) for start in starts], hashes)


def _hash(block: memoryview) -> bytes:
    return _ZERO_HASH if block == _ZERO_BLOCK else _sha256(block)


def _sha256(block: bytes | memoryview) -> bytes:
    return hashlib.sha256(block).digest()[:HASH_BYTES]


def _gzip_member(content: memoryview) -> bytes:
    return _ZERO_MEMBER if content == _ZERO_CONTENT else _compressed(content)


def _compressed(content: bytes | memoryview) -> bytes:
    """Build a gzip member without time and name; its header is ours, since zlib's own tells the operating system."""
    deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    return _GZIP_HEADER + body + zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")


_ZERO_BLOCK = bytes(BLOCK_BYTES)
_ZERO_HASH = _sha256(_ZERO_BLOCK)
_ZERO_CONTENT = bytes(MEMBER_BYTES)
_ZERO_MEMBER = _compressed(_ZERO_CONTENT)
