"""Assembles a payload, from first to last byte, from blocks on the device and downloaded members."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence

from mender_client import TYPE_CHECKING
from mender_client.core.adaptive import BlockMap, Plan, Run, is_block, plan_fetch
from mender_client.core.artifact.block_index import BLOCK_BYTES
from mender_client.core.artifact.stream import read_up_to
from mender_client.core.artifact.tar import END
from mender_client.dataclass import dataclass
from mender_client.errors import StorageError

from .stream import AdaptiveError, ArtifactStream

if TYPE_CHECKING:
    from mender_client.core.artifact import BlockIndex
    from mender_client.core.ports import RewrittenArtifact, Seed

_logger = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
_PIECE_BLOCKS = PIECE_BYTES // BLOCK_BYTES
_LARGEST_MEMBER_BYTES = 1 << 16

_MOST_BAD_BLOCKS = 16
"""A seed with more blocks that have changed since the scan is no longer used."""

_NOTHING = bytes(PIECE_BYTES)


class _LostSeedError(Exception):
    """A seed can no longer be used; the arguments are its number and the reason."""


def _lies(text: str) -> AdaptiveError:
    return AdaptiveError("DWN25", f"cannot use the index of the Artifact: {text}")


@dataclass(frozen=True)
class Source:
    """A seed, and the offset of its first block."""

    seed: Seed
    begin: int = 0
    is_left: bool = False

    @property
    def size(self) -> int:
        """The size of its blocks in bytes; 0 if it can't be read."""
        try:
            return max(0, self.seed.size() - self.begin)
        except StorageError:
            return 0


