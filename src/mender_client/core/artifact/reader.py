"""Reads an Artifact once, from front to back, and uses nothing that it hasn't verified.

The chain of trust: the signature covers the manifest; the manifest covers version, header and each payload file by
their SHA-256. So the order is: verify, then parse. What can be refused early is refused before a payload byte has
been asked for. Memory doesn't grow with the Artifact: bytes pass through the caller's buffer, or through one of ours.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from mender_client.errors import ArtifactError

from .codec import Compression, compression_of, expansion_budget, open_decoder
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
from .stream import Readable
from .tar import Member, TarReader
from .values import FORMAT_VERSION, File, Header

SignatureCheck = Callable[[bytes, bytes], None]
"""Takes the manifest's bytes and the decoded signature; raises ArtifactError when no configured key made it."""


_SCRATCH_BYTES = 256 * 1024


class Digest(Protocol):
    """A SHA-256 in the making that brings the memory to read into, so that another processor may work on it."""

    def room(self) -> memoryview:
        """Memory to put the next bytes into, front first; it holds at least one byte."""

    def advance(self, count: int) -> None:
        """Take in so many bytes of ``room``, which must not be changed from now on."""

    def update(self, data: memoryview, /) -> None:
        """Take bytes in that are somewhere else; they may change afterwards."""

    def hexdigest(self) -> str:
        """The digest of all that was taken in, lower-case hex; the last call."""


class PlainDigest:
    """A ``Digest`` that does its work at once."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._memory = memoryview(bytearray(_SCRATCH_BYTES))

    def room(self) -> memoryview:
        """The same memory each time."""
        return self._memory

    def advance(self, count: int) -> None:
        """Hash its front."""
        self._hash.update(self._memory[:count])

    def update(self, data: memoryview, /) -> None:
        """Hash what is somewhere else."""
        self._hash.update(data)

    def hexdigest(self) -> str:
        """The digest, lower-case hex."""
        return self._hash.hexdigest()


NewDigest = Callable[[], Digest]

_SMALL_FILE_BYTES = 16 * 1024
"""More than any version or signature has."""


class PayloadFile:
    """A file of the payload, to be read while the reader stands at it; a readable.

    The last piece is given only after the whole has been verified by the manifest's digest.

    Attributes:
        payload: the index of the payload, 0.
        name: the file's name, a plain one.
        size: its length in bytes.
    """

    __slots__ = ("_digest", "_expected", "_is_verified", "_left", "_tar", "name", "payload", "size")

    def __init__(self, tar: TarReader, member: Member, expected: str, digest: Digest) -> None:
        self.payload = 0
        self.name = member.name
        self.size = member.size
        self._tar = tar
        self._expected = expected
        self._left = member.size
        self._digest = digest
        self._is_verified = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Read; 0 at the end of the file.

        Raises:
            ArtifactError: truncated, broken, or its digest isn't the manifest's.
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
        """Read what is left, to verify it.

        Raises:
            ArtifactError: as ``readinto``.
        """
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
    """Compare a digest with the manifest's.

    Raises:
        ArtifactError: they differ.
    """
    if actual != expected:
        raise mismatched(f"{shown(name)} isn't what the manifest says: SHA-256 {actual}, expected {expected}")


class ArtifactReader:
    """Reads and verifies one Artifact.

    Args:
        stream: the Artifact's bytes; read once, never ahead of what is needed.
        limits: what it may cost.
        check_signature: given when verify keys are configured; an unsigned Artifact is then refused.
        accept_augmented: take parts that only the manifest-augment lists, which no signature covers.
        new_digest: begins the SHA-256 of a payload file; None does it in this thread.
    """

    def __init__(
        self,
        stream: Readable,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        check_signature: SignatureCheck | None = None,
        accept_augmented: bool = False,
        new_digest: NewDigest | None = None,
    ) -> None:
        self._limits = limits
        self._check_signature = check_signature
        self._accept_augmented = accept_augmented
        self._new_digest = new_digest or PlainDigest
        self._tar = TarReader(stream, "the Artifact", limits)
        self._header: Header | None = None
        self._sizes: dict[str, int] = {}
        self._begun = False
        self._complete = False
        self._files = self._walk()

    def read_header(self) -> Header:
        """Verify and parse everything in front of the payload; no byte of the payload is asked for.

        Returns:
            The header; sizes of payload files aren't known yet. A second call gives the same.

        Raises:
            ArtifactError: broken, unsigned or wrongly signed, of another format, or over a bound.
        """
        if self._header is None:
            if self._begun:
                raise _refused_before()
            self._begun = True
            self._header = self._verify_header()
        return self._header

    def payload_files(self) -> Iterator[PayloadFile]:
        """Give the payload's files in order; what isn't read of one is read and verified on the way to the next.

        Raises:
            ArtifactError: broken, or not what the manifest says.
        """
        return self._files

    def finish(self) -> Header:
        """Read and verify all that is left, to the end of the stream.

        Returns:
            The header, with the sizes of all payload files.

        Raises:
            ArtifactError: broken, not what the manifest says, or refused before.
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
        version = self._read_small(first, _SMALL_FILE_BYTES)
        check_format(version)
        content = self._read_small(self._expect(MANIFEST), self._limits.manifest_bytes)
        member = self._tar.next_member()
        signed = member is not None and member.name == SIGNATURE
        if member is not None and signed:
            self._check_manifest_signature(content, self._read_small(member, _SMALL_FILE_BYTES))
            member = self._tar.next_member()
        elif self._check_signature is not None:
            raise ArtifactError(
                "ART21",
                f"cannot accept the Artifact: {SIGNATURE} is missing, and a verify key is configured",
                remedy="sign it",
            )
        manifest = parse_manifest(content, self._limits)
        check_digest(hashlib.sha256(version).hexdigest(), manifest.digests[VERSION], VERSION)
        augment = None
        if member is not None and member.name == AUGMENT:
            augment = self._read_augment(member, manifest)
            member = self._tar.next_member()
        header = self._read_header(member, manifest, HEADER, parse_header)
        return self._complete_header(header, manifest, augment, signed=signed)

    def _complete_header(self, header: Header, manifest: Manifest, augment: Manifest | None, *, signed: bool) -> Header:
        """Add what isn't in the header: files, signature, and what the augmented parts say."""
        files = [File(name, manifest.digests[PAYLOAD_DIRECTORY + name]) for name in manifest.files]
        if augment is not None:
            digests = augment.digests
            files += [File(name, digests[PAYLOAD_DIRECTORY + name], augmented=True) for name in augment.files]
            if augment.header is not None:
                base = header

                def parse(stored: bytes, name: str, compression: Compression, limits: Limits) -> Header:
                    return apply_augment(base, stored, name, compression, limits)

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

    def _read_small(self, member: Member, most_bytes: int) -> bytes:
        return self._tar.read_member(member, most_bytes)

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
                remedy="build it without",
            )
        return parse_augment(self._read_small(member, self._limits.manifest_bytes), manifest, self._limits)

    def _read_header(
        self,
        member: Member | None,
        manifest: Manifest,
        stem: str,
        parse: Callable[[bytes, str, Compression, Limits], Header],
    ) -> Header:
        """Read a header whole, verify it by its manifest, and only then look into it."""
        if member is None or member.name != manifest.header or manifest.compression is None:
            raise malformed(f"{manifest.header or stem} is missing; {_found(member)}")
        stored = self._read_small(member, self._limits.header_stored_bytes)
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
            raise malformed(f"{shown(member.name)} follows the payload, and nothing may")
        for file in header.payload.files:
            if file.name not in self._sizes:
                raise malformed(f"{shown(PAYLOAD_DIRECTORY + file.name)} is in the manifest and never arrives")
        self._complete = True

    def _walk_payload(self, member: Member, header: Header) -> Iterator[PayloadFile]:
        tar = TarReader(self._open_payload(member), member.name, self._limits)
        expected = {file.name: file.sha256 for file in header.payload.files}
        names = NameSet(member.name)
        while inner := tar.next_member():
            check_file_name(inner.name, member.name)
            names.add(inner.name)
            if inner.name not in expected:
                raise malformed(f"{shown(PAYLOAD_DIRECTORY + inner.name)} isn't in the manifest")
            file = PayloadFile(tar, inner, expected[inner.name], self._new_digest())
            yield file
            file.drain()
            self._sizes[inner.name] = inner.size

    def _open_payload(self, member: Member) -> Readable:
        compression = compression_of(member.name, PAYLOAD)
        if compression is None:
            raise malformed(f"{shown(member.name)} stands where {PAYLOAD} is due")
        limits = self._limits
        if member.size > limits.payload_bytes:
            raise over_limit(f"{member.name} has {member.size} bytes, more than the limit of {limits.payload_bytes}")
        budget = expansion_budget(member.size, limits.payload_bytes, limits)
        return open_decoder(self._tar, compression, member.name, budget=budget, limits=limits)


