"""The manifest: the digests of all parts of the Artifact. It is what a signature covers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mender_client.dataclass import dataclass

from .codec import Compression, compression_of
from .names import NameSet, check_file_name
from .refusal import malformed, shown

VERSION = "version"
MANIFEST = "manifest"
SIGNATURE = "manifest.sig"
AUGMENT = "manifest-augment"
HEADER = "header.tar"
HEADER_AUGMENT = "header-augment.tar"
PAYLOAD = "data/0000.tar"
PAYLOAD_DIRECTORY = "data/0000/"

_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")


@dataclass(frozen=True)
class Manifest:
    """A parsed manifest, or manifest-augment.

    Args:
        digests: SHA-256 in lower-case hex by entry, in the order of the lines.
        header: the entry of the header or header-augment; None if there is none.
        compression: how that header is compressed.
    """

    digests: Mapping[str, str]
    header: str | None
    compression: Compression | None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the payload's files."""
        prefix = len(PAYLOAD_DIRECTORY)
        return tuple(entry[prefix:] for entry in self.digests if entry.startswith(PAYLOAD_DIRECTORY))


def parse_manifest(content: bytes) -> Manifest:
    """Parse ``manifest``, which lists the version, the header and the payload's files (protocol: Artifact format).

    Raises:
        ArtifactError: a line is malformed, or an entry is unknown, missing or duplicate.
    """
    manifest = _parse(content, MANIFEST, HEADER)
    if VERSION not in manifest.digests:
        raise malformed(f"{MANIFEST} doesn't list {VERSION}")
    if manifest.header is None:
        raise malformed(f"{MANIFEST} doesn't list {HEADER}")
    return manifest


def parse_augment(content: bytes, base: Manifest) -> Manifest:
    """Parse ``manifest-augment``, which may add a header-augment and payload files.

    Raises:
        ArtifactError: as for the manifest, or it lists an entry of the manifest.
    """
    augment = _parse(content, AUGMENT, HEADER_AUGMENT)
    if VERSION in augment.digests:
        raise malformed(f"{AUGMENT} lists {VERSION}, which only {MANIFEST} may")
    names = NameSet(f"{MANIFEST} with {AUGMENT}")
    for entry in (*base.digests, *augment.digests):
        names.add(entry)
    return augment


def _parse(content: bytes, title: str, header_stem: str) -> Manifest:
    digests = _parse_lines(content, title)
    header, compression = None, None
    for entry in digests:
        found = compression_of(entry, header_stem)
        if found is not None:
            if header is not None:
                raise malformed(f"{title} lists two headers, {header} and {entry}")
            header, compression = entry, found
        elif entry != VERSION:
            _check_payload_entry(entry, title)
    return Manifest(digests, header, compression)


def _parse_lines(content: bytes, title: str) -> dict[str, str]:
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise malformed(f"{title} isn't UTF-8") from error
    if lines.pop() != "":
        raise malformed(f"{title} doesn't end with a newline")
    names = NameSet(title)
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise malformed(f"{title}, line {number}, isn't a SHA-256 digest, two spaces and a name")
        names.add(match[2])
        digests[match[2]] = match[1]
    return digests


def _check_payload_entry(entry: str, title: str) -> None:
    directory, name = entry[: len(PAYLOAD_DIRECTORY)], entry[len(PAYLOAD_DIRECTORY) :]
    if re.fullmatch(r"data/[0-9]{4}/", directory) is None:
        raise malformed(f"{title} lists {shown(entry)}, which has no place in an Artifact")
    if directory != PAYLOAD_DIRECTORY:
        raise malformed(f"{title} lists {shown(entry)}, a second payload, and this client takes one")
    check_file_name(name, title)
