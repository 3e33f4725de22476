"""What an Artifact is read from: a network body, a file or a decoder.

The caller supplies the buffer, so that memory usage doesn't depend on the amount of data.
"""

from __future__ import annotations

from typing import Protocol

from .refusal import damaged


class Readable(Protocol):
    """Something to read from: a network body, an open binary file, ``io.BytesIO``."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read available bytes into the buffer and return their number; 0 means the end."""


class Counted:
    """A readable that counts the bytes read.

    Attributes:
        offset: the number of bytes read so far.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.offset = 0

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._source.readinto(buffer)
        self.offset += count
        return count


class Prefixed:
    """A readable that returns a few given bytes before those of its source."""

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
    """Fill the buffer, and return the number of bytes read, which is smaller only at the end of the source."""
    filled = 0
    while filled < len(view):
        count = source.readinto(view[filled:])
        if count == 0:
            break
        filled += count
    return filled


def read_exactly(source: Readable, size: int, title: str) -> bytes:
    """Read exactly ``size`` bytes, which the caller has checked; raises ArtifactError if the source ends before."""
    buffer = bytearray(size)
    if read_up_to(source, memoryview(buffer)) < size:
        raise truncated(title)
    return bytes(buffer)


def truncated(title: str) -> Exception:
    """The error for a part that ends prematurely."""
    return damaged(f"{title} is truncated")
