"""``artifact diff``: how much of a new Artifact a device would download, by the same plan as on the device."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from tempfile import TemporaryFile, gettempdir

from mender_client.app.exitcodes import ExitCode
from mender_client.client.adaptive import FIRST_BYTES
from mender_client.core.adaptive import BlockMap, plan_fetch
from mender_client.core.artifact import (
    ArtifactReader,
    BlockIndex,
    PayloadSource,
    Readable,
    rootfs_image,
    write_artifact,
)
from mender_client.core.artifact.block_index import BLOCK_BYTES
from mender_client.core.artifact.repack import IndexNote
from mender_client.core.artifact.stream import Counted, read_up_to
from mender_client.core.text import amount
from mender_client.dataclass import asdict, dataclass
from mender_client.errors import ArtifactError
from mender_client.system.digest import choose_digest
from mender_client.system.files import storage_errors

from .files import FileStream, emit, regular_size
from .indexing import indexing_for

_PIECE_BYTES = 64 * BLOCK_BYTES
_FIRST_NAME = b"version\0"
"""The first bytes of an Artifact: the name of its first member."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a device would download.

    Attributes:
        total_bytes: the size of the new Artifact.
        fetched_bytes: how much of it is downloaded; all of it unless ``is_adaptive``.
        requests: the number of requests for that.
        blocks: the number of blocks of its payload.
        missing_blocks: the number of blocks that none of the old files contains.
        is_adaptive: whether enough blocks are present for an adaptive download.
    """

    total_bytes: int
    fetched_bytes: int
    requests: int
    blocks: int
    missing_blocks: int
    is_adaptive: bool

    @property
    def share(self) -> float:
        """The share that is downloaded, from 0 to 1."""
        return self.fetched_bytes / self.total_bytes


def diff(olds: Sequence[str], new: str, *, is_json_wanted: bool) -> ExitCode:
    """Print how much of a new Artifact a device with the old ones would download.

    Args:
        olds: paths of Artifacts, images or partitions.
        new: the path of an Artifact with an index, or of an image, which is compressed as by ``artifact write``.
        is_json_wanted: print JSON.

    Raises:
        ArtifactError: an Artifact is broken, or the new one has no index.
        StorageError: a file can't be read.
    """
    note = IndexNote()
    with _artifact(new) as stream:
        counted = Counted(stream)
        ArtifactReader(counted, accept_augmented=True, new_digest=choose_digest(), expander=note).finish()
    if note.index is None:
        text = f"cannot compare with {new}: it has no index, so devices always download all of it"
        raise ArtifactError("ART73", text, remedy="add one with 'artifact index'")
    blocks = BlockMap(note.index)
    for old in olds:
        _look_through(blocks, old)
    blocks.share()
    difference = _difference(note.index, note, counted.offset, blocks)
    text = json.dumps({**asdict(difference), "share": difference.share}, indent=2)
    emit((text if is_json_wanted else _as_text(difference)).encode() + b"\n")
    return ExitCode.DONE


@contextmanager
def _artifact(path: str) -> Iterator[Readable]:
    """Open an Artifact, or create one from an image in a temporary file."""
    regular_size(path)
    if _is_artifact(path):
        with FileStream(path) as stream:
            yield stream
        return
    directory = Path(gettempdir())
    source = PayloadSource("image", regular_size(path), lambda: FileStream(path))
    with storage_errors("write to", directory), TemporaryFile(dir=directory) as out:
        with indexing_for(directory / "image") as indexing:
            write_artifact(out, rootfs_image("image", ["device"]), [source], indexing=indexing)
        out.seek(0)
        yield out


def _is_artifact(path: str) -> bool:
    with storage_errors("read", Path(path)), FileIO(path) as file:
        return file.read(len(_FIRST_NAME)) == _FIRST_NAME


def _look_through(blocks: BlockMap, old: str) -> None:
    """Search the files of an Artifact, or an image or partition, for blocks."""
    with FileStream(old) as stream:
        if _is_artifact(old):
            reader = ArtifactReader(stream, accept_augmented=True, new_digest=choose_digest())
            for file in reader.payload_files():
                _look_through_one(blocks, file, file.size)
            reader.finish()
        else:
            _look_through_one(blocks, stream, _size(old))


def _size(path: str) -> int:
    """The size in bytes of a file or a partition."""
    with storage_errors("read", Path(path)), FileIO(path) as file:
        return file.seek(0, os.SEEK_END)


def _look_through_one(blocks: BlockMap, stream: Readable, size: int) -> None:
    piece = bytearray(_PIECE_BYTES)
    blocks.begin_seed(-(-size // BLOCK_BYTES))
    block = 0
    while count := read_up_to(stream, memoryview(piece)):
        blocks.look_through(block, piece, count)
        block += -(-count // BLOCK_BYTES)


def _difference(index: BlockIndex, note: IndexNote, total_bytes: int, blocks: BlockMap) -> Difference:
    """Compute what a device downloads: first the front with the index, then the missing blocks, and then the end."""
    front_end = min(max(FIRST_BYTES, note.start), total_bytes)
    offsets = index.offsets()
    there = front_end - note.start
    plan = plan_fetch(index, blocks.missing_members(), first=bisect_right(offsets, there) - 1)
    fetched_bytes = sum(offsets[run.end] - max(offsets[run.first], there) for run in plan.runs)
    is_end_apart = not plan.runs or plan.runs[-1].end < len(index.lengths)
    requests = 1 + (note.start > FIRST_BYTES) + plan.requests + is_end_apart
    is_whole = not plan.is_worthwhile or front_end == total_bytes
    return Difference(
        total_bytes=total_bytes,
        fetched_bytes=total_bytes if is_whole else front_end + fetched_bytes + total_bytes - note.end,
        requests=1 if is_whole else requests,
        blocks=index.blocks,
        missing_blocks=blocks.missing_blocks,
        is_adaptive=plan.is_worthwhile,
    )


def _as_text(difference: Difference) -> str:
    whole = "" if difference.is_adaptive else "; too little is present for an adaptive download"
    share = f"{100 * difference.share:.1f} % of {amount(difference.total_bytes)}"
    return "\n".join(
        (
            f"Fetched   {amount(difference.fetched_bytes)}, {share}{whole}",
            f"Requests  {difference.requests:,}",
            f"Blocks    {difference.missing_blocks:,} of {difference.blocks:,} are missing",
        )
    )
