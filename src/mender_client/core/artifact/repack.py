"""Adds an index to an Artifact that was written without one: only the payload is compressed again.

Version, manifest, signature and header remain the same, byte for byte. The manifest contains the digests of the
payload's uncompressed files, so the Artifact and its signature remain valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from mender_client.errors import ArtifactError

from .block_index import BlockIndex
from .codec import compression_of, open_decoder
from .indexed import IndexedPayload, Indexing
from .limits import Limits
from .manifest import PAYLOAD
from .reader import ArtifactReader, NewDigest
from .refusal import malformed
from .stream import Readable
from .tar import END, TarReader
from .writer import Recorder, write_indexed

_CHUNK_BYTES = 128 * 1024


class IndexNote:
    """An ``Expander`` that only records the index.

    Attributes:
        index: the index, if there is one; None before the payload begins.
        start: where the first data member begins, in bytes from the start of the Artifact.
        end: where the payload ends.
    """

    def __init__(self) -> None:
        self.index: BlockIndex | None = None
        self.start = self.end = 0

    def index_ends_at(self, offset: int) -> None:
        pass

    def no_index(self, problem: str) -> None:
        pass

    def expand(self, index: BlockIndex, start: int, end: int) -> Readable | None:
        self.index, self.start, self.end = index, start, end
        return None


def index_artifact(
    open_source: Callable[[], AbstractContextManager[Readable]],
    out: BinaryIO,
    indexing: Indexing,
    new_digest: NewDigest | None = None,
) -> None:
    """Copy an Artifact and add an index to its payload; the caller should verify the result.

    Args:
        open_source: opens the Artifact; called twice. The first time, the Artifact is verified.
        out: where to write the copy.
        indexing: how to compress.
        new_digest: as in ``ArtifactReader``.

    Raises:
        ArtifactError: the Artifact is broken, already has an index, or has no payload files to index.
    """
    with open_source() as stream:
        aligned_at = _verify(stream, new_digest)
    with open_source() as stream:
        recorder = Recorder(stream)
        tar = TarReader(recorder, "the Artifact", Limits())
        payload = _open_payload(tar, recorder, out)
        write_indexed(out, IndexedPayload(_pieces(payload), aligned_at, indexing))
    out.write(END)


def _verify(stream: Readable, new_digest: NewDigest | None) -> int:
    """Verify the Artifact, and return where in its expanded payload the first of the largest files begins."""
    note = IndexNote()
    reader = ArtifactReader(stream, accept_augmented=True, new_digest=new_digest, expander=note)
    largest, found = -1, None
    for file in reader.payload_files():
        if file.size > largest:
            largest, found = file.size, file.offset
    reader.finish()
    if note.index is not None:
        raise ArtifactError("ART71", "cannot index the Artifact: it has an index", remedy="use it as it is")
    if found is None:
        raise ArtifactError("ART72", "cannot index the Artifact: it has no payload files", remedy="install it as it is")
    return found


def _open_payload(tar: TarReader, recorder: Recorder, out: BinaryIO) -> Readable:
    """Copy what precedes the payload, and open the expanded payload."""
    while member := tar.next_member():
        compression = compression_of(member.name, PAYLOAD)
        if compression is not None:
            recorder.stop()
            return open_decoder(tar, compression, member.name, Limits())
        tar.finish_member()
        out.write(recorder.take())
    raise malformed(f"{PAYLOAD} is missing")


def _pieces(payload: Readable) -> Iterator[memoryview]:
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    while count := payload.readinto(chunk):
        yield chunk[:count]
