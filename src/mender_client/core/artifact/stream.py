"""Bytes that come one after the other: what an Artifact is read from, and the exact reading of them.

The network body, a file and a decoder look the same from here. Whoever reads brings the buffer, so that a gigabyte
passes through one and the same piece of memory.
"""

from __future__ import annotations

from typing import Protocol

from .refusal import damaged


class Readable(Protocol):
    """Something to read from: a network body, an open binary file, ``io.BytesIO``."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there and return their number; 0 means the end."""


def read_up_to(source: Readable, view: memoryview) -> int:
    """Fill the buffer, however small the pieces in which the source delivers.

    Returns:
        The number of bytes read; less than the buffer holds only at the source's end.
    """
    filled = 0
    while filled < len(view):
        count = source.readinto(view[filled:])
        if count == 0:
            break
        filled += count
    return filled


def read_exactly(source: Readable, size: int, title: str) -> bytes:
    """Read a known number of bytes; the caller has bounded it.

    Raises:
        ArtifactError: the source ended before.
    """
    buffer = bytearray(size)
    if read_up_to(source, memoryview(buffer)) < size:
        raise truncated(title)
    return bytes(buffer)


def truncated(title: str) -> Exception:
    """Build the error for a part that ends before its time."""
    return damaged(f"{title} is truncated")
