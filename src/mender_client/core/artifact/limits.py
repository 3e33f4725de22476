"""Limits for the memory, time and disk space that an untrusted Artifact may use."""

from __future__ import annotations

from mender_client.dataclass import dataclass

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for reading one Artifact; the defaults suit every reasonable one.

    Args:
        manifest_bytes: the size of ``manifest`` and of ``manifest-augment``; enough for more than 10,000 files.
        header_stored_bytes: the size of ``header.tar*`` as it is stored.
        header_bytes: the expanded size of the header's files, most of which are scripts.
        header_members: the number of files in the header.
        json_bytes: the size of a JSON document in the header; parsing it takes about twenty times as much memory.
        payload_bytes: the expanded size of the payload's files. There is no limit relative to their compressed size: an
            image may consist mostly of zeros.
        window_bytes: the window of xz and zstd, which their decoders keep in memory.
        padding_bytes: the number of zeros after the end of a tar.
    """

    manifest_bytes: int = _MIB
    header_stored_bytes: int = 2 * _MIB
    header_bytes: int = 8 * _MIB
    header_members: int = 512
    json_bytes: int = 256 * _KIB
    payload_bytes: int = 64 * _GIB
    window_bytes: int = 64 * _MIB
    padding_bytes: int = _MIB


_LEAST_WINDOW_BYTES = 8 * _MIB
"""The default of xz and zstd."""


def limits_for(memory_bytes: int | None) -> Limits:
    """The limits for a device with this amount of memory; None if it is unknown."""
    window_bytes = Limits().window_bytes
    if memory_bytes is not None:
        window_bytes = min(window_bytes, max(_LEAST_WINDOW_BYTES, memory_bytes // 4))
    return Limits(window_bytes=window_bytes)
