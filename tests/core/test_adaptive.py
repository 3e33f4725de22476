"""The plan of an adaptive download: what is found in seeds, and what is downloaded."""

from __future__ import annotations

import random
import zlib
from array import array
from hashlib import sha256
from itertools import pairwise

import pytest

from core.artifact.forge import firsts_of, full_counts
from mender_client.core.adaptive import BlockMap, Found, Plan, Run, is_block, plan_fetch
from mender_client.core.artifact.block_index import BLOCK_BYTES, HASH_BYTES, MEMBER_BYTES, BlockIndex


def block(number: int) -> bytes:
    """A block that differs from the others; number 0 is all zeros."""
    return random.Random(number).randbytes(BLOCK_BYTES) if number else bytes(BLOCK_BYTES)


def blocks(*numbers: int) -> bytes:
    """Consecutive blocks."""
    return b"".join(map(block, numbers))


def index_of(content: bytes, begin: int = 0) -> BlockIndex:
    """The index of a payload."""
    cuts = [0, *range(begin or MEMBER_BYTES, len(content), MEMBER_BYTES), len(content)]
    members = [content[start:end] for start, end in pairwise(cuts)]
    lengths = array("H", [len(zlib.compress(one)) for one in members])
    pieces = [content[start : start + BLOCK_BYTES] for start in range(begin, len(content), BLOCK_BYTES)]
    hashes = b"".join(sha256(one).digest()[:HASH_BYTES] for one in pieces)
    return BlockIndex(len(content), begin, lengths, firsts_of(full_counts(len(content), begin)), hashes, 100)


