"""The index of a payload: it is read as written, not a byte further than its end, and no false index is used."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import random
import struct
import tracemalloc
import zlib
from array import array
from collections.abc import Callable, Iterator

import pytest

from core.artifact.forge import Forge, Trickle, firsts_of, forge, full_counts, outcome, tar, tar_file
from mender_client.core.artifact import ArtifactReader, BlockIndex, Header, Readable
from mender_client.core.artifact.block_index import (
    LARGEST_PAYLOAD_BYTES,
    MEMBER_BYTES,
    IndexReading,
    count_blocks,
    encode_index,
    read_index,
)
from mender_client.errors import ArtifactError

HEAD = struct.Struct("<IIIIIIQ")
IMAGE = random.Random(1).randbytes(100_000) + bytes(300_000)
ARCHIVE = tar(tar_file("file", IMAGE))
BEGIN = 512


def cut(content: bytes, begin: int, size: int) -> list[bytes]:
    """Split a payload as its index says."""
    first = [content[:begin]] if begin else []
    return first + [content[start : start + size] for start in range(begin, len(content), size)]


def packed(archive: bytes = ARCHIVE, begin: int = BEGIN) -> tuple[BlockIndex, bytes]:
    """Make an indexed payload: the index of its members, then the members."""
    members = [gzip.compress(part, mtime=0) for part in cut(archive, begin, MEMBER_BYTES)]
    hashes = b"".join(hashlib.sha256(block).digest()[:8] for block in cut(archive[begin:], 0, 4096))
    firsts = firsts_of(full_counts(len(archive), begin))
    return BlockIndex(len(archive), begin, array("H", map(len, members)), firsts, hashes, 0), b"".join(members)


def counts_of(index: BlockIndex) -> bytes:
    """The number of blocks in each data member."""
    return bytes(end - first for first, end in itertools.pairwise(index.firsts))


def encoded(index: BlockIndex) -> bytes:
    """Encode an index."""
    return encode_index(index.size, index.begin, index.lengths, counts_of(index), index.hashes)


def piece(content: bytes, *, subfield: bytes = b"MB", more: bytes = b"", flags: int = 4) -> bytes:
    """Make an empty gzip member with an extra field."""
    field = subfield + struct.pack("<H", len(content)) + content + more
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(5) + b"\xff" + struct.pack("<H", len(field))
    return head + field + b"\x03\x00" + bytes(8)


def index_by_hand(
    body: bytes,
    *,
    version: int = 1,
    block: int = 4096,
    member: int = 8,
    members: int = 14,
    begin: int = BEGIN,
    size: int = len(ARCHIVE),
    stored: int | None = None,
) -> bytes:
    """Encode an index of one piece with this content."""
    length = len(piece(bytes(HEAD.size) + body))
    stored = length if stored is None else stored
    return piece(HEAD.pack(version, stored, block, member, members, begin, size) + body)


def read(stored: bytes, follows: bytes = b"", *, trickle: int = 1 << 20, size: int | None = None) -> IndexReading:
    """Read an index, and check that the bytes consumed and not given back are whole empty gzip members."""
    stream = Trickle(stored + follows, trickle)
    reading = read_index(stream, len(stored + follows) if size is None else size, lambda _: None)
    taken = stream.given - len(reading.pending)
    assert (stored + follows)[taken : stream.given] == reading.pending
    if taken:
        assert b"" == gzip.decompress((stored + follows)[:taken])
    if reading.index is not None:
        assert len(stored) == stream.given == reading.index.stored_bytes
    return reading


@pytest.mark.parametrize("trickle", [1, 7, 1 << 20])
@pytest.mark.parametrize("begin", [0, BEGIN, 32767])
def test_an_index_is_read_as_it_was_written(begin: int, trickle: int) -> None:
    """An index is read in one piece or in many reads, and not a byte further than its end."""
    index, members = packed(begin=begin)
    got = read(encoded(index), members, trickle=trickle).index
    assert got is not None
    assert (index.size, index.begin, index.lengths, index.hashes) == (got.size, got.begin, got.lengths, got.hashes)


def test_a_large_index_is_stored_in_many_small_pieces() -> None:
    """A large index is stored in pieces, since BusyBox refuses extra fields of more than 8 KiB."""
    size = 100 << 20
    counts = full_counts(size, 512)
    lengths = array("H", random.Random(2).choices(range(20, 65536), k=1 + len(counts)))
    hashes = random.Random(3).randbytes(8 * count_blocks(size, 512))
    stored = encode_index(size, 512, lengths, counts, hashes)
    ends: list[int] = []
    reading = read_index(io.BytesIO(stored), len(stored) + sum(lengths), ends.append)
    assert reading.index == BlockIndex(size, 512, lengths, firsts_of(counts), hashes, len(stored))
    assert [len(stored)] == ends
    sizes = []
    while stored:
        sizes.append(int.from_bytes(stored[10:12], "little"))
        stored = stored[22 + sizes[-1] :]
    assert {8004} == set(sizes[:-1])
    assert 8004 >= sizes[-1]


@pytest.mark.parametrize("begin", [0, 1, BEGIN, 32767])
@pytest.mark.parametrize("size", [1, 4096, 32768, 32769, 100_000, 131_072])
def test_members_and_blocks_cover_the_payload(begin: int, size: int) -> None:
    """Members are adjacent, without gap or overlap, and each block is in the member that the index gives."""
    if begin > size:
        return
    blocks = count_blocks(size, begin)
    firsts = firsts_of(full_counts(size, begin) if size % 2 else bytes([1]) * blocks)
    members = bool(begin) + len(firsts) - 1
    index = BlockIndex(size, begin, array("H", [20] * members), firsts, bytes(8 * blocks), 0)
    spans = [index.member_span(member) for member in range(members)]
    assert [0, *(end for _, end in spans)] == [*(start for start, _ in spans), size]
    assert blocks == index.blocks
    at = begin
    for block in range(blocks):
        start, end = index.block_span(block)
        assert at == start
        at = end
        low, high = index.member_span(index.member_of(block))
        assert low <= start < end <= high
        assert block in index.blocks_of(index.member_of(block))
    assert size == at


def test_the_offsets_are_where_the_members_are() -> None:
    """The stored bytes between two offsets are one gzip member, which contains the bytes of its span."""
    index, members = packed()
    offsets = index.offsets()
    assert len(members) == offsets[-1]
    for member, (start, end) in enumerate(itertools.pairwise(offsets)):
        low, high = index.member_span(member)
        assert ARCHIVE[low:high] == gzip.decompress(members[start:end])


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\x1f",
        gzip.compress(b"", mtime=0),
        gzip.compress(bytes(100_000), mtime=0),
        piece(b"anything", subfield=b"BC"),
        piece(b"", subfield=b"BC"),
        piece(bytes(64_000), subfield=b"BC"),
        piece(b"BC\x02\x00ab", more=b"MB\x00\x00"),
        piece(HEAD.pack(1, 0, 4096, 8, 1, 0, 1), more=b"BC\x02\x00ab"),
        piece(b"first", subfield=b"BC", more=b"MB\x04\x00text"),
        piece(b"text", flags=12) + b"name\0",
        b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\xff\xff" + bytes(70_000),
    ],
)
def test_whatever_else_a_gzip_payload_begins_with_is_no_index(stored: bytes) -> None:
    """A payload with other extra fields, or several or none, is an ordinary payload, without any message."""
    assert (None, "") == (read(stored).index, read(stored).problem)


BODY_BYTES = 2 * 14 + 13 + 8 * count_blocks(len(ARCHIVE), BEGIN)


def lies() -> Iterator[tuple[bytes, str]]:
    """Give indexes that must not be used, each with its message."""
    index, members = packed()
    body = zlib.compress(index.lengths.tobytes() + counts_of(index) + index.hashes)
    yield index_by_hand(body, version=2), "of version 2"
    yield index_by_hand(body, version=0), "of version 0"
    yield index_by_hand(body, block=512), "other sizes of blocks"
    yield index_by_hand(body, block=0), "other sizes of blocks"
    yield index_by_hand(body, member=16), "other sizes of blocks"
    for count in (0, 1, 13, 100, 2**32 - 1):
        yield index_by_hand(body, members=count), f"says that it has {count} parts"
    yield index_by_hand(body, members=15), "less content"
    yield index_by_hand(body, begin=MEMBER_BYTES), "nonsense"
    yield index_by_hand(body, begin=2**32 - 1), "nonsense"
    yield index_by_hand(body, begin=512, size=511), "nonsense"
    for size in (0, LARGEST_PAYLOAD_BYTES + 1, 2**63, 2**64 - 1):
        yield index_by_hand(body, size=size), f"its index is for {size} bytes"
    yield index_by_hand(body, size=LARGEST_PAYLOAD_BYTES, members=300_000), "less content"
    yield index_by_hand(body, size=len(ARCHIVE) - 4096), "more content"
    yield index_by_hand(body, begin=0), "less content"
    for counts in (b"\0" * 13, b"\x09" * 13, b"\xff" * 13, b"\x01" * 13, b"\x08" * 13):
        lie = zlib.compress(index.lengths.tobytes() + counts + index.hashes)
        yield index_by_hand(lie), "which blocks its parts contain"
    right = len(index_by_hand(body))
    for stored in (0, 1, right - 1, right + 1, right + 27, right + len(members), 2**31, 2**32 - 1):
        yield index_by_hand(body, stored=stored), f"says that it has {stored} bytes"
    yield piece(b"short"), "is cut off"
    yield piece(bytes(8001)), "a piece of a wrong size"
    yield index_by_hand(b"no zlib"), "can't be decompressed"
    yield index_by_hand(body[:-1]), "less content"
    yield index_by_hand(body + b"x"), "more content"
    yield index_by_hand(zlib.compress(bytes(BODY_BYTES - 1))), "less content"
    yield index_by_hand(zlib.compress(bytes(BODY_BYTES + 1))), "more content"
    yield index_by_hand(zlib.compress(bytes(4 << 20))), "more content"
    yield index_by_hand(b""), "less content"
    for lengths in ([0] * 14, [65535] * 14, [20] * 14, [*index.lengths[:-1], index.lengths[-1] + 1]):
        lie = zlib.compress(array("H", lengths).tobytes() + counts_of(index) + index.hashes)
        yield index_by_hand(lie), "doesn't fit its stored size"
    whole = index_by_hand(body)
    yield whole[:-1] + b"\x01", "isn't in empty members"
    yield whole[:-10] + gzip.compress(b"x", mtime=0)[10:], "isn't in empty members"


@pytest.mark.parametrize(("stored", "problem"), list(lies()))
def test_no_lie_of_an_index_is_believed(stored: bytes, problem: str) -> None:
    """An index that contradicts itself or the stored size is not used, and the reason is given."""
    _, members = packed()
    reading = read(stored, members)
    assert reading.index is None
    assert problem in reading.problem
    assert reading.problem.startswith("its index ")


def many_pieces() -> tuple[bytes, bytes]:
    """Make an index of three pieces and the members that follow it."""
    archive = random.Random(4).randbytes(10 << 20)
    counts = full_counts(len(archive))
    parts = [piece(b"", subfield=b"BC")] * len(counts)
    hashes = b"".join(hashlib.sha256(block).digest()[:8] for block in cut(archive, 0, 4096))
    return encode_index(len(archive), 0, array("H", map(len, parts)), counts, hashes), b"".join(parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored[:8026],
        lambda stored: stored[:-30],
        lambda stored: stored[:8026] + stored[16052:] + stored[8026:16052],
        lambda stored: stored[:8026] + stored[:8026] + stored[16052:],
        lambda stored: stored[:8026] + piece(stored[8042:12000]) + stored[16052:],
        lambda stored: stored[:8026] + piece(stored[8042:16042], subfield=b"BC") + stored[16052:],
        lambda stored: stored[:8026] + gzip.compress(b"", mtime=0) + stored[16052:],
    ],
)
def test_an_index_in_pieces_must_be_whole(change: Callable[[bytes], bytes]) -> None:
    """An index with a missing, duplicate, short, foreign or misplaced piece isn't used; the payload stays complete."""
    stored, members = many_pieces()
    assert read(stored, members).index is not None
    reading = read(change(stored), members, size=len(stored + members))
    assert reading.index is None
    assert reading.problem


