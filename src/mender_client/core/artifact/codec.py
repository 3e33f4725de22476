"""The compressions of an Artifact's members: none, gzip, xz, zstd.

A decoder is a readable on top of a readable. It holds one compressed stream: whatever follows it, a second one
included, is refused, for no digest covers it in the payload and other readers might not see it. What comes out is
counted against a budget, so that a bomb ends early; never more is expanded than the caller's buffer takes.
"""

from __future__ import annotations

import enum
from typing import IO, Protocol, cast

from mender_client.errors import ArtifactError

from .limits import Limits
from .refusal import refusal
from .stream import Readable, read_exactly, truncated

_INPUT_BYTES = 64 * 1024
_MOST_OUTPUT_BYTES = 64 * 1024
"""Larger pieces go to fresh pages of the kernel each time, which costs more than it saves."""
_XZ_OVERHEAD_BYTES = 4 * 1024 * 1024
"""What xz needs besides its dictionary, with room to spare."""


class Compression(enum.Enum):
    """How a member of an Artifact is stored."""

    NONE = "none"
    GZIP = "gzip"
    XZ = "xz"
    ZSTD = "zstd"

    @property
    def suffix(self) -> str:
        """What the name of a compressed member ends with."""
        return _SUFFIXES[self]


_SUFFIXES = {
    Compression.NONE: "",
    Compression.GZIP: ".gz",
    Compression.XZ: ".xz",
    Compression.ZSTD: ".zst",
}


def compression_of(name: str, stem: str) -> Compression | None:
    """Tell the compression of a member by its name.

    Args:
        name: the member's name, such as ``header.tar.gz``.
        stem: the name without compression, such as ``header.tar``.

    Returns:
        The compression; None when the name is a different one.
    """
    for compression, suffix in _SUFFIXES.items():
        if name == stem + suffix:
            return compression
    return None


def expansion_budget(stored_bytes: int, most_bytes: int, limits: Limits) -> int:
    """Say how many bytes a compressed member may expand to.

    Args:
        stored_bytes: its size as stored.
        most_bytes: the bound that holds for every member of its kind.
        limits: gives the ratio, and what is free of it.
    """
    return min(most_bytes, max(limits.expansion_free_bytes, stored_bytes * limits.expansion_ratio))


def open_decoder(source: Readable, compression: Compression, title: str, *, budget: int, limits: Limits) -> Readable:
    """Put a decoder on top of a compressed member.

    Args:
        source: the compressed bytes.
        compression: how they are compressed.
        title: what to call the member in messages.
        budget: how many bytes may come out.
        limits: gives the memory that a decoder may take.

    Returns:
        A readable of the expanded bytes. It gives 0 only after the compressed stream has been proven to be whole
        and to fill the source to its end.

    Raises:
        ArtifactError: there is no zstd on this device.
    """
    if compression is Compression.NONE:
        return source
    return _Budget(_open_engine(source, compression, title, limits), title, budget)


def _open_engine(source: Readable, compression: Compression, title: str, limits: Limits) -> Readable:
    # Each module is imported when an Artifact first needs it: most devices only ever see one compression.
    if compression is Compression.GZIP:
        import zlib

        return EngineReader(source, _GzipEngine(), zlib.error, title)
    if compression is Compression.XZ:
        import lzma

        memory = limits.window_bytes + _XZ_OVERHEAD_BYTES
        return EngineReader(source, lzma.LZMADecompressor(lzma.FORMAT_XZ, memory), lzma.LZMAError, title)
    return _open_zstd(source, title, limits)


def _open_zstd(source: Readable, title: str, limits: Limits) -> Readable:
    """The standard library has zstd from Python 3.14 on; before, a package brings it."""
    window_log = limits.window_bytes.bit_length() - 1
    try:
        from compression import zstd
    except ImportError:
        return _open_zstandard(source, title, limits)
    options = {zstd.DecompressionParameter.window_log_max: window_log}
    return EngineReader(source, zstd.ZstdDecompressor(options=options), zstd.ZstdError, title)


def _open_zstandard(source: Readable, title: str, limits: Limits) -> Readable:
    try:
        import zstandard
    except ImportError as error:
        raise _no_zstd(title) from error
    frame = ZstdFrame(source, title)
    decoder = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
    reader = decoder.stream_reader(cast(IO[bytes], frame), read_size=ZstdFrame.PIECE_BYTES, read_across_frames=False)
    return _ZstandardReader(frame, reader, zstandard.ZstdError, title)


def _no_zstd(title: str) -> ArtifactError:
    remedy = "install the extra mender-python-client[zstd], or build the Artifact with gzip"
    return refusal(f"{title} is compressed with zstd, which this Python can't read", remedy=remedy)


class _Budget:
    """Counts what comes out of a decoder."""

    def __init__(self, source: Readable, title: str, budget: int) -> None:
        self._source = source
        self._title = title
        self._left = budget
        self._budget = budget

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._source.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise refusal(f"{self._title} expands to more than {self._budget} bytes")
        return count


class Engine(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool:
        """The compressed stream has ended and its checksum was right."""

    @property
    def needs_input(self) -> bool:
        """Nothing comes out without further input."""

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        """Expand; at most ``max_length`` bytes come out, unread input is kept."""


class _GzipEngine:
    """zlib's decompressor in the clothes of the newer ones, which keep their unread input themselves."""

    def __init__(self) -> None:
        import zlib

        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail or data, max_length)