def searched(index: BlockIndex, *seeds: bytes, is_overwritten: bool = False) -> BlockMap:
    """A block map after a search of these seeds."""
    block_map = BlockMap(index)
    for seed in seeds:
        block_map.begin_seed(-(-len(seed) // BLOCK_BYTES), is_overwritten=is_overwritten)
        for start in range(0, len(seed), 2 * BLOCK_BYTES):
            piece = seed[start : start + 2 * BLOCK_BYTES]
            block_map.look_through(start // BLOCK_BYTES, piece, len(piece))
    block_map.share()
    return block_map


def test_blocks_are_found_wherever_they_are() -> None:
    """A block is found at its own position in a seed, at another position, or in a later seed."""
    block_map = searched(index_of(blocks(1, 2, 3, 4)), blocks(1, 3, 9), blocks(8, 4))
    assert [Found(0, 0), None, Found(0, 1), Found(1, 1)] == [block_map.find(one) for one in range(4)]
    assert 1 == block_map.missing_blocks


def test_zeros_come_from_nowhere() -> None:
    """A block of zeros needs no seed, even if it is a short last block."""
    block_map = BlockMap(index_of(blocks(0, 1, 0) + bytes(100)))
    assert [True, False, True, True] == [block_map.is_zero(one) for one in range(4)]
    assert 1 == block_map.missing_blocks


def test_a_short_last_block_is_found() -> None:
    """The last block of a payload is compared up to the end of the payload."""
    content = blocks(1) + block(2)[:700]
    assert Found(0, 1) == searched(index_of(content), content).find(1)


def test_the_same_content_is_found_once_for_all() -> None:
    """Blocks with the same content share the position where it was found."""
    block_map = searched(index_of(blocks(1, 2, 1, 1)), blocks(9, 1))
    assert [Found(0, 1), None, Found(0, 1), Found(0, 1)] == [block_map.find(one) for one in range(4)]


def test_a_seed_that_is_overwritten_serves_only_what_lies_ahead() -> None:
    """In the partition that is being written, a block can be used until its position is overwritten."""
    block_map = searched(index_of(blocks(1, 2, 3, 2)), blocks(2, 5, 3, 1), is_overwritten=True)
    assert [Found(0, 3), None, Found(0, 2), None] == [block_map.find(one) for one in range(4)]


def test_a_seed_can_be_forgotten() -> None:
    """If a seed becomes unreadable, only the blocks found in it become missing."""
    block_map = searched(index_of(blocks(1, 2, 0)), blocks(1), blocks(2))
    block_map.forget_seed(0)
    assert (None, Found(1, 0), True) == (block_map.find(0), block_map.find(1), block_map.is_zero(2))


def test_rows_end_where_the_place_changes() -> None:
    """Consecutive blocks of one seed form a row, and so do consecutive blocks of zeros."""
    block_map = searched(index_of(blocks(1, 2, 0, 0, 3, 4)), blocks(1, 2, 7, 4), blocks(3))
    assert [2, 1, 2, 1, 1, 1] == [block_map.count_in_row(one, 6) for one in range(6)]
    assert 1 == block_map.count_in_row(2, 3)
    assert 1 == searched(index_of(blocks(1, 2)), blocks(1), blocks(2)).count_in_row(0, 2)


def test_members_with_a_missing_block_are_fetched() -> None:
    """A member is fetched if one of its blocks is missing, the first one also if the block grid starts after it."""
    content = bytes(512) + blocks(*range(1, 20))
    found = blocks(*range(1, 10), 30, *range(11, 20))
    index = index_of(content, 512)
    assert bytearray([1, 0, 1, 0]) == searched(index, found).missing_members()


def index_with(*lengths: int) -> BlockIndex:
    """An index of members with these stored lengths."""
    return BlockIndex(len(lengths) * MEMBER_BYTES, 0, array("H", lengths), firsts_of(b"\x08" * len(lengths)), b"", 0)


def test_neighbours_are_one_request() -> None:
    """Members are fetched in one request if the gap between them costs less than a request, otherwise in two."""
    index = index_with(60_000, 1024, 60_000, 30_000, 40_000, 60_000, 1000)
    assert Plan((Run(0, 3), Run(5, 7)), 182_024, 252_024) == plan_fetch(index, bytes([1, 0, 1, 0, 0, 1, 1]))


def test_requests_are_merged() -> None:
    """The smallest gaps are fetched too until there are at most 30 requests per MiB, and no others."""
    index = index_with(20_000, 30_000, 20_000, 2000, 20_000, 40_000, 20_000, *[40_000] * 2, 20_000)
    missing = bytes([1, 0, 1, 0, 1, 0, 1, 0, 0, 1])
    assert (Run(0, 5), Run(6, 7), Run(9, 10)) == plan_fetch(index, missing).runs
    few = index_with(60_000, 30_000, 60_000)
    assert (Run(0, 1), Run(2, 3)) == plan_fetch(few, bytes([1, 0, 1])).runs


def test_gaps_of_one_size_are_not_all_fetched() -> None:
    """Of gaps of equal size, only as many are fetched too as it takes to get down to 30 requests per MiB."""
    plan = plan_fetch(index_with(*[32_768] * 1000), bytes([1, 0] * 500))
    assert (True, True) == (470 <= plan.requests <= 485, plan.share < 0.54), (plan.requests, plan.share)


def test_few_bytes_are_fetched_to_save_requests() -> None:
    """At most 4 MiB of unneeded bytes are fetched to save requests, however many requests there are."""
    plan = plan_fetch(index_with(*[500, 30_000] * 1000), bytes([1, 0] * 1000))
    assert (1000 - (4 << 20) // 30_000, 500_000 + (4 << 20) // 30_000 * 30_000) == (plan.requests, plan.fetched_bytes)


def test_members_that_are_there_are_not_planned() -> None:
    """Members that are already on disk in their stored form are left out of the plan."""
    plan = plan_fetch(index_with(1000, 2000, 3000), bytes([1, 1, 1]), first=2)
    assert (Plan((Run(2, 3),), 3000, 3000), False) == (plan, plan.is_worthwhile)


def test_nothing_missing() -> None:
    """A payload without missing blocks needs no request."""
    plan = plan_fetch(index_with(1000, 2000), bytes(2))
    assert (0, 0.0, True) == (plan.requests, plan.share, plan.is_worthwhile)


@pytest.mark.parametrize("low_bits", [0, 7])
def test_hashes_that_collide(low_bits: int) -> None:
    """Colliding hashes in an index cost bounded time; blocks that don't fit into the table count as missing."""
    count = 5_000
    hashes = array("Q", [number << 40 | low_bits for number in range(1, count + 1)]).tobytes()
    block_map = BlockMap(BlockIndex(count * BLOCK_BYTES, 0, array("H"), array("I"), hashes, 0))
    block_map.begin_seed(1)
    block_map.look_through(0, block(1), BLOCK_BYTES)
    block_map.share()
    assert count == block_map.missing_blocks


def test_a_block_is_compared() -> None:
    """Bytes match a block if they have its hash."""
    index = index_of(blocks(1, 2))
    assert (True, False) == (is_block(memoryview(block(2)), 1, index), is_block(memoryview(block(2)), 0, index))
