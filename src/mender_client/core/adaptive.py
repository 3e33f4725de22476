"""Plans an adaptive download: which blocks of an indexed payload are on the device already, and what must be fetched.

Blocks are looked for by the hashes of the index, which are only a hint. Nothing here is believed: whoever takes a block
from where it was found compares its hash again.
"""

from __future__ import annotations

import struct
from array import array
from hashlib import sha256
from itertools import pairwise

from mender_client.dataclass import dataclass

from .artifact.block_index import BLOCK_BYTES, HASH_BYTES, BlockIndex

REQUESTS_PER_MIB = 30
"""Stored bytes between two runs of members are fetched along with them, the smallest gaps first, until there are no
more requests than so many a MiB: each takes a round trip."""

LARGEST_GAP_BYTES = 64 * 1024
"""More is not fetched to save a request."""

MOST_GAP_BYTES = 4 * 1024 * 1024
"""Nor is more than that fetched to save requests, all gaps together: the link may be paid by the megabyte."""

SMALLEST_GAP_BYTES = 1024
"""Less costs no more than a request."""

MOST_SHARE = 0.7
"""Of the Artifact; an ordinary download is simpler when more than that must be fetched anyway."""

_MIB = 1024 * 1024

ZEROS = bytes(BLOCK_BYTES)
MISSING, ZERO = 0, 1
_FIRST = 2
"""Where a block comes from: nowhere, it is all zeros, or the number of a block of the seeds and this."""

_MOST_PROBES = 64
"""For the place of a hash in the table. A hostile index gains nothing by hashes that go to the same place: the block
counts as missing."""

_hash_of = struct.Struct("=Q").unpack_from


@dataclass(frozen=True)
class Found:
    """A block in a seed.

    Attributes:
        seed: the number of the seed.
        block: the number of the block in it.
    """

    seed: int
    block: int


class BlockMap:
    """For each block of a payload, where it is found.

    Blocks are kept in arrays and not as objects: there are 262,144 in a GiB.

    Args:
        index: of the payload.
    """

    def __init__(self, index: BlockIndex) -> None:
        self._index = index
        self._hashes = memoryview(index.hashes).cast("Q")
        self._sources = array("I", bytes(4 * len(self._hashes)))
        self._table, self._mask = array("I"), 0
        self._seeds: list[tuple[int, bool]] = []
        self._end = _FIRST
        self._find_zeros()
        self._make_table()

    def _find_zeros(self) -> None:
        blocks = len(self._hashes)
        if not blocks:
            return
        sources, (zero,) = self._sources, _hash_of(sha256(ZEROS).digest())
        for block, value in enumerate(self._hashes):
            if value == zero:
                sources[block] = ZERO
        start, end = self._index.block_span(blocks - 1)
        (zero,) = _hash_of(sha256(ZEROS[: end - start]).digest())
        sources[-1] = ZERO if self._hashes[-1] == zero else MISSING

    def _make_table(self) -> None:
        """A hash table with open addressing, which holds the number of the first block of each hash, plus one."""
        self.missing_blocks = self._sources.count(MISSING)
        size = 1 << (self.missing_blocks * 2).bit_length()
        self._table, self._mask = array("I", bytes(4 * size)), size - 1
        table, mask, hashes = self._table, self._mask, self._hashes
        for block, source in enumerate(self._sources):
            if source == ZERO:
                continue
            value = hashes[block]
            place = value & mask
            for step in range(1, _MOST_PROBES):
                other = table[place]
                if not other:
                    table[place] = block + 1
                    break
                if hashes[other - 1] == value:
                    break
                place = (place + step) & mask

    def _first_with(self, value: int) -> int:
        """The first block with a hash, or -1."""
        table, mask, hashes = self._table, self._mask, self._hashes
        place = value & mask
        for step in range(1, _MOST_PROBES):
            other = table[place]
            if not other:
                return -1
            if hashes[other - 1] == value:
                return other - 1
            place = (place + step) & mask
        return -1

    def begin_seed(self, blocks: int, *, is_overwritten: bool = False) -> None:
        """Begin to look through a seed.

        Args:
            blocks: how many it has.
            is_overwritten: the payload's largest file is written there while it is put together, so that a block is of
                use only until its own place has come.
        """
        self._seeds.append((self._end, is_overwritten))
        self._end += blocks

    def look_through(self, block: int, piece: bytes | bytearray, size: int) -> None:
        """Look for blocks in a piece of the seed that was begun last.

        Args:
            block: the number of the first block.
            piece: whole blocks; of the last block of the seed, as much as there is.
            size: how many bytes of it count.
        """
        base, is_overwritten = self._seeds[-1]
        sources, hashes, blocks, find = self._sources, self._hashes, len(self._hashes), self._first_with
        view = memoryview(piece)
        found = 0
        for offset in range(0, size, BLOCK_BYTES):
            if not piece.startswith(ZEROS, offset):
                (value,) = _hash_of(sha256(view[offset : min(offset + BLOCK_BYTES, size)]).digest())
                target = block if block < blocks and hashes[block] == value else find(value)  # most are where they were
                if target >= 0 and not sources[target] and not (is_overwritten and block < target):
                    sources[target] = base + block
                    found += 1
            block += 1
        self.missing_blocks -= found

    def share(self) -> None:
        """Let blocks that are missing come from where a block of the same content is; to be called after the search."""
        sources = self._sources
        for block, source in enumerate(sources):
            if source:
                continue
            first = self._first_with(self._hashes[block])
            if first >= 0 and sources[first] and not self._is_overwritten_before(sources[first], block):
                sources[block] = sources[first]
                self.missing_blocks -= 1

    def _is_overwritten_before(self, source: int, target: int) -> bool:
        found = self._found(source)
        return self._seeds[found.seed][1] and found.block < target

    def _found(self, source: int) -> Found:
        seed = max(number for number, (base, _) in enumerate(self._seeds) if base <= source)
        return Found(seed, source - self._seeds[seed][0])

    def forget_seed(self, seed: int) -> None:
        """What comes from a seed is missing: the seed can't be read any more."""
        base = self._seeds[seed][0]
        end = self._seeds[seed + 1][0] if seed + 1 < len(self._seeds) else self._end
        for block, source in enumerate(self._sources):
            if base <= source < end:
                self._sources[block] = MISSING
                self.missing_blocks += 1

    def is_zero(self, block: int) -> bool:
        """Whether a block is all zeros."""
        return self._sources[block] == ZERO

    def find(self, block: int) -> Found | None:
        """Where a block is found; None for one that is missing or all zeros."""
        source = self._sources[block]
        return self._found(source) if source >= _FIRST else None

    def count_in_row(self, block: int, end: int) -> int:
        """How many blocks from this one on, up to ``end``, come from one place: a row in a seed, or zeros."""
        sources = self._sources
        step = sources[block] >= _FIRST
        last = self._seeds_end(sources[block])
        count = 1
        while block + count < end and sources[block + count] == sources[block] + step * count < last:
            count += 1
        return count

    def _seeds_end(self, source: int) -> int:
        return next((base for base, _ in self._seeds if base > source), self._end)

    def missing_members(self) -> bytearray:
        """For each member, 1 if it must be fetched: it holds a missing block, or bytes that no hash is of."""
        index = self._index
        members = bytearray(len(index.lengths))
        if index.begin:
            members[0] = 1
        for block, source in enumerate(self._sources):
            if source == MISSING:
                members[index.member_of(block)] = 1
        return members