class EngineReader:
    """Pulls compressed bytes from a source through a decompressor.

    Args:
        source: the compressed bytes.
        engine: the decompressor, fresh.
        error: what it raises for bytes that it can't read.
        title: what to call the source in messages.
    """

    def __init__(self, source: Readable, engine: Engine, error: type[Exception], title: str) -> None:
        self._source = source
        self._engine = engine
        self._error = error
        self._title = title
        self._input = memoryview(bytearray(_INPUT_BYTES))

    def readinto(self, buffer: memoryview, /) -> int:
        """Read expanded bytes; 0 when the stream is proven to be whole and alone in its source.

        Raises:
            ArtifactError: it is broken, truncated, followed by something, or over the memory bound.
        """
        most = min(len(buffer), _MOST_OUTPUT_BYTES)
        while not self._engine.eof:
            piece = self._decompress(most)
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
        if self._engine.unused_data or self._source.readinto(self._input):
            raise refusal(f"{self._title} goes on after the end of its compressed stream")
        return 0

    def _decompress(self, most: int) -> bytes:
        fresh = self._input[:0]
        if self._engine.needs_input:
            fresh = self._input[: self._source.readinto(self._input)]
            if not fresh:
                raise truncated(self._title)
        try:
            return self._engine.decompress(fresh, most)
        except (self._error, EOFError) as error:
            raise undecodable(self._title, error) from error


def undecodable(title: str, error: Exception) -> ArtifactError:
    """Build the error for compressed bytes that a decompressor can't read."""
    return refusal(f"{title} can't be decompressed ({error})")


class ZstdFrame:
    """Hands out exactly one zstd frame, block by block: the ``zstandard`` package doesn't tell where one ends.

    Frame and block headers are those of RFC 8878, sections 3.1.1 and 3.1.1.2; what they bring is the decoder's to
    judge. A skippable frame and a dictionary have no place in an Artifact.
    """

    _LARGEST_BLOCK_BYTES = 128 * 1024
    PIECE_BYTES = _LARGEST_BLOCK_BYTES + 32
    """No piece is larger: a block with its header, and the frame's header before or the checksum after it."""

    def __init__(self, source: Readable, title: str) -> None:
        self._source = source
        self._title = title
        self._begun = False
        self._checksum_bytes = 0
        self.ended = False

    def read(self, _size: int = -1) -> bytes:
        """Read the next piece of the frame; empty at its end.

        Raises:
            ArtifactError: truncated, not a zstd frame, or followed by something.
        """
        if self.ended:
            return b""
        lead = b"" if self._begun else self._read_frame_header()
        block = self._exactly(3)
        fields = int.from_bytes(block, "little")
        size = 1 if fields >> 1 & 3 == 1 else fields >> 3
        if size > self._LARGEST_BLOCK_BYTES:
            raise refusal(f"{self._title} has a zstd block of {size} bytes, more than the format permits")
        content = self._exactly(size)
        self.ended = bool(fields & 1)
        tail = self._exactly(self._checksum_bytes) if self.ended else b""
        if self.ended and self._source.readinto(memoryview(bytearray(1))):
            raise refusal(f"{self._title} goes on after the end of its compressed stream")
        return b"".join((lead, block, content, tail))

    def _read_frame_header(self) -> bytes:
        self._begun = True
        start = self._exactly(5)
        if start[:4] != b"\x28\xb5\x2f\xfd":
            raise refusal(f"{self._title} doesn't begin with a zstd frame")
        descriptor = start[4]
        single_segment = descriptor >> 5 & 1
        self._checksum_bytes = 4 * (descriptor >> 2 & 1)
        dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
        length_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
        return start + self._exactly((1 - single_segment) + dictionary_bytes + length_bytes)

    def _exactly(self, size: int) -> bytes:
        return read_exactly(self._source, size, self._title)


class _BufferReader(Protocol):
    def readinto(self, buffer: memoryview, /) -> int: ...


class _ZstandardReader:
    """The ``zstandard`` package's reader, which takes a frame that breaks off for one that has ended."""

    def __init__(self, frame: ZstdFrame, reader: _BufferReader, error: type[Exception], title: str) -> None:
        self._frame = frame
        self._reader = reader
        self._error = error
        self._title = title

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = self._reader.readinto(buffer)
        except self._error as error:
            raise undecodable(self._title, error) from error
        if count == 0 and not self._frame.ended:
            raise truncated(self._title)
        return count


class Encoder(Protocol):
    """Compresses; the same bytes for the same input and the same libraries."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Take bytes in; what comes out may be empty."""

    def flush(self) -> bytes:
        """End the stream."""


class _Plain:
    def compress(self, data: bytes | memoryview, /) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


def open_encoder(compression: Compression) -> Encoder:
    """Make an encoder at the library's default level, without time or name in what it writes.

    Raises:
        ArtifactError: there is no zstd on this machine.
    """
    if compression is Compression.NONE:
        return _Plain()
    if compression is Compression.GZIP:
        import zlib

        return zlib.compressobj(wbits=31)
    if compression is Compression.XZ:
        import lzma

        return lzma.LZMACompressor(lzma.FORMAT_XZ)
    return _zstd_encoder()


def _zstd_encoder() -> Encoder:
    try:
        from compression import zstd

        encoder: Encoder = zstd.ZstdCompressor(options={zstd.CompressionParameter.checksum_flag: 1})
        return encoder
    except ImportError:
        pass
    try:
        import zstandard
    except ImportError as error:
        remedy = "install the extra mender-python-client[zstd], or choose gzip"
        raise ArtifactError(f"cannot write the Artifact: this Python has no zstd; {remedy}") from error
    return zstandard.ZstdCompressor(write_checksum=True).compressobj()
