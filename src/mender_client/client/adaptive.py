"""Adaptive downloads: the payload is assembled from blocks on the device and members that are downloaded.

The result is read and verified like any other payload. If it can't be assembled or doesn't match the manifest, the
whole Artifact is downloaded instead, and the adaptive download is not tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mender_client import TYPE_CHECKING
from mender_client.core.adaptive import BlockMap, plan_fetch
from mender_client.core.artifact.block_index import BLOCK_BYTES
from mender_client.core.artifact.rewriting import find_payload
from mender_client.core.artifact.stream import read_up_to
from mender_client.core.resume import RemoteObject
from mender_client.core.text import amount
from mender_client.dataclass import dataclass
from mender_client.errors import StorageError

from .assembly import PIECE_BYTES, Assembly, Source
from .stream import ArtifactStream

if TYPE_CHECKING:
    from mender_client.core.artifact import BlockIndex
    from mender_client.core.artifact.stream import Readable
    from mender_client.core.ports import ArtifactStore, Clock, PartialFile, RewrittenArtifact, Seed, Seeds

_logger = logging.getLogger(__name__)

FIRST_BYTES = 64 * 1024
"""The size of the first request: enough for everything before the payload, and for the head of its index."""

_FIRST_MEMBER_BYTES = 1024
"""How much is requested beyond the index: the first member, which holds only the payload's first tar header."""

_CHECK_BYTES = 4 * 1024 * 1024
"""How often, while seeds are scanned, the client signals that it is alive and checks whether it must stop."""


@dataclass(kw_only=True, eq=False, repr=False)
class AdaptiveDownload:
    """Chooses between an adaptive and an ordinary download; see ``core.artifact.Expander``.

    Attributes:
        partial: the part of the stream that is on disk.
        check_space: checks that there is space for a number of bytes; raises StorageError if there is not.
        is_rewritten: whether the payload is assembled in a file; otherwise an update module reads it directly.
        is_stored: whether an ordinary download is stored on disk.
    """

    stream: ArtifactStream
    partial: PartialFile
    store: ArtifactStore
    seeds: Seeds
    clock: Clock
    alive: Callable[[], None]
    check_space: Callable[[int], None]
    is_rewritten: bool
    is_stored: bool

    def __post_init__(self) -> None:
        self.is_assembling = self.is_declined = False
        self.output: RewrittenArtifact | None = None
        self._opened: list[Seed] = []

    def index_ends_at(self, offset: int) -> None:
        self.stream.ask_until(offset + _FIRST_MEMBER_BYTES)

    def no_index(self, problem: str) -> None:
        self._decline(problem and f"its index can't be used: {problem}")

    def expand(self, index: BlockIndex, start: int, end: int) -> Readable | None:
        if self.stream.is_range_ignored:
            return self._decline("the storage ignores the requested ranges")
        payload = find_payload(self._read_front, start - index.stored_bytes, index.size)
        if self.is_rewritten and payload is None:
            return self._decline("its payload can't be stored uncompressed")
        if self.is_rewritten:
            self.output = self.store.open_rewritten()
            self._opened.append(self.output)
        sources = self._open_seeds(index.begin, 0 if payload is None else payload.expanded_at)
        block_map = self._look_through(index, sources)
        first = _count_stored(index, self._there() - start)
        plan = plan_fetch(index, block_map.missing_members(), first=first)
        if not plan.is_worthwhile:
            share = round(100 * plan.share)
            return self._decline(f"{share} % of it isn't on this device ({amount(plan.fetched_bytes)})")
        if self.output is not None and payload is not None:
            try:
                self.check_space(payload.expanded_at + index.size - self.output.size())
            except StorageError as error:
                return self._decline(error.text)
            self._write_front(self.output, payload.header_at)
            self.output.write(payload.expanded_header(index.size))
        _logger.info(
            "the payload is assembled from %s and %s downloaded in %d requests",
            " and ".join(source.seed.name for source in sources),
            amount(plan.fetched_bytes),
            plan.requests,
        )
        self.is_assembling = True
        return Assembly(
            index=index,
            start=start,
            end=end,
            block_map=block_map,
            plan=plan,
            first=first,
            sources=sources,
            stream=self.stream,
            output=self.output,
        )

    def finish(self) -> RemoteObject | None:
        """Complete the rewritten Artifact, which has been verified; return None if there is none.

        Raises:
            StorageError: it can't be written.
        """
        return None if self.output is None else RemoteObject(self.output.finish())

    def _decline(self, reason: str) -> Readable | None:
        """Fall back to an ordinary download."""
        if reason:
            _logger.info("the whole Artifact is downloaded: %s", reason)
        self.is_declined = True
        self.close()
        self.store.discard_rewritten()
        self.stream.ask_until(None)
        self.stream.is_storing = self.is_stored
        return None

    def _there(self) -> int:
        return max(self.store.partial_size(), self.stream.arriving)

    def _read_front(self, offset: int, size: int) -> bytes:
        buffer = bytearray(size)
        self.partial.seek(offset)
        count = read_up_to(self.partial, memoryview(buffer))
        self.partial.seek(self.stream.offset)
        return bytes(buffer[:count])

    def _write_front(self, output: RewrittenArtifact, size: int) -> None:
        for offset in range(0, size, PIECE_BYTES):
            output.write(self._read_front(offset, min(PIECE_BYTES, size - offset)))

    def _open_seeds(self, begin: int, stored_at: int) -> list[Source]:
        left = [Source(self.output, stored_at + begin, is_left=True)] if self.output is not None else []
        opened = self.seeds.open()
        self._opened += opened
        return [*left, *map(Source, opened)]

    def _look_through(self, index: BlockIndex, sources: Sequence[Source]) -> BlockMap:
        block_map = BlockMap(index)
        memory = bytearray(PIECE_BYTES)
        for number, source in enumerate(sources):
            is_overwritten = source.is_left or (source.seed.is_passive and not self.is_rewritten)
            block_map.begin_seed(-(-source.size // BLOCK_BYTES), is_overwritten=is_overwritten)
            try:
                self._look_through_one(block_map, source, source.size, memory)
            except StorageError as error:
                _logger.info("%s; it is not searched for parts of the Artifact", error.text)
                block_map.forget_seed(number)
        block_map.share()
        return block_map

    def _look_through_one(self, block_map: BlockMap, source: Source, size: int, memory: bytearray) -> None:
        view = memoryview(memory)
        offset = checked_at = 0
        while offset < size and block_map.missing_blocks:
            offset = max(0, source.seed.next_data(source.begin + offset) - source.begin) // BLOCK_BYTES * BLOCK_BYTES
            if offset >= size:
                break
            count = source.seed.read(view[: size - offset], source.begin + offset)
            if not count:
                break
            block_map.look_through(offset // BLOCK_BYTES, memory, count)
            offset += len(memory)
            if offset - checked_at >= _CHECK_BYTES:
                checked_at = offset
                self.alive()
                self.clock.sleep(0)

    def close(self) -> None:
        """Close the seeds."""
        while self._opened:
            self._opened.pop().close()
        self.output = None


def _count_stored(index: BlockIndex, there: int) -> int:
    """The number of leading members that are already available in stored (compressed) form."""
    count = 0
    for length in index.lengths:
        there -= length
        if there < 0:
            break
        count += 1
    return count