@dataclass(frozen=True)
class Run:
    """Neighbouring members that one request fetches: those from ``first`` up to, not including, ``end``."""

    first: int
    end: int


@dataclass(frozen=True)
class Plan:
    """What is to be fetched.

    Attributes:
        runs: the members, in their order.
        fetched_bytes: their stored size; what the index and the rest of the Artifact take comes on top.
        stored_bytes: the stored size of all members.
    """

    runs: tuple[Run, ...]
    fetched_bytes: int
    stored_bytes: int

    @property
    def requests(self) -> int:
        """The number of requests."""
        return len(self.runs)

    @property
    def share(self) -> float:
        """The share of the payload that is fetched, from 0 to 1."""
        return self.fetched_bytes / self.stored_bytes if self.stored_bytes else 1.0

    @property
    def is_worthwhile(self) -> bool:
        """Whether it saves enough to be done."""
        return self.share <= MOST_SHARE


def plan_fetch(index: BlockIndex, missing: bytes | bytearray, *, first: int = 0) -> Plan:
    """Decide which members are fetched together.

    Args:
        index: of the payload.
        missing: for each member, whether it must be fetched.
        first: the members before this one are left out: they are there as they are stored.
    """
    offsets = index.offsets()
    runs: list[Run] = []
    member = missing.find(1, first)
    while member >= 0:
        end = missing.find(0, member)
        runs.append(Run(member, len(missing) if end < 0 else end))
        member = missing.find(1, runs[-1].end)
    fetched_bytes = sum(offsets[run.end] - offsets[run.first] for run in runs)
    gaps = [offsets[run.first] - offsets[before.end] for before, run in pairwise(runs)]
    is_closed, requests, left = bytearray(len(gaps)), len(runs), MOST_GAP_BYTES
    for number in sorted(range(len(gaps)), key=gaps.__getitem__):
        gap, most = gaps[number], REQUESTS_PER_MIB * (fetched_bytes + index.stored_bytes) / _MIB
        if gap > min(LARGEST_GAP_BYTES, left) or (gap > SMALLEST_GAP_BYTES and requests <= most):
            break
        is_closed[number], requests, fetched_bytes, left = 1, requests - 1, fetched_bytes + gap, left - gap
    merged = runs[:1]
    for closed, run in zip(is_closed, runs[1:], strict=True):
        if closed:
            merged[-1] = Run(merged[-1].first, run.end)
        else:
            merged.append(run)
    fetched_bytes = sum(offsets[run.end] - offsets[run.first] for run in merged)
    return Plan(tuple(merged), fetched_bytes, offsets[-1] - offsets[first])


def is_block(piece: memoryview, block: int, index: BlockIndex) -> bool:
    """Whether these bytes have the hash of a block."""
    return sha256(piece).digest()[:HASH_BYTES] == index.hashes[block * HASH_BYTES : (block + 1) * HASH_BYTES]
