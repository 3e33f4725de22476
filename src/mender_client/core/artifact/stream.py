"""What an Artifact is read from: a network body, a file and a decoder alike.

The caller brings the buffer, so that memory doesn't grow with what is read.
"""

from __future__ import annotations

from typing import Protocol

from .refusal import damaged


class Readable(Protocol):
    """Something to read from: a network body, an open binary file, ``io.BytesIO``."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there and return their number; 0 means the end."""


class Counted:
    """A readable that counts.

    Attributes:
        offset: the number of bytes that were read.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.offset = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._source.readinto(buffer)
        self.offset += count
        return count


class Prefixed:
    """A readable of a few bytes and what follows them."""

    def __init__(self, prefix: bytes, source: Readable) -> None:
        self._prefix = memoryview(prefix)
        self._source = source

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._prefix:
            return self._source.readinto(buffer)
        count = min(len(buffer), len(self._prefix))
        buffer[:count] = self._prefix[:count]
        self._prefix = self._prefix[count:]
        return count


def read_up_to(source: Readable, view: memoryview) -> int:
    """Fill the buffer, and return the number of bytes read; the buffer is not full only at the end of the source."""
    filled = 0
    while filled < len(view):
        count = source.readinto(view[filled:])
        if count == 0:
            break
        filled += count
    return filled


def read_exactly(source: Readable, size: int, title: str) -> bytes:
    """Read a number of bytes that the caller has limited; raises ArtifactError when the source ends before."""
    buffer = bytearray(size)
    if read_up_to(source, memoryview(buffer)) < size:
        raise truncated(title)
    return bytes(buffer)


def truncated(title: str) -> Exception:
    """The error for a part that ends too early."""
    return damaged(f"{title} is truncated")
