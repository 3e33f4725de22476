"""Finds the payload of an Artifact, and builds its tar header for storing it expanded."""

from __future__ import annotations

from collections.abc import Callable

from mender_client.dataclass import dataclass

from .tar import BLOCK

_LARGEST_BYTES = 8**11 - 1
"""A larger size needs an extended header."""


@dataclass(frozen=True)
class StoredPayload:
    """The compressed payload of an Artifact that has been read up to there.

    Attributes:
        header_at: where its header begins, including any extended header; everything before it stays the same.
        header: its tar header.
    """

    header_at: int
    header: bytes

    @property
    def expanded_at(self) -> int:
        """Where the payload begins if it is stored expanded."""
        return self.header_at + BLOCK

    def expanded_header(self, size: int) -> bytes:
        """The header of the payload if it is stored expanded.

        Args:
            size: its expanded size in bytes.
        """
        name = self.header[:100].partition(b".tar")[0] + b".tar"
        header = name.ljust(100, b"\0") + self.header[100:124] + b"%011o\0" % size + self.header[136:]
        checksum = sum(header) - sum(header[148:156]) + 8 * ord(" ")
        return header[:148] + b"%06o\0 " % checksum + header[156:]


def find_payload(read: Callable[[int, int], bytes], stored_at: int, size: int) -> StoredPayload | None:
    """Find the header of the payload.

    Args:
        read: reads from the Artifact; takes an offset and a number of bytes.
        stored_at: where the payload begins.
        size: its expanded size.

    Returns:
        The payload; None if it can't be stored expanded.
    """
    offset = begin = 0
    while size <= _LARGEST_BYTES and offset < stored_at:
        header = read(offset, BLOCK)
        if len(header) < BLOCK:
            break
        if offset + BLOCK == stored_at:
            return StoredPayload(begin, header)
        length = int(header[124:136].strip(b" \0") or b"0", 8)
        offset += BLOCK + length + -length % BLOCK
        if header[156:157] != b"x":
            begin = offset
    return None
