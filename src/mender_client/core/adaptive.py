"""Plans an adaptive download: which blocks of an indexed payload are on the device already, and what must be fetched.

Blocks are searched for by the hashes of the index, which are only a hint. No result is trusted: the hash of a block is
compared again when the block is read from where it was found.
"""

from __future__ import annotations

import struct
from array import array
from hashlib import sha256
from itertools import pairwise

from mender_client.dataclass import dataclass

from .artifact.block_index import BLOCK_BYTES, HASH_BYTES, BlockIndex

REQUESTS_PER_MIB = 30
"""The target for the number of requests, each of which takes a round trip: gaps between runs of members are fetched
along with the runs, the smallest first, until there are no more requests per MiB than this."""

LARGEST_GAP_BYTES = 64 * 1024
"""The largest gap that is fetched to save a request."""

MOST_GAP_BYTES = 4 * 1024 * 1024
"""The most bytes of gaps that are fetched to save requests, in total: the connection may be metered."""

SMALLEST_GAP_BYTES = 1024
"""A gap of up to this size costs no more than a request."""

MOST_SHARE = 0.7
"""The largest share of the payload to fetch adaptively; if more is missing, an ordinary download is simpler."""

_MIB = 1024 * 1024

ZEROS = bytes(BLOCK_BYTES)
MISSING, ZERO = 0, 1
_FIRST = 2
"""The source of a block: none, zeros, or the number of a block in all seeds, counted from ``_FIRST``."""

_MOST_PROBES = 64
"""How many places of the table are tried for a hash. A hostile index gains nothing from colliding hashes: the block
counts as missing."""

_hash_of = struct.Struct("=Q").unpack_from


@dataclass(frozen=True)
class Found:
    """A block in a seed.

    Attributes:
        seed: the number of the seed.
        block: the number of the block in the seed.
    """

    seed: int
    block: int


class BlockMap:
    """Where each block of a payload is found.

    Blocks are kept in arrays, not as objects: a GiB has 262,144 of them.

    Args:
        index: the index of the payload.
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
        """Make a hash table with open addressing: for each hash, the number of the first block with it, plus one."""
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
        """The first block with this hash, or -1."""
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
        """Begin to search a seed.

        Args:
            blocks: the number of its blocks.
            is_overwritten: whether the payload's largest file is assembled in the seed itself, so that a block is
                usable only until its position is overwritten.
        """
        self._seeds.append((self._end, is_overwritten))
        self._end += blocks

    def look_through(self, block: int, piece: bytes | bytearray, size: int) -> None:
        """Search a piece of the current seed for blocks.

        Args:
            block: the number of the first block.
            piece: whole blocks; only the last block of the seed may be shorter.
            size: how many bytes of the piece are valid.
        """
        base, is_overwritten = self._seeds[-1]
        sources, hashes, blocks, find = self._sources, self._hashes, len(self._hashes), self._first_with
        view = memoryview(piece)
        found = 0
        for offset in range(0, size, BLOCK_BYTES):
            if not piece.startswith(ZEROS, offset):
                (value,) = _hash_of(sha256(view[offset : min(offset + BLOCK_BYTES, size)]).digest())
                target = block if block < blocks and hashes[block] == value else find(value)  # most haven't moved
                if target >= 0 and not sources[target] and not (is_overwritten and block < target):
                    sources[target] = base + block
                    found += 1
            block += 1
        self.missing_blocks -= found

    def share(self) -> None:
        """Take missing blocks from where blocks with the same content were found; to be called after the search."""
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
        """Count the blocks from a seed as missing, because the seed can no longer be read."""
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
        """Where a block was found; None if it is missing or all zeros."""
        source = self._sources[block]
        return self._found(source) if source >= _FIRST else None

    def count_in_row(self, block: int, end: int) -> int:
        """The number of blocks from this one up to ``end`` with the same source: consecutive in a seed, or zeros."""
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
        """For each member, 1 if it must be fetched, because it holds a missing block or bytes without a hash."""
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
    """Adjacent members that are fetched with one request: from ``first`` up to, but not including, ``end``."""

    first: int
    end: int


@dataclass(frozen=True)
class Plan:
    """What to fetch.

    Attributes:
        runs: the members to fetch, in order.
        fetched_bytes: their stored size, not including the index and the rest of the Artifact.
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
        """Whether it saves enough to justify the effort."""
        return self.share <= MOST_SHARE


def plan_fetch(index: BlockIndex, missing: bytes | bytearray, *, first: int = 0) -> Plan:
    """Decide which members are fetched together.

    Args:
        index: the index of the payload.
        missing: for each member, whether it must be fetched.
        first: the first member to consider: those before it are on disk already, as stored.
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
