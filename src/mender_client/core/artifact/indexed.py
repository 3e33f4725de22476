"""Compresses a payload as independent gzip members, preceded by their index: see ``block_index``.

A member has eight blocks, except that the first block of a directory of an ext4 file system is a separate member. One
new file changes inode numbers in most directories, which lie between the files; this way, a device doesn't have to
fetch those files along with the directories.

The payload is read once. Its members go to a temporary file first, since the index that precedes them needs their
lengths. The same payload gives the same bytes, regardless of the number of processors.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
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
    """The members into which a part of a payload was compressed.

    Args:
        members: the members as they are stored.
        counts: the number of blocks in each.
        hashes: the hashes of the part's blocks.
    """

    members: Sequence[bytes]
    counts: bytes
    hashes: bytes


Apply = Callable[[Callable[[bytes], Packed], Iterator[bytes]], Iterable[Packed]]
"""Like ``map``, with the results in order. It may use several processors, with a bounded number of parts in memory."""


@dataclass(frozen=True)
class Indexing:
    """What is needed to write an index.

    Args:
        spool: an empty temporary file.
        apply: how to compress.
    """

    spool: BinaryIO
    apply: Apply = map


class IndexedPayload:
    """A compressed payload with an index, not yet written to the Artifact.

    Args:
        pieces: the expanded payload; each piece is used before the next one is requested.
        begin: the offset in it of the file whose blocks are to be aligned, which is the largest file.
        indexing: what is needed to write the index.
    """

    def __init__(self, pieces: Iterable[memoryview], begin: int, indexing: Indexing) -> None:
        self._spool = indexing.spool
        begin %= MEMBER_BYTES
        cutter = _Cutter(pieces, begin)
        lengths, counts, hashes = array("H"), bytearray(), bytearray()
        for packed in indexing.apply(pack, cutter.parts()):
            if not begin or lengths:
                counts += packed.counts
                hashes += packed.hashes
            for member in packed.members:
                lengths.append(len(member))
                self._spool.write(member)
        self._index = encode_index(cutter.size, begin, lengths, bytes(counts), bytes(hashes))
        self.stored_bytes = len(self._index) + sum(lengths)

    def write(self, out: BinaryIO) -> None:
        """Write the index and the members."""
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
        """The bytes before the first aligned block, if any, and then many members at a time."""
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
    hashes = b"".join(_hash(view[start : start + BLOCK_BYTES]) for start in range(0, len(part), BLOCK_BYTES))
    cuts = [*_cuts(part), len(part)]
    spans = list(pairwise(cuts))
    counts = bytes(-(-(end - start) // BLOCK_BYTES) for start, end in spans)
    return Packed([_gzip_member(view[start:end]) for start, end in spans], counts, hashes)


def _cuts(part: bytes) -> Iterator[int]:
    """Where the members of a part begin."""
    is_alone = True
    for start in range(0, len(part), BLOCK_BYTES):
        was_alone, is_alone = is_alone, part.startswith(_DIRECTORY, start + _DIRECTORY_AT)
        if was_alone or is_alone or start % MEMBER_BYTES == 0:
            yield start


def _hash(block: memoryview) -> bytes:
    return _ZERO_HASH if block == _ZERO_BLOCK else _sha256(block)


def _sha256(block: bytes | memoryview) -> bytes:
    return hashlib.sha256(block).digest()[:HASH_BYTES]


def _gzip_member(content: memoryview) -> bytes:
    return _ZERO_MEMBER if content == _ZERO_CONTENT else _compressed(content)


def _compressed(content: bytes | memoryview) -> bytes:
    """Build a gzip member without time and name; the header isn't zlib's, which contains the operating system."""
    deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    return _GZIP_HEADER + body + zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")


_DIRECTORY_AT, _DIRECTORY = 4, b"\x0c\0\x01\x02.\0\0\0"
"""The start of a directory's first block, after its inode number: the rest of the 12-byte entry for ``.``."""
_ZERO_BLOCK = bytes(BLOCK_BYTES)
_ZERO_HASH = _sha256(_ZERO_BLOCK)
_ZERO_CONTENT = bytes(MEMBER_BYTES)
_ZERO_MEMBER = _compressed(_ZERO_CONTENT)
