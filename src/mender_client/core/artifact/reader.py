"""Reads an Artifact once, from front to back, and uses only what it has verified.

The chain of trust: the signature covers the manifest, and the manifest covers version, header and each payload file by
SHA-256. So everything is verified before it is parsed, and an Artifact with an unacceptable header is refused before
the first byte of the payload is read. Memory usage doesn't depend on the size of the Artifact.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Protocol

from mender_client.dataclass import replace
from mender_client.errors import ArtifactError

from .block_index import BlockIndex, read_index
from .codec import Compression, compression_of, open_decoder
from .header import apply_augment, parse_header
from .json_fields import parse_document
from .limits import Limits
from .manifest import (
    AUGMENT,
    HEADER,
    HEADER_AUGMENT,
    MANIFEST,
    PAYLOAD,
    PAYLOAD_DIRECTORY,
    SIGNATURE,
    VERSION,
    Manifest,
    parse_augment,
    parse_manifest,
)
from .names import NameSet, check_file_name
from .refusal import malformed, mismatched, no_artifact, over_limit, shown, unsupported
from .stream import Counted, Prefixed, Readable
from .tar import Member, TarReader
from .values import FORMAT_VERSION, File, Header

SignatureCheck = Callable[[bytes, bytes], None]
"""Takes the manifest's bytes and the decoded signature; raises ArtifactError if no configured key verifies it."""

_SCRATCH_BYTES = 256 * 1024


class Digest(Protocol):
    """An incremental SHA-256 with its own buffer, so that another thread can do the hashing."""

    def room(self) -> memoryview:
        """The buffer for the next bytes, with room for at least one."""

    def advance(self, count: int) -> None:
        """Hash the first ``count`` bytes of ``room``; the caller must not change them afterwards."""

    def update(self, data: memoryview, /) -> None:
        """Hash bytes from another buffer; the caller may change them afterwards."""

    def hexdigest(self) -> str:
        """The digest in lower-case hex; no other method may be called afterwards."""


class PlainDigest:
    """A ``Digest`` that hashes immediately, always from the same buffer."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._memory = memoryview(bytearray(_SCRATCH_BYTES))

    def room(self) -> memoryview:
        return self._memory

    def advance(self, count: int) -> None:
        self._hash.update(self._memory[:count])

    def update(self, data: memoryview, /) -> None:
        self._hash.update(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


NewDigest = Callable[[], Digest]


class Expander(Protocol):
    """Provides the payload's expanded bytes from another source than the Artifact, if its index allows that.

    All offsets are relative to the start of the Artifact.
    """

    def index_ends_at(self, offset: int) -> None:
        """There is an index, which will be read up to this offset before any other method is called."""

    def no_index(self, problem: str) -> None:
        """There is no usable index, and the payload is decompressed as it is read.

        Args:
            problem: what is wrong with the index; "" if there is none.
        """

    def expand(self, index: BlockIndex, start: int, end: int) -> Readable | None:
        """Open the expanded payload.

        Args:
            index: the index of the payload: a hint, which is not verified.
            start: where the first data member begins.
            end: where the payload ends.

        Returns:
            The expanded payload, which the reader verifies as usual. When it has been read to its end, the Artifact's
            stream must be at ``end``. None: the payload is decompressed as it is read.
        """


_SMALL_FILE_BYTES = 16 * 1024
"""More than the size of any version or signature."""


class PayloadFile:
    """A file of the payload, readable until the reader advances.

    The last piece is returned only after the whole file has been verified against the manifest.

    Attributes:
        payload: the index of the payload, 0.
        name: the file's plain name, without a directory.
        size: its length in bytes.
        offset: where it begins in the expanded payload.
    """

    __slots__ = ("_digest", "_expected", "_is_verified", "_left", "_tar", "name", "offset", "payload", "size")

    def __init__(self, tar: TarReader, member: Member, offset: int, expected: str, digest: Digest) -> None:
        self.payload = 0
        self.name = member.name
        self.size = member.size
        self.offset = offset
        self._tar = tar
        self._expected = expected
        self._left = member.size
        self._digest = digest
        self._is_verified = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into a buffer; 0 at the end of the file.

        Raises:
            ArtifactError: the file is truncated or broken, or its digest differs from the manifest's.
        """
        if self._left == 0:
            return 0
        count = self._tar.readinto(buffer)
        self._digest.update(buffer[:count])
        self._left -= count
        if self._left == 0:
            self._verify()
        return count

    def drain(self) -> None:
        """Read and verify the rest; raises as ``readinto`` does."""
        while self._left:
            count = self._tar.readinto(self._digest.room())
            self._digest.advance(count)
            self._left -= count
        self._verify()

    def _verify(self) -> None:
        if not self._is_verified:
            check_digest(self._digest.hexdigest(), self._expected, PAYLOAD_DIRECTORY + self.name)
            self._is_verified = True