def test_each_cut_of_an_index_counts_as_none() -> None:
    """An index truncated at any byte isn't used, and the bytes read are passed on to the ordinary decoder."""
    index, _ = packed()
    stored = encoded(index)
    for end in range(len(stored)):
        assert read(stored[:end], size=len(stored) + 1000).index is None


def test_a_bomb_in_the_index_takes_no_memory() -> None:
    """The content of an index is expanded to the size in its header, and not a byte further."""
    bomb = index_by_hand(zlib.compress(bytes(4 << 20), 9))
    tracemalloc.start()
    try:
        assert read(bomb, bytes(1000)).index is None
        assert 1 << 20 > tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_memory_of_an_index_is_known_beforehand() -> None:
    """An index takes 8 bytes per block of 4 KiB and a few per member; reading it takes a small multiple of that."""
    size = 1 << 30
    hashes = random.Random(5).randbytes(8 * count_blocks(size, 0))
    counts = full_counts(size)
    lengths = array("H", [20] * len(counts))
    stored = encode_index(size, 0, lengths, counts, hashes)
    stream = io.BytesIO(stored)
    tracemalloc.start()
    try:
        assert read_index(stream, len(stored) + sum(lengths), lambda _: None).index is not None
        assert 6 << 20 > tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Recorder:
    """An ``Expander`` that records its calls, and may have bytes of its own."""

    def __init__(self, expanded: bytes | None = None, then: Callable[[int], object] = lambda _: None) -> None:
        self.told: list[tuple[str, object]] = []
        self._expanded = expanded
        self._then = then

    def index_ends_at(self, offset: int) -> None:
        self.told.append(("ends", offset))

    def no_index(self, problem: str) -> None:
        self.told.append(("none", problem))

    def expand(self, index: BlockIndex, start: int, end: int) -> Readable | None:
        self.told.append(("expand", (start, end)))
        if self._expanded is None:
            return None
        self._then(end)
        return io.BytesIO(self._expanded)