def check_format(content: bytes) -> None:
    """Refuse every format but version 3.

    Args:
        content: the bytes of ``version``.

    Raises:
        ArtifactError: it is another one, or none.
    """
    values = parse_document(content, VERSION).values
    version = values.get("version")
    if values.get("format") != "mender" or type(version) is not int:
        raise malformed(f"{VERSION} doesn't say that this is a Mender Artifact")
    if version != FORMAT_VERSION:
        raise unsupported(
            f"it is of format version {version}, and this client reads {FORMAT_VERSION}",
            f"build it again in format {FORMAT_VERSION}",
        )


def verify_artifact(
    stream: Readable,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    check_signature: SignatureCheck | None = None,
    accept_augmented: bool = False,
    new_digest: NewDigest | None = None,
) -> Header:
    """Read an Artifact whole and verify it; arguments as for ``ArtifactReader``.

    Returns:
        The header, with the sizes of all payload files.

    Raises:
        ArtifactError: something isn't as it must be.
    """
    reader = ArtifactReader(
        stream,
        limits=limits,
        check_signature=check_signature,
        accept_augmented=accept_augmented,
        new_digest=new_digest,
    )
    return reader.finish()


def _found(member: Member | None) -> str:
    return "the Artifact ends there" if member is None else f"there is {shown(member.name)}"


def _refused_before() -> ArtifactError:
    return malformed("it was refused before, and what follows isn't verified")
