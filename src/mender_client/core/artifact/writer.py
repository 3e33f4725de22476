"""Writes Artifacts reproducibly: the same input gives the same bytes.

The manifest precedes the payload, so each payload file is read twice: once for its digest, once for its content. With
an index, it is read once, and the compressed payload is kept in a temporary file. The compressed size of the payload
also precedes it: without an index, the writer fills it in afterwards, and therefore needs a seekable output. Memory
usage doesn't depend on the size of the payload.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field
from mender_client.errors import ArtifactError

from .codec import Compression, open_encoder
from .header import INFO, META_DATA, SCRIPTS_DIRECTORY, TYPE_INFO, parse_header
from .limits import Limits
from .manifest import HEADER, MANIFEST, PAYLOAD, PAYLOAD_DIRECTORY, SIGNATURE, VERSION
from .names import NameSet, check_file_name
from .refusal import shown
from .stream import Readable
from .tar import END, Member, TarReader, build_member_header, build_padding
from .values import FORMAT_VERSION

if TYPE_CHECKING:
    from .indexed import IndexedPayload, Indexing

_CHUNK_BYTES = 128 * 1024
_OUTER_MODE = 0o600
_SCRIPT_MODE = 0o755
_PAYLOAD_MODE = 0o644


Sign = Callable[[bytes], bytes]
"""Signs the manifest's bytes: RSA PKCS#1 v1.5, or ECDSA P-256 as r‖s or DER, with SHA-256."""


@dataclass(frozen=True)
class PayloadSource:
    """A file for the payload.

    Args:
        name: its plain name in the payload.
        size: its length in bytes.
        open: opens it at its start; called twice, but only once with an index.
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[Readable]]


@dataclass(frozen=True, kw_only=True)
class ArtifactSpec:
    """What to write; ``rootfs_image`` and ``module_image`` fill in the usual values.

    The other fields are those of ``Header`` and ``Payload``; a field that is None is left out of the Artifact.

    Args:
        payload_type: the type of the payload, None for an Artifact without payload.
        scripts: state scripts by name, in this order.
        checksum_key: the key under which to provide the digest of the only payload file, if any.
    """

    artifact_name: str
    device_types: Sequence[str]
    payload_type: str | None
    artifact_group: str | None = None
    depends_names: Sequence[str] = ()
    depends_groups: Sequence[str] = ()
    provides: Mapping[str, str] | None = None
    depends: Mapping[str, Sequence[str]] = field(default_factory=dict)
    clears: Sequence[str] | None = None
    meta_data: Mapping[str, Any] | None = None
    scripts: Mapping[str, bytes] = field(default_factory=dict)
    compression: Compression = Compression.GZIP
    checksum_key: str | None = None


def rootfs_image(artifact_name: str, device_types: Sequence[str], **others: Any) -> ArtifactSpec:
    """A root file system image, which provides its version and checksum and clears those of an older one.

    Args:
        artifact_name: the Artifact's name.
        device_types: the device types.
        others: further fields of ``ArtifactSpec``, which take precedence.
    """
    usual = {
        "payload_type": "rootfs-image",
        "provides": {"rootfs-image.version": artifact_name},
        "clears": ("artifact_group", "rootfs_image_checksum", "rootfs-image.*"),
        "checksum_key": "rootfs-image.checksum",
    }
    return ArtifactSpec(artifact_name=artifact_name, device_types=device_types, **{**usual, **others})


def module_image(artifact_name: str, device_types: Sequence[str], payload_type: str, **others: Any) -> ArtifactSpec:
    """A payload for an update module, which provides its version and clears that of an older one.

    Args:
        artifact_name: the Artifact's name.
        device_types: the device types.
        payload_type: the update module.
        others: further fields of ``ArtifactSpec``, which take precedence.
    """
    usual = {
        "provides": {f"rootfs-image.{payload_type}.version": artifact_name},
        "clears": (f"rootfs-image.{payload_type}.*",),
    }
    return ArtifactSpec(
        artifact_name=artifact_name, device_types=device_types, payload_type=payload_type, **{**usual, **others}
    )


def write_artifact(
    out: BinaryIO,
    spec: ArtifactSpec,
    payload: Sequence[PayloadSource] = (),
    *,
    sign: Sign | None = None,
    indexing: Indexing | None = None,
) -> None:
    """Write an Artifact; the caller syncs and closes the output.

    Args:
        out: where to write it; must be seekable.
        spec: its content.
        payload: the payload's files, in order.
        sign: creates the signature; None for an unsigned Artifact.
        indexing: if given, the payload, whose compression must be gzip, is compressed as members with an index.

    Raises:
        ArtifactError: a reader would refuse such an Artifact, or a payload file has another size than stated or
            changed while it was read.
    """
    _check_sources(spec, payload)
    digests: list[str] = []
    archive = _archive(payload, digests)
    indexed = _indexed(archive, _largest_at(payload), indexing)
    header_name = HEADER + spec.compression.suffix
    header = _compressed(_build_header(spec, digests), spec.compression)
    parse_header(header, header_name, spec.compression, Limits())
    version = json.dumps({"format": "mender", "version": FORMAT_VERSION}, separators=(",", ":")).encode()
    lines = [
        *((PAYLOAD_DIRECTORY + source.name, digest) for source, digest in zip(payload, digests, strict=True)),
        (header_name, hashlib.sha256(header).hexdigest()),
        (VERSION, hashlib.sha256(version).hexdigest()),
    ]
    manifest = "".join(f"{digest}  {name}\n" for name, digest in lines).encode()
    _write_member(out, VERSION, version)
    _write_member(out, MANIFEST, manifest)
    if sign is not None:
        _write_member(out, SIGNATURE, base64.b64encode(sign(manifest)))
    _write_member(out, header_name, header)
    if indexed is None:
        _write_payload(out, spec.compression, payload, digests)
    else:
        write_indexed(out, indexed)
    out.write(END)


def sign_artifact(source: Readable, out: BinaryIO, sign: Sign) -> None:
    """Copy an Artifact with a new signature; all other bytes remain the same.

    The manifest is signed as it is. The caller should verify the result, so that no broken Artifact is signed.

    Args:
        source: the Artifact.
        out: where to write the signed Artifact.
        sign: creates the signature.

    Raises:
        ArtifactError: the beginning of the source is not that of an Artifact.
    """
    recorder = Recorder(source)
    tar = TarReader(recorder, "the Artifact", Limits())
    _read_named(tar, VERSION)
    manifest = _read_named(tar, MANIFEST)
    tar.finish_member()
    out.write(recorder.take())
    _write_member(out, SIGNATURE, base64.b64encode(sign(manifest)))
    member = tar.next_member()
    if member is not None and member.name == SIGNATURE:
        tar.finish_member()
        recorder.take()
    out.write(recorder.take())
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    while count := source.readinto(chunk):
        out.write(chunk[:count])


class Recorder:
    """A readable that records what is read from a source."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._kept = bytearray()
        self._is_recording = True

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._source.readinto(buffer)
        if self._is_recording:
            self._kept += buffer[:count]
        return count

    def stop(self) -> None:
        """Stop recording."""
        self._is_recording = False

    def take(self) -> bytes:
        """Return and forget what was recorded since the last call."""
        kept = bytes(self._kept)
        self._kept.clear()
        return kept