@dataclass(kw_only=True, eq=False, repr=False)
class Assembly:
    """The expanded payload, from its first byte to its last; see ``core.artifact.Readable``.

    Attributes:
        start: the offset in the Artifact at which the first data member begins.
        end: the offset at which the payload ends.
        first: the number of leading members that are already available in stored (compressed) form.
        output: the file that the payload is written to; None if it isn't written.
    """

    index: BlockIndex
    start: int
    end: int
    block_map: BlockMap
    plan: Plan
    first: int
    sources: Sequence[Source]
    stream: ArtifactStream
    output: RewrittenArtifact | None

    def __post_init__(self) -> None:
        self._offsets = self.index.offsets()
        self._members = len(self.index.lengths)
        self._memory = memoryview(bytearray(PIECE_BYTES))
        self._stored = memoryview(bytearray(_LARGEST_MEMBER_BYTES))
        self._ready = self._memory[:0]
        self._member = 0
        self._bad_blocks = [0 for _ in self.sources]
        self._runs = iter(self.plan.runs)
        self._run = Run(0, self.first) if self.first else self._next_run()

    def _next_run(self) -> Run:
        return next(self._runs, Run(self._members, self._members))

    def readinto(self, buffer: memoryview, /) -> int:
        """Read expanded bytes.

        Raises:
            AdaptiveError: the payload can't be assembled.
            MenderError: as ``ArtifactStream.readinto``.
        """
        if not self._ready and self._member < self._members:
            self._ready = self._put_together()
            if self._member == self._members:
                self._finish()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _finish(self) -> None:
        if self.output is not None:
            self.output.write(bytes(-self.index.size % 512) + END)
        self.stream.ask_until(None)

    def _put_together(self) -> memoryview:
        """The next members, expanded: all up to the next one that must be downloaded, or that one itself."""
        if self._member == self._run.end:
            self._run = self._next_run()
        if self._member >= self._run.first:
            piece = self._memory[: self._span(self._member, self._member + 1)]
            self._fetch(self._member, self._run.end, piece)
            self._write(piece)
            self._member += 1
            return piece
        end = min(self._end_of_piece(self._member), self._run.first)
        try:
            return self._copy(self._member, end)
        except _LostSeedError as lost:
            self._do_without(lost)
            return self._put_together()

    def _end_of_piece(self, member: int) -> int:
        """The first member that no longer fits into a piece beginning with this one."""
        block = self.index.blocks_of(member).start + _PIECE_BLOCKS
        return self._members if block >= self.index.blocks else self.index.member_of(block)

    def _span(self, first: int, end: int) -> int:
        return self.index.member_span(end - 1)[1] - self.index.member_span(first)[0]

    def _fetch(self, member: int, run_end: int, piece: memoryview) -> None:
        """Download a member, the first of a run that ends at ``run_end``.

        Raises:
            AdaptiveError: it doesn't match the index.
        """
        if self.stream.arriving < self.start + self._offsets[member + 1]:
            # only the end of the Artifact follows the last member
            self.stream.ask_until(None if run_end == self._members else self.start + self._offsets[run_end])
        stored = self._stored[: self.index.lengths[member]]
        inflate = zlib.decompressobj(wbits=31)
        try:
            is_whole = read_up_to(self.stream, stored) == len(stored)
            expanded = inflate.decompress(stored, len(piece) + 1)
        except zlib.error as error:
            raise _lies(f"a part can't be decompressed ({error})") from error
        if not (is_whole and inflate.eof) or inflate.unused_data or len(expanded) != len(piece):
            raise _lies("a part has the wrong length")
        piece[:] = expanded
        if self._bad_in(member, piece):
            raise _lies("a part has the wrong hash")

    def _bad_in(self, member: int, piece: memoryview) -> int:
        blocks = self.index.blocks_of(member)
        starts = range(0, len(piece), BLOCK_BYTES)
        pairs = zip(blocks, starts, strict=False)
        return sum(not is_block(piece[start : start + BLOCK_BYTES], block, self.index) for block, start in pairs)

    def _copy(self, first: int, end: int) -> memoryview:
        """Copy members from seeds; a member with a block that has changed since the scan is downloaded.

        Raises:
            _LostSeedError: a seed can no longer be used.
        """
        index, offsets = self.index, self._offsets
        piece = self._memory[: self._span(first, end)]
        begin = index.member_span(first)[0]
        rows = list(self._rows(index.blocks_of(first).start, index.blocks_of(end - 1).stop))
        bad: set[int] = set()
        for row in rows:
            part = piece[index.block_span(row.start)[0] - begin : index.block_span(row.stop - 1)[1] - begin]
            self._copy_row(row, part, bad)
        sources = [self._source_of(row) for row in rows]
        is_resumed = any(source is not None and source.is_left for source in sources)
        if not bad:
            self.stream.skip(offsets[end] - offsets[first], is_resumed=is_resumed)
        else:
            for member in range(first, end):
                start = index.member_span(member)[0] - begin
                if member in bad:
                    self._fetch(member, member + 1, piece[start : start + self._span(member, member + 1)])
                else:
                    self.stream.skip(index.lengths[member], is_resumed=is_resumed)
        self._write(piece, rows, has_changed=bool(bad))
        self._member = end
        return piece

    def _rows(self, block: int, end: int) -> Iterator[range]:
        while block < end:
            count = self.block_map.count_in_row(block, end)
            yield range(block, block + count)
            block += count

    def _source_of(self, row: range) -> Source | None:
        found = self.block_map.find(row.start)
        return None if found is None else self.sources[found.seed]

    def _copy_row(self, row: range, part: memoryview, bad: set[int]) -> None:
        """Copy adjacent blocks of one seed, and note the members whose blocks have changed since the scan."""
        found = self.block_map.find(row.start)
        if found is None:
            part[:] = _NOTHING[: len(part)]
            return
        source = self.sources[found.seed]
        try:
            source.seed.read(part, source.begin + found.block * BLOCK_BYTES)
        except StorageError as error:
            raise _LostSeedError(found.seed, error.text) from error
        for block, start in zip(row, range(0, len(part), BLOCK_BYTES), strict=True):
            if not is_block(part[start : start + BLOCK_BYTES], block, self.index):
                bad.add(self.index.member_of(block))
                self._bad_blocks[found.seed] += 1
        if self._bad_blocks[found.seed] > _MOST_BAD_BLOCKS:
            raise _LostSeedError(found.seed, f"{source.seed.name} has changed since it was scanned")

    def _do_without(self, lost: _LostSeedError) -> None:
        seed, reason = lost.args
        _logger.info("%s; its blocks are downloaded", reason)
        self.block_map.forget_seed(seed)
        self._runs = iter(plan_fetch(self.index, self.block_map.missing_members(), first=self._member).runs)
        self._run = self._next_run()

    def _write(self, piece: memoryview, rows: Sequence[range] = (), *, has_changed: bool = True) -> None:
        """Write to the output what it doesn't contain yet."""
        if self.output is None:
            return
        found = [self.block_map.find(row.start) for row in rows]
        is_there = not has_changed and all(
            one is not None and self.sources[one.seed].is_left and one.block == row.start
            for one, row in zip(found, rows, strict=True)
        )
        if is_there or (not has_changed and found == [None]):
            self.output.skip(len(piece), are_zeros=not is_there)
        else:
            self.output.write(piece)