def indexed(stored: bytes | None = None) -> bytes:
    """Forge an Artifact with an indexed payload, or with something else in place of the index."""
    index, members = packed()
    payload = (encoded(index) if stored is None else stored) + members
    return forge(compression="gzip", files=[("file", IMAGE)], payload=payload)


@pytest.mark.parametrize("piece_bytes", [pytest.param(1, marks=pytest.mark.nightly), 7, 1 << 20])
def test_an_indexed_artifact_is_read_like_any_other(piece_bytes: int) -> None:
    """An indexed Artifact is read normally, without an expander and with one that declines."""
    artifact = indexed()
    assert isinstance(outcome(artifact, piece=piece_bytes), Header)
    recorder = Recorder()
    assert isinstance(outcome(artifact, piece=piece_bytes, expander=recorder), Header)
    index, members = packed()
    start = artifact.index(members)
    first = start - len(encoded(index))
    assert [("ends", start), ("expand", (start, start + len(members)))] == recorder.told
    assert encoded(index) == artifact[first:start]


def test_the_payload_may_come_from_elsewhere() -> None:
    """An expander can supply the payload: none of it is read from the Artifact, and it is verified as usual."""
    artifact = indexed()
    for expanded, result in (
        (ARCHIVE, "accepted"),
        (ARCHIVE[:5000] + b"!" + ARCHIVE[5001:], "isn't what the manifest says"),
        (ARCHIVE[:-600], "truncated"),
        (ARCHIVE + b"x", "bytes after its end"),
        (b"", "truncated"),
    ):
        stream = io.BytesIO(artifact)
        recorder = Recorder(expanded, stream.seek)
        try:
            ArtifactReader(stream, expander=recorder).finish()
            assert result == "accepted"
            assert b"" == stream.read()
        except ArtifactError as error:
            assert result in str(error)  # noqa: PT017 - either way is expected once


def test_an_expander_is_told_when_there_is_no_index() -> None:
    """The expander is told why an index is unusable, and the Artifact is read as if it had none."""
    broken = index_by_hand(b"no zlib")
    recorder = Recorder()
    assert isinstance(outcome(indexed(broken), expander=recorder), Header)
    (_, _), (word, problem) = recorder.told
    assert ("none", True) == (word, "can't be decompressed" in str(problem))
    for compression in ("none", "gzip", "xz", "zstd"):
        recorder = Recorder()
        assert isinstance(outcome(Forge(compression=compression).build(), expander=recorder), Header)
        assert [("none", "")] == recorder.told


@pytest.mark.parametrize("piece_bytes", [pytest.param(100, marks=pytest.mark.nightly), 1 << 20])
@pytest.mark.parametrize(("stored", "problem"), [*lies(), (gzip.compress(b"", mtime=0), "")])
def test_a_broken_index_costs_nothing_but_its_use(stored: bytes, problem: str, piece_bytes: int) -> None:
    """With a broken index the outcome is the same as without an expander."""
    del problem
    artifact = indexed(stored)
    plain = outcome(artifact, piece=piece_bytes)
    assert plain == outcome(artifact, piece=piece_bytes, expander=Recorder())
