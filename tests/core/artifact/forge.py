"""Builds Artifacts byte by byte, above all invalid ones; independent of the writer, which is tested elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import zstandard

from mender_client.core.artifact import ArtifactReader, Header, Limits
from mender_client.errors import ArtifactError

DATA = Path(__file__).parents[2] / "data" / "artifacts"
REAL = sorted(path.name for path in DATA.glob("*.mender"))

USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"
VERSION = b'{"format":"mender","version":3}'
SUFFIXES = {"none": "", "gzip": ".gz", "xz": ".xz", "zstd": ".zst"}


def tar_block(
    name: str | bytes,
    size: int = 0,
    *,
    kind: bytes = b"0",
    magic: bytes = USTAR,
    mode: bytes = b"0000600\0",
    size_field: bytes | None = None,
    link: bytes = b"",
    device: bytes = b"0000000\0",
    rest: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """Build a tar header; ``rest`` is what follows the device numbers, in ustar the prefix."""
    raw_name = name.encode() if isinstance(name, str) else name
    block = bytearray(512)

    def put(offset: int, content: bytes) -> None:
        block[offset : offset + len(content)] = content

    put(0, raw_name)
    put(100, mode)
    put(108, b"0000000\0" * 2)
    put(124, b"%011o\0" % size if size_field is None else size_field)
    put(136, b"00000000000\0")
    put(148, b" " * 8)
    put(156, kind)
    put(157, link)
    put(257, magic)
    put(329, device * 2)
    put(345, rest)
    put(148, b"%06o\0 " % sum(block) if checksum is None else checksum)
    return bytes(block)


def padded(content: bytes) -> bytes:
    """Pad to whole blocks."""
    return content + bytes(-len(content) % 512)


def tar_file(name: str | bytes, content: bytes, **fields: Any) -> bytes:
    """Build a member with its content."""
    return tar_block(name, len(content), **fields) + padded(content)


def pax(records: bytes) -> bytes:
    """Build an extended header for the next member."""
    return tar_file("PaxHeader", records, kind=b"x")


def pax_record(key: str, value: str) -> bytes:
    """Build one record, whose length includes the length field itself."""
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def tar(*members: bytes, end: bytes = bytes(1024)) -> bytes:
    """Concatenate members."""
    return b"".join(members) + end


def pack(content: bytes, compression: str) -> bytes:
    """Compress as one stream."""
    if compression == "gzip":
        return gzip.compress(content, mtime=0)
    if compression == "xz":
        return lzma.compress(content)
    if compression == "zstd":
        return zstandard.ZstdCompressor(write_checksum=True).compress(content)
    return content


def dump(value: object) -> bytes:
    """Write JSON as it may stand in a header."""
    return json.dumps(value).encode()


def sha256(content: bytes) -> str:
    """Give the digest as it is written in the manifest."""
    return hashlib.sha256(content).hexdigest()


HEADER_INFO: Mapping[str, Any] = {
    "payloads": [{"type": "app"}],
    "artifact_provides": {"artifact_name": "name"},
    "artifact_depends": {"device_type": ["board"]},
}
TYPE_INFO: Mapping[str, Any] = {"type": "app"}


@dataclass(frozen=True, kw_only=True)
class Forge:
    """The parts of an Artifact; each can be replaced, and the parts that depend on it follow unless replaced too."""

    compression: str = "none"
    version: bytes = VERSION
    info: bytes = dump(HEADER_INFO)
    type_info: bytes = dump(TYPE_INFO)
    meta_data: bytes | None = None
    scripts: Sequence[tuple[str, bytes]] = ()
    header_members: Sequence[bytes] | None = None
    header: bytes | None = None
    files: Sequence[tuple[str, bytes]] = (("file", b"content"),)
    payload_members: Sequence[bytes] | None = None
    payload: bytes | None = None
    manifest: bytes | None = None
    signature: bytes | None = None
    augment: bytes | None = None
    augment_header: bytes | None = None
    tail: bytes = bytes(1024)
    extra: Mapping[str, bytes] = field(default_factory=dict)

    def header_stored(self) -> bytes:
        """Give header.tar as it is stored."""
        if self.header is not None:
            return self.header
        if self.header_members is not None:
            return pack(tar(*self.header_members), self.compression)
        members = [tar_file("header-info", self.info)]
        members += [tar_file(f"scripts/{name}", content) for name, content in self.scripts]
        members.append(tar_file("headers/0000/type-info", self.type_info))
        if self.meta_data is not None:
            members.append(tar_file("headers/0000/meta-data", self.meta_data))
        return pack(tar(*members), self.compression)

    def payload_stored(self) -> bytes:
        """Give data/0000.tar as it is stored."""
        if self.payload is not None:
            return self.payload
        members = self.payload_members
        if members is None:
            members = [tar_file(name, content) for name, content in self.files]
        return pack(tar(*members), self.compression)

    def lines(self) -> list[str]:
        """Give the manifest's lines."""
        lines = [f"{sha256(content)}  data/0000/{name}" for name, content in self.files]
        lines.append(f"{sha256(self.header_stored())}  header.tar{SUFFIXES[self.compression]}")
        return [*lines, f"{sha256(self.version)}  version"]

    def members(self) -> list[tuple[str, bytes]]:
        """Give the outer members in order."""
        suffix = SUFFIXES[self.compression]
        manifest = "".join(line + "\n" for line in self.lines()).encode()
        members = [("version", self.version)]
        members.append(("manifest", manifest if self.manifest is None else self.manifest))
        if self.signature is not None:
            members.append(("manifest.sig", self.signature))
        if self.augment is not None:
            members.append(("manifest-augment", self.augment))
        members.append((f"header.tar{suffix}", self.header_stored()))
        if self.augment_header is not None:
            members.append((f"header-augment.tar{suffix}", self.augment_header))
        members.append((f"data/0000.tar{suffix}", self.payload_stored()))
        return [*members, *self.extra.items()]

    def build(self) -> bytes:
        """Give the Artifact."""
        return outer(self.members(), tail=self.tail)