def check_digest(actual: str, expected: str, name: str) -> None:
    """Raise ArtifactError if a digest differs from the manifest's."""
    if actual != expected:
        raise mismatched(f"{shown(name)} isn't what the manifest says: SHA-256 {actual}, expected {expected}")


class ArtifactReader:
    """Reads and verifies one Artifact.

    Args:
        stream: the Artifact; read once, and never further than needed.
        limits: the limits.
        check_signature: given if verify keys are configured; unsigned Artifacts are then refused.
        accept_augmented: whether to accept parts that only the manifest-augment lists, which no signature covers.
        new_digest: creates the digest of a payload file; None to hash in this thread.
        expander: receives the index of an indexed payload; None to skip an index.
    """

    def __init__(
        self,
        stream: Readable,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        check_signature: SignatureCheck | None = None,
        accept_augmented: bool = False,
        new_digest: NewDigest | None = None,
        expander: Expander | None = None,
    ) -> None:
        self._limits = limits
        self._check_signature = check_signature
        self._accept_augmented = accept_augmented
        self._new_digest = new_digest or PlainDigest
        self._expander = expander
        self._stream = Counted(stream)
        self._tar = TarReader(self._stream, "the Artifact", limits)
        self._header: Header | None = None
        self._sizes: dict[str, int] = {}
        self._begun = False
        self._complete = False
        self._files = self._walk()

    def read_header(self) -> Header:
        """Verify and parse everything before the payload, without reading a byte of the payload.

        Returns:
            The header, in which the payload files have no size yet. A second call returns the same header.

        Raises:
            ArtifactError: the Artifact is broken, not properly signed or in another format, or exceeds a limit.
        """
        if self._header is None:
            if self._begun:
                raise _refused_before()
            self._begun = True
            self._header = self._verify_header()
        return self._header

    def payload_files(self) -> Iterator[PayloadFile]:
        """The payload's files in order; the unread rest of a file is read and verified before the next one.

        Raises:
            ArtifactError: the payload is broken or doesn't match the manifest.
        """
        return self._files

    def open_payload(self) -> None:
        """Start reading the payload, so that the expander is called; raises as ``payload_files`` does."""
        if (first := next(self._files, None)) is not None:
            self._files = chain((first,), self._files)

    def finish(self) -> Header:
        """Read and verify the rest, to the end of the stream.

        Returns:
            The header, with the sizes of all payload files.

        Raises:
            ArtifactError: the Artifact is broken, doesn't match the manifest, or has been refused before.
        """
        for _ in self._files:
            pass
        if not self._complete:
            raise _refused_before()
        header = self.read_header()
        files = tuple(replace(file, size=self._sizes[file.name]) for file in header.payload.files)
        return replace(header, payload=replace(header.payload, files=files))

    def _verify_header(self) -> Header:
        try:
            first = self._expect(VERSION)
        except ArtifactError as error:
            raise no_artifact(error) from error
        version = self._tar.read_member(first, _SMALL_FILE_BYTES)
        check_format(version)
        content = self._tar.read_member(self._expect(MANIFEST), self._limits.manifest_bytes)
        member = self._tar.next_member()
        signed = member is not None and member.name == SIGNATURE
        if member is not None and signed:
            self._check_manifest_signature(content, self._tar.read_member(member, _SMALL_FILE_BYTES))
            member = self._tar.next_member()
        elif self._check_signature is not None:
            raise ArtifactError(
                "ART21",
                f"cannot accept the Artifact: it is not signed (no {SIGNATURE}), but a verify key is configured",
                remedy="sign the Artifact",
            )
        manifest = parse_manifest(content)
        check_digest(hashlib.sha256(version).hexdigest(), manifest.digests[VERSION], VERSION)
        augment = None
        if member is not None and member.name == AUGMENT:
            augment = self._read_augment(member, manifest)
            member = self._tar.next_member()
        header = self._read_header(member, manifest, HEADER, parse_header)
        return self._complete_header(header, manifest, augment, signed=signed)

    def _complete_header(self, header: Header, manifest: Manifest, augment: Manifest | None, *, signed: bool) -> Header:
        """Add what the header itself doesn't contain: files, signature and the augmented parts."""
        files = [File(name, manifest.digests[PAYLOAD_DIRECTORY + name]) for name in manifest.files]
        if augment is not None:
            digests = augment.digests
            files += [File(name, digests[PAYLOAD_DIRECTORY + name], augmented=True) for name in augment.files]
            if augment.header is not None:
                parse = partial(apply_augment, header)
                header = self._read_header(self._tar.next_member(), augment, HEADER_AUGMENT, parse)
        if header.payload.type is None and files:
            raise malformed(f"{MANIFEST} lists payload files, and the header says that there is no payload")
        payload = replace(header.payload, files=tuple(files))
        return replace(header, signed=signed, augmented=augment is not None, payload=payload)

    def _expect(self, name: str) -> Member:
        member = self._tar.next_member()
        if member is None or member.name != name:
            raise malformed(f"{name} is missing; {_found(member)}")
        return member

    def _check_manifest_signature(self, manifest: bytes, signature: bytes) -> None:
        try:
            decoded = base64.b64decode(signature.strip(), validate=True)
        except ValueError as error:
            raise ArtifactError(
                "ART22", f"cannot accept the Artifact: {SIGNATURE} isn't base64", remedy="sign it again"
            ) from error
        if self._check_signature is not None:
            self._check_signature(manifest, decoded)

    def _read_augment(self, member: Member, manifest: Manifest) -> Manifest:
        if not self._accept_augmented:
            raise ArtifactError(
                "ART25",
                f"cannot accept the Artifact: {AUGMENT} lists parts that no signature covers",
                remedy="build it without them",
            )
        return parse_augment(self._tar.read_member(member, self._limits.manifest_bytes), manifest)

    def _read_header(
        self,
        member: Member | None,
        manifest: Manifest,
        stem: str,
        parse: Callable[[bytes, str, Compression, Limits], Header],
    ) -> Header:
        """Read a whole header, and verify it against its manifest before parsing it."""
        if member is None or member.name != manifest.header or manifest.compression is None:
            raise malformed(f"{manifest.header or stem} is missing; {_found(member)}")
        stored = self._tar.read_member(member, self._limits.header_stored_bytes)
        check_digest(hashlib.sha256(stored).hexdigest(), manifest.digests[member.name], member.name)
        return parse(stored, member.name, manifest.compression, self._limits)

    def _walk(self) -> Iterator[PayloadFile]:
        header = self.read_header()
        member = self._tar.next_member()
        if member is not None:
            yield from self._walk_payload(member, header)
            member = self._tar.next_member()
        elif header.payload.type is not None:
            raise malformed(f"{PAYLOAD} is missing")
        if member is not None:
            raise malformed(f"{shown(member.name)} follows the payload, where nothing may")
        for file in header.payload.files:
            if file.name not in self._sizes:
                raise malformed(f"{shown(PAYLOAD_DIRECTORY + file.name)} is in the manifest, but not in the payload")
        self._complete = True

    def _walk_payload(self, member: Member, header: Header) -> Iterator[PayloadFile]:
        stream = Counted(self._open_payload(member))
        tar = TarReader(stream, member.name, self._limits)
        expected = {file.name: file.sha256 for file in header.payload.files}
        names = NameSet(member.name)
        left = self._limits.payload_bytes
        while inner := tar.next_member():
            check_file_name(inner.name, member.name)
            names.add(inner.name)
            if inner.name not in expected:
                raise malformed(f"{shown(PAYLOAD_DIRECTORY + inner.name)} isn't in the manifest")
            left -= inner.size
            if left < 0:
                raise over_limit(f"{member.name} contains files of more than {self._limits.payload_bytes} bytes")
            file = PayloadFile(tar, inner, stream.offset, expected[inner.name], self._new_digest())
            yield file
            file.drain()
            self._sizes[inner.name] = inner.size

    def _open_payload(self, member: Member) -> Readable:
        compression = compression_of(member.name, PAYLOAD)
        if compression is None:
            raise malformed(f"{shown(member.name)} stands in the place of {PAYLOAD}")
        limits = self._limits
        if member.size > limits.payload_bytes:
            raise over_limit(f"{member.name} has {member.size} bytes, more than the limit of {limits.payload_bytes}")
        if self._expander is not None and compression is Compression.GZIP:
            return self._open_indexed(member, self._expander)
        if self._expander is not None:
            self._expander.no_index("")
        return open_decoder(self._tar, compression, member.name, limits)

    def _open_indexed(self, member: Member, expander: Expander) -> Readable:
        begin = self._stream.offset
        reading = read_index(self._tar, member.size, lambda size: expander.index_ends_at(begin + size))
        if reading.index is None:
            expander.no_index(reading.problem)
        else:
            expanded = expander.expand(reading.index, self._stream.offset, begin + member.size)
            if expanded is not None:
                self._tar.skip_member()
                return expanded
        return open_decoder(Prefixed(reading.pending, self._tar), Compression.GZIP, member.name, self._limits)


def check_format(content: bytes) -> None:
    """Raise ArtifactError unless the member ``version`` names format version 3."""
    values = parse_document(content, VERSION).values
    version = values.get("version")
    if values.get("format") != "mender" or type(version) is not int:
        raise malformed(f"{VERSION} doesn't say that this is a Mender Artifact")
    if version != FORMAT_VERSION:
        raise unsupported(
            f"it is of format version {version}, and this client reads {FORMAT_VERSION}",
            f"build it again in format {FORMAT_VERSION}",
        )


def _found(member: Member | None) -> str:
    return "the Artifact ends there" if member is None else f"there is {shown(member.name)}"


def _refused_before() -> ArtifactError:
    return malformed("it has been refused already")
