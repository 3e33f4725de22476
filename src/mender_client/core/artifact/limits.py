"""The bounds of what a foreign Artifact may cost in memory, time and disk space."""

from __future__ import annotations

from dataclasses import dataclass

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for reading one Artifact; the defaults suit every sane one.

    Args:
        manifest_bytes: the size of ``manifest`` and of ``manifest-augment``.
        manifest_entries: the lines of both together.
        header_stored_bytes: the size of ``header.tar*`` as it is stored.
        header_bytes: the expanded size of the header, most of which is scripts.
        header_members: the number of files in the header.
        json_bytes: the size of a JSON document in the header; parsing it takes about twenty times as much memory.
        payload_bytes: the expanded size of the payload.
        expansion_ratio: expanded bytes per stored byte of a compressed member, beyond ``expansion_free_bytes``; gzip
            achieves 1032 at most.
        expansion_free_bytes: what a compressed member may always expand to, however small it is.
        window_bytes: the window of xz and zstd, which their decoders keep in memory.
        padding_bytes: zeros after the end of a tar.
    """

    manifest_bytes: int = _MIB
    manifest_entries: int = 4096
    header_stored_bytes: int = 2 * _MIB
    header_bytes: int = 8 * _MIB
    header_members: int = 512
    json_bytes: int = 256 * _KIB
    payload_bytes: int = 64 * _GIB
    expansion_ratio: int = 2000
    expansion_free_bytes: int = 64 * _MIB
    window_bytes: int = 64 * _MIB
    padding_bytes: int = _MIB
