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
from .refusal import damaged, over_limit, unsupported
from .stream import Readable, read_up_to, truncated

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
        A readable of the expanded bytes. It gives 0 only after the compressed stream has been verified to be whole
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
    return unsupported(f"{title} is compressed with zstd, which this Python can't read", remedy)


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
            raise over_limit(f"{self._title} expands to more than {self._budget} bytes")
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
        """Read expanded bytes; 0 when the stream is verified to be whole and alone in its source.

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
            raise damaged(f"{self._title} goes on after the end of its compressed stream")
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
    return damaged(f"{title} can't be decompressed ({error})")


class ZstdFrame:
    """Hands out exactly one zstd frame, piece by piece: the ``zstandard`` package doesn't tell where one ends.

    Frame and block headers are those of RFC 8878, sections 3.1.1 and 3.1.1.2; what they bring is the decoder's to
    judge. A skippable frame has no place in an Artifact.

    Args:
        source: the bytes of the frame, and of nothing else.
        title: what to call them in messages.
    """

    _LARGEST_BLOCK_BYTES = 128 * 1024
    _BLOCK_HEADER_BYTES = 3
    PIECE_BYTES = _LARGEST_BLOCK_BYTES + 4
    """No piece is larger: a block, and the header of the next one or the checksum after it."""

    def __init__(self, source: Readable, title: str) -> None:
        self._source = source
        self._title = title
        self._buffer = memoryview(bytearray(self.PIECE_BYTES))
        self._begun = False
        self._block_bytes = 0
        self._last_block = False
        self._checksum_bytes = 0
        self.ended = False

    def read(self, _size: int = -1) -> memoryview:
        """Read the next piece of the frame; empty at its end. The piece is good until the next call.

        Raises:
            ArtifactError: truncated, not a zstd frame, or followed by something.
        """
        if self.ended:
            return self._buffer[:0]
        if not self._begun:
            return self._read_frame_header()
        size = self._block_bytes + (self._checksum_bytes if self._last_block else self._BLOCK_HEADER_BYTES)
        piece = self._exactly(0, size)
        if not self._last_block:
            self._take_block_header(size)
        elif self._source.readinto(memoryview(bytearray(1))):
            raise damaged(f"{self._title} goes on after the end of its compressed stream")
        else:
            self.ended = True
        return piece

    def _read_frame_header(self) -> memoryview:
        """Read the frame's header, whose first five bytes tell its length, and the first block's."""
        self._begun = True
        if bytes(self._exactly(0, 4)) != b"\x28\xb5\x2f\xfd":
            raise damaged(f"{self._title} doesn't begin with a zstd frame")
        descriptor = self._exactly(4, 5)[0]
        single_segment = descriptor >> 5 & 1
        self._checksum_bytes = 4 * (descriptor >> 2 & 1)
        dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
        length_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
        end = 5 + (1 - single_segment) + dictionary_bytes + length_bytes + self._BLOCK_HEADER_BYTES
        self._exactly(5, end)
        self._take_block_header(end)
        return self._buffer[:end]

    def _take_block_header(self, end: int) -> None:
        fields = int.from_bytes(self._buffer[end - self._BLOCK_HEADER_BYTES : end], "little")
        self._last_block = bool(fields & 1)
        repeats_one_byte = fields >> 1 & 3 == 1
        self._block_bytes = 1 if repeats_one_byte else fields >> 3
        if self._block_bytes > self._LARGEST_BLOCK_BYTES:
            raise over_limit(f"{self._title} has a zstd block of {self._block_bytes} bytes, over the format's bound")

    def _exactly(self, start: int, end: int) -> memoryview:
        piece = self._buffer[start:end]
        if read_up_to(self._source, piece) < len(piece):
            raise truncated(self._title)
        return piece


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
        raise ArtifactError("ART30", "cannot write the Artifact: this Python has no zstd", remedy=remedy) from error
    return zstandard.ZstdCompressor(write_checksum=True).compressobj()
