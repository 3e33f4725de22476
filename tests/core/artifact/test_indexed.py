"""Payloads with an index: split on the grid of the largest file, reproducible, also added to existing Artifacts."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from core.artifact.forge import DATA, REAL, Forge, outcome
from core.artifact.signing import check_with
from keys import RSA
from mender_client.core.artifact import (
    BlockIndex,
    Header,
    Limits,
    PayloadSource,
    Readable,
    module_image,
    rootfs_image,
    sign_artifact,
    write_artifact,
)
from mender_client.core.artifact.block_index import BLOCK_BYTES, LARGEST_PAYLOAD_BYTES
from mender_client.core.artifact.indexed import Apply, IndexedPayload, Indexing, Packed
from mender_client.core.artifact.repack import index_artifact
from mender_client.core.artifact.tar import TarReader
from mender_client.errors import ArtifactError

IMAGE = random.Random(7).randbytes(300_000) + bytes(1_000_000) + b"end" * 10_000


def source(name: str, content: bytes) -> PayloadSource:
    """Make a payload file of bytes."""
    return PayloadSource(name, len(content), lambda: io.BytesIO(content))


def written(*payload: PayloadSource, indexed: bool = True, apply: Apply = map, **spec: Any) -> bytes:
    """Write an Artifact into memory."""
    out = io.BytesIO()
    indexing = Indexing(io.BytesIO(), apply) if indexed else None
    write_artifact(out, module_image("name", ["board"], "app", **spec), payload, indexing=indexing)
    return out.getvalue()


def repacked(artifact: bytes) -> bytes:
    """Add an index to an Artifact."""
    out = io.BytesIO()
    index_artifact(opener(artifact), out, Indexing(io.BytesIO()))
    return out.getvalue()


def opener(artifact: bytes) -> Callable[[], AbstractContextManager[Readable]]:
    """Give a function that opens an Artifact."""
    return lambda: io.BytesIO(artifact)


def members(artifact: bytes) -> dict[str, bytes]:
    """Split an Artifact into its members."""
    tar = TarReader(io.BytesIO(artifact), "it", Limits())
    result = {}
    while member := tar.next_member():
        result[member.name] = tar.read_member(member, 1 << 30)
    return result


class Look:
    """An expander that only observes."""

    def __init__(self) -> None:
        self.index: BlockIndex | None = None
        self.start = self.end = 0

    def index_ends_at(self, offset: int) -> None:
        self.start = offset

    def no_index(self, problem: str) -> None:
        assert problem == ""

    def expand(self, index: BlockIndex, start: int, end: int) -> Readable | None:
        assert self.start == start
        self.index, self.end = index, end
        return None


def read_index_of(artifact: bytes) -> tuple[BlockIndex, bytes]:
    """Verify an Artifact; give its index and its data members."""
    look = Look()
    assert isinstance(outcome(artifact, expander=look, accept_augmented=True), Header)
    assert look.index is not None
    return look.index, artifact[look.start : look.end]


def check_index(artifact: bytes) -> BlockIndex:
    """Check that an index is correct for each member and each block."""
    index, stored = read_index_of(artifact)
    archive = gzip.decompress(stored)
    assert index.size == len(archive)
    for member, (start, end) in enumerate(itertools.pairwise(index.offsets())):
        low, high = index.member_span(member)
        assert archive[low:high] == gzip.decompress(stored[start:end])
    for block in range(index.blocks):
        low, high = index.block_span(block)
        assert hashlib.sha256(archive[low:high]).digest()[:8] == index.hashes[8 * block : 8 * block + 8]
    return index


@pytest.mark.parametrize("before", [0, 1, 100, 20_000, 40_000, 70_000])
def test_the_largest_file_is_cut_into_blocks_from_its_start(before: int) -> None:
    """Whatever precedes the largest file, its blocks are those of the partition to which the file is written."""
    payload = [source("first", b"x" * before), source("image", IMAGE), source("last", b"y" * 5000)]
    artifact = written(*payload)
    index = check_index(artifact)
    image_at = 512 + before + -before % 512 + 512
    assert image_at % (32 * 1024) == index.begin
    first = (image_at - index.begin) // BLOCK_BYTES
    blocks = [IMAGE[start : start + BLOCK_BYTES] for start in range(0, len(IMAGE) // BLOCK_BYTES, BLOCK_BYTES)]
    for number, block in enumerate(blocks, first):
        assert hashlib.sha256(block).digest()[:8] == index.hashes[8 * number : 8 * number + 8]


def test_an_indexed_artifact_says_what_the_other_one_says() -> None:
    """An index changes only how the payload is stored."""
    plain, indexed = written(source("image", IMAGE), indexed=False), written(source("image", IMAGE))
    assert outcome(plain) == outcome(indexed)
    before, after = members(plain), members(indexed)
    assert gzip.decompress(before.pop("data/0000.tar.gz")) == gzip.decompress(after.pop("data/0000.tar.gz"))
    assert before == after


def test_the_same_input_gives_the_same_bytes() -> None:
    """The bytes contain no time, name or operating system, and don't depend on how the work was distributed."""

    def backwards(function: Callable[[bytes], Packed], parts: Iterator[bytes]) -> Iterable[Packed]:
        done = [function(part) for part in reversed(list(parts))]
        return reversed(done)

    artifact = written(source("image", IMAGE))
    assert artifact == written(source("image", IMAGE), apply=backwards)
    index, stored = read_index_of(artifact)
    for start in index.offsets()[:-1]:
        assert b"\x1f\x8b\x08\0\0\0\0\0\0\xff" == stored[start : start + 10]