def _read_named(tar: TarReader, name: str) -> bytes:
    member = tar.next_member()
    if member is None or member.name != name:
        raise ArtifactError(
            "ART31", f"cannot sign: this is not an Artifact, {name} is missing", remedy="specify an Artifact file"
        )
    return tar.read_member(member, Limits().manifest_bytes)


def _check_sources(spec: ArtifactSpec, payload: Sequence[PayloadSource]) -> None:
    names = NameSet("the payload")
    for source in payload:
        check_file_name(source.name, "the payload")
        names.add(source.name)
    for script in spec.scripts:
        check_file_name(script, "the header")
    if spec.payload_type is None and payload:
        raise ArtifactError(
            "ART32", "cannot write the Artifact: it has files but no payload type", remedy="specify a payload type"
        )
    if spec.checksum_key is not None and len(payload) != 1:
        raise ArtifactError(
            "ART33",
            f"cannot write the Artifact: {shown(spec.checksum_key)} needs exactly one payload file, and there are "
            f"{len(payload)}",
        )


def _indexed(archive: Iterator[memoryview], aligned_at: int, indexing: Indexing | None) -> IndexedPayload | None:
    """Read the archive to its end, and compress it in the same pass if it is to have an index."""
    if indexing is None:
        for _ in archive:
            pass
        return None
    # imported when needed: devices never need it
    from .indexed import IndexedPayload

    return IndexedPayload(archive, aligned_at, indexing)


def _archive(payload: Sequence[PayloadSource], digests: list[str]) -> Iterator[memoryview]:
    """The expanded payload in pieces, each valid until the next one; appends the digest of each file to ``digests``."""
    for source in payload:
        yield memoryview(_member_header(source))
        digest = hashlib.sha256()
        for piece in _pieces(source):
            digest.update(piece)
            yield piece
        digests.append(digest.hexdigest())
        yield memoryview(build_padding(source.size))
    yield memoryview(END)


def _member_header(source: PayloadSource) -> bytes:
    return build_member_header(Member(source.name, source.size), _PAYLOAD_MODE)