def forge(**parts: Any) -> bytes:
    """Build an Artifact with some parts replaced."""
    return replace(Forge(), **parts).build()


def outer(members: Iterable[tuple[str, bytes]], tail: bytes = bytes(1024)) -> bytes:
    """Concatenate outer members."""
    return tar(*(tar_file(name, content) for name, content in members), end=tail)


def info(**changes: Any) -> bytes:
    """Build a header-info with some keys replaced."""
    return dump({**HEADER_INFO, **changes})


def type_info(**changes: Any) -> bytes:
    """Build a type-info with some keys replaced."""
    return dump({**TYPE_INFO, **changes})


class Trickle:
    """Returns bytes in pieces of a chosen size, counts them, and records the largest size requested."""

    def __init__(self, content: bytes, piece: int = 1) -> None:
        self._stream = io.BytesIO(content)
        self._piece = piece
        self.given = 0
        self.largest = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer with one piece at most."""
        self.largest = max(self.largest, len(buffer))
        count = self._stream.readinto(buffer[: self._piece])
        self.given += count
        return count


def outcome(content: bytes, *, piece: int = 1 << 20, limits: Limits | None = None, **options: Any) -> Header | str:
    """Verify an Artifact; give its header, or the message of the error."""
    try:
        return ArtifactReader(Trickle(content, piece), limits=limits or Limits(), **options).finish()
    except ArtifactError as error:
        return str(error)


def full_counts(size: int, begin: int = 0) -> bytes:
    """For an index: the number of blocks of each data member, if all but the last are full."""
    blocks = -(-(size - begin) // 4096)
    return bytes([8] * (blocks // 8)) + bytes([blocks % 8] * (blocks % 8 > 0))


def firsts_of(counts: bytes) -> array[int]:
    """For an index: the first block of each data member, and the number of blocks."""
    return array("I", accumulate(counts, initial=0))