def test_zeros_cost_nearly_nothing() -> None:
    """A member of zeros takes less than a hundred bytes, and the hashes of its blocks are compressed."""
    index, stored = read_index_of(written(source("image", bytes(8 << 20))))
    assert 100 * 257 > len(stored)
    assert 200 > index.stored_bytes


def test_each_file_is_read_once() -> None:
    """Each file is read only once: the members are kept in a temporary file until the index is written."""
    opened = []

    def open_image() -> io.BytesIO:
        opened.append(1)
        return io.BytesIO(IMAGE)

    written(PayloadSource("image", len(IMAGE), open_image))
    assert [1] == opened


def test_a_file_that_has_changed_its_size_gives_no_artifact() -> None:
    """A file whose size has changed is an error, as without an index."""
    with pytest.raises(ArtifactError) as caught:
        written(PayloadSource("image", len(IMAGE) + 1, lambda: io.BytesIO(IMAGE)))
    assert "[ART34]" in str(caught.value)


def test_a_payload_that_no_device_would_use_the_index_of_gets_none() -> None:
    """A payload whose hashes would exceed a device's memory limit gets no index."""
    piece = memoryview(bytes(LARGEST_PAYLOAD_BYTES // 64 + 1))
    with pytest.raises(ArtifactError) as caught:
        IndexedPayload([piece] * 64, 0, Indexing(io.BytesIO(), lambda _, parts: (Packed([], b"", b"") for _ in parts)))
    assert "[ART70]" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in REAL if b"data/0000.tar" in (DATA / name).read_bytes()])
def test_an_index_is_added_to_the_reference_tool_s_artifacts(name: str) -> None:
    """An index can be added with any compression, to signed and augmented Artifacts; only the payload changes."""
    artifact = (DATA / name).read_bytes()
    header = outcome(artifact, accept_augmented=True)
    assert isinstance(header, Header), header
    if not header.payload.files:
        with pytest.raises(ArtifactError) as caught:
            repacked(artifact)
        assert "[ART72]" in str(caught.value)
        return
    result = repacked(artifact)
    assert header == outcome(result, accept_augmented=True)
    check_index(result)
    payload = next(member for member in members(artifact) if member.startswith("data/"))
    end = artifact.index(payload.encode() + bytes(100 - len(payload)))
    assert artifact[:end] == result[:end]
    assert b"data/0000.tar.gz\0" == result[end : end + 17]


def test_a_signature_stays_valid() -> None:
    """The signature covers the manifest, which lists the payload's files but not how they are stored."""
    signed = io.BytesIO()
    plain = written(source("image", IMAGE), indexed=False)
    sign_artifact(io.BytesIO(plain), signed, lambda manifest: RSA.sign(manifest, padding.PKCS1v15(), SHA256()))
    check = check_with(RSA.public_key())
    assert isinstance(outcome(repacked(signed.getvalue()), check_signature=check), Header)


def test_an_index_added_later_is_the_one_that_would_have_been_written() -> None:
    """An index that is added later equals one that is written with the Artifact."""
    payload = (source("image", IMAGE), source("small", b"x"))
    assert written(*payload) == repacked(written(*payload, indexed=False))


def test_what_has_an_index_gets_no_second_one() -> None:
    """An Artifact with an index is refused, since nothing would change."""
    with pytest.raises(ArtifactError) as caught:
        repacked(written(source("image", IMAGE)))
    assert "[ART71]" in str(caught.value)


@pytest.mark.parametrize("parts", [{"files": ()}, {"tail": b"x" * 1024}, {"payload": b""}])
def test_an_artifact_that_is_broken_or_empty_gets_no_index(parts: dict[str, Any]) -> None:
    """The Artifact is verified before anything is written."""
    out = io.BytesIO()
    with pytest.raises(ArtifactError):
        index_artifact(opener(Forge(**parts).build()), out, Indexing(io.BytesIO()))
    assert b"" == out.getvalue()


def test_a_root_file_system_keeps_its_checksum() -> None:
    """The digest of the image is calculated in the pass that compresses the members."""
    out = io.BytesIO()
    write_artifact(out, rootfs_image("name", ["board"]), [source("i", IMAGE)], indexing=Indexing(io.BytesIO()))
    header = outcome(out.getvalue())
    assert isinstance(header, Header)
    assert hashlib.sha256(IMAGE).hexdigest() == (header.payload.provides or {})["rootfs-image.checksum"]


def test_a_directory_is_a_member_of_its_own() -> None:
    """The first block of an ext4 directory gets a member of its own, and no other block does."""
    entry = b"\x0c\0\x01\x02.\0\0\0"
    files = [random.Random(number).randbytes(BLOCK_BYTES) for number in range(20)]
    for number in (0, 5, 6, 15):
        files[number] = (7).to_bytes(4, "little") + entry + bytes(BLOCK_BYTES - 12)
    files[10] = bytes(20) + entry + bytes(BLOCK_BYTES - 28)
    index = check_index(written(source("image", b"".join(files))))
    counts = [len(index.blocks_of(member)) for member in range(1, len(index.lengths))]
    assert [1, 4, 1, 1, 1, 7, 1, 5] == counts