def _largest_at(payload: Sequence[PayloadSource]) -> int:
    """Where in the expanded payload the first of the largest files begins."""
    at, largest, found = 0, -1, 0
    for source in payload:
        at += len(_member_header(source))
        if source.size > largest:
            largest, found = source.size, at
        at += source.size + len(build_padding(source.size))
    return found


def _pieces(source: PayloadSource) -> Iterator[memoryview]:
    """Read a whole source piece by piece into the same buffer, and check its size."""
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    total = 0
    with source.open() as stream:
        while count := stream.readinto(chunk):
            total += count
            yield chunk[:count]
    if total != source.size:
        raise ArtifactError(
            "ART34",
            f"cannot write the Artifact: {shown(source.name)} has {total} bytes instead of {source.size}",
            remedy="make sure that the file doesn't change while it is read",
        )


def _build_header(spec: ArtifactSpec, digests: Sequence[str]) -> bytes:
    out = io.BytesIO()
    _write_member(out, INFO, _json(_header_info(spec)))
    for name, content in spec.scripts.items():
        _write_member(out, SCRIPTS_DIRECTORY + name, content, mode=_SCRIPT_MODE)
    _write_member(out, TYPE_INFO, _json(_type_info(spec, digests)))
    if spec.meta_data is not None:
        _write_member(out, META_DATA, _json(spec.meta_data))
    out.write(END)
    return out.getvalue()


def _header_info(spec: ArtifactSpec) -> dict[str, Any]:
    provides = {"artifact_name": spec.artifact_name}
    if spec.artifact_group is not None:
        provides["artifact_group"] = spec.artifact_group
    depends = {"device_type": list(spec.device_types)}
    if spec.depends_names:
        depends["artifact_name"] = list(spec.depends_names)
    if spec.depends_groups:
        depends["artifact_group"] = list(spec.depends_groups)
    return {"payloads": [{"type": spec.payload_type}], "artifact_provides": provides, "artifact_depends": depends}


def _type_info(spec: ArtifactSpec, digests: Sequence[str]) -> dict[str, Any]:
    info: dict[str, Any] = {"type": spec.payload_type}
    provides = dict(spec.provides or {})
    if spec.checksum_key is not None:
        provides[spec.checksum_key] = digests[0]
    if provides or spec.provides is not None:
        info["artifact_provides"] = provides
    if spec.depends:
        info["artifact_depends"] = {
            key: values[0] if len(values) == 1 else list(values) for key, values in spec.depends.items()
        }
    if spec.clears is not None:
        info["clears_artifact_provides"] = list(spec.clears)
    return info


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(
            "ART35", f"cannot write the Artifact: its header can't be written as JSON ({error})"
        ) from error


def _compressed(content: bytes, compression: Compression) -> bytes:
    encoder = open_encoder(compression)
    return encoder.compress(content) + encoder.flush()


def _write_member(out: BinaryIO, name: str, content: bytes, *, mode: int = _OUTER_MODE) -> None:
    out.write(build_member_header(Member(name, len(content)), mode))
    out.write(content)
    out.write(build_padding(len(content)))


def _write_payload(
    out: BinaryIO, compression: Compression, payload: Sequence[PayloadSource], digests: Sequence[str]
) -> None:
    """Write the payload, and then fill in its size."""
    name = PAYLOAD + compression.suffix
    start = out.tell()
    out.write(build_member_header(Member(name, 0), _OUTER_MODE))
    content_start = out.tell()
    encoder = open_encoder(compression)
    again: list[str] = []
    for piece in _archive(payload, again):
        out.write(encoder.compress(piece))
    out.write(encoder.flush())
    _check_unchanged(payload, digests, again)
    end = out.tell()
    size = end - content_start
    header = build_member_header(Member(name, size), _OUTER_MODE)
    if len(header) != content_start - start:
        raise ArtifactError(
            "ART36", f"cannot write the Artifact: {name} is larger than 8 GiB", remedy="compress it, or split it"
        )
    out.seek(start)
    out.write(header)
    out.seek(end)
    out.write(build_padding(size))


def _check_unchanged(payload: Sequence[PayloadSource], digests: Sequence[str], again: Sequence[str]) -> None:
    for source, digest, second in zip(payload, digests, again, strict=True):
        if digest != second:
            raise ArtifactError(
                "ART37",
                f"cannot write the Artifact: {shown(source.name)} changed while it was read",
                remedy="make sure that the file doesn't change while it is read",
            )


def write_indexed(out: BinaryIO, payload: IndexedPayload) -> None:
    """Write the payload of an Artifact that has an index."""
    member = Member(PAYLOAD + Compression.GZIP.suffix, payload.stored_bytes)
    out.write(build_member_header(member, _OUTER_MODE))
    payload.write(out)
    out.write(build_padding(payload.stored_bytes))
