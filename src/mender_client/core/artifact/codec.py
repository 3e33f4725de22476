"""The compressions of an Artifact's members: none, gzip, xz, zstd.

A decoder is a readable that reads from another one. It accepts exactly one compressed stream, which with gzip is a
sequence of members that every reader concatenates. Data after it is refused, since in the payload no digest covers it
and other readers might ignore it. A decoder never returns more than the caller's buffer can hold; stopping a
decompression bomb is left to the tar reader, which knows how much data to expect.
"""

from __future__ import annotations

import enum
from functools import partial
from typing import IO, Protocol, cast

from mender_client.errors import ArtifactError

from .limits import Limits
from .refusal import damaged, over_limit, unsupported
from .stream import Readable, read_up_to, truncated

_INPUT_BYTES = 64 * 1024
_MOST_OUTPUT_BYTES = 64 * 1024
"""Larger pieces would need new pages from the kernel each time, which costs more than it saves."""
_GZIP_INPUT_BYTES = 16 * 1024
"""At the end of each member, zlib copies the unused rest of its input."""
_GZIP_MAGIC = 0x1F
_MOST_EMPTY_MEMBERS = 4096
"""More than the largest index has; this many members may be read in a row without producing any output."""
_XZ_OVERHEAD_BYTES = 4 * 1024 * 1024
"""More than xz needs besides its dictionary."""


class Compression(enum.Enum):
    """How a member of an Artifact is stored."""

    NONE = "none"
    GZIP = "gzip"
    XZ = "xz"
    ZSTD = "zstd"

    @property
    def suffix(self) -> str:
        """The file name suffix of a compressed member."""
        return {"none": "", "gzip": ".gz", "xz": ".xz", "zstd": ".zst"}[self.value]


def compression_of(name: str, stem: str) -> Compression | None:
    """How a member such as ``header.tar.gz`` is compressed, given its uncompressed name; None for any other member."""
    return next((one for one in Compression if name == stem + one.suffix), None)


def open_decoder(source: Readable, compression: Compression, title: str, limits: Limits) -> Readable:
    """Decompress a member.

    Args:
        source: the compressed bytes.
        compression: how they are compressed.
        title: what to call the member in messages.
        limits: the memory that a decoder may use.

    Returns:
        A readable of the expanded bytes. It reports the end only when the compressed stream is complete and nothing
        follows it.

    Raises:
        ArtifactError: the member is compressed with zstd, which this device doesn't support.
    """
    if compression is Compression.NONE:
        return source
    if compression is Compression.GZIP:
        return GzipReader(source, title)
    if compression is Compression.XZ:
        # imported when first needed: most devices never need it
        import lzma

        memory = limits.window_bytes + _XZ_OVERHEAD_BYTES
        return EngineReader(source, lzma.LZMADecompressor(lzma.FORMAT_XZ, memory), lzma.LZMAError, title)
    return _open_zstd(source, title, limits)


def _open_zstd(source: Readable, title: str, limits: Limits) -> Readable:
    """Decompress zstd with the standard library or, before Python 3.14, with the package ``zstandard``."""
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
        remedy = "install the extra mender-python-client[zstd], or build the Artifact with gzip"
        raise unsupported(f"{title} is compressed with zstd, which this Python can't read", remedy) from error
    frame = ZstdFrame(source, title)
    decoder = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
    reader = decoder.stream_reader(cast(IO[bytes], frame), read_size=ZstdFrame.PIECE_BYTES, read_across_frames=False)
    return _ZstandardReader(frame, reader, zstandard.ZstdError, title)


class Engine(Protocol):
    """A decompressor of the standard library, as documented for ``lzma.LZMADecompressor``."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class GzipReader:
    """A readable of the expanded content of a sequence of gzip members.

    Args:
        source: the members, and nothing else.
        title: what to call the source in messages.
    """

    def __init__(self, source: Readable, title: str) -> None:
        import zlib

        self._source = source
        self._title = title
        self._new_inflate = partial(zlib.decompressobj, wbits=31)
        self._error = zlib.error
        self._inflate = self._new_inflate()
        self._memory = memoryview(bytearray(_INPUT_BYTES))
        self._input = self._memory[:0]
        self._empty_members = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Read expanded bytes; 0 when the last member is complete and nothing follows it.

        Raises:
            ArtifactError: a member is broken or truncated, something else follows, or too many members are empty.
        """
        most = min(len(buffer), _MOST_OUTPUT_BYTES)
        while not self._inflate.eof or self._begin_member():
            piece = self._decompress(most)
            if piece:
                self._empty_members = 0
                buffer[: len(piece)] = piece
                return len(piece)
        return 0

    def _begin_member(self) -> bool:
        """Advance to the next member; false at the end."""
        if not self._fill():
            return False
        if self._input[0] != _GZIP_MAGIC:
            raise damaged(f"{self._title} continues after the end of its compressed stream")
        self._empty_members += 1
        if self._empty_members > _MOST_EMPTY_MEMBERS:
            raise over_limit(f"{self._title} has more than {_MOST_EMPTY_MEMBERS} empty gzip members in a row")
        self._inflate = self._new_inflate()
        return True

    def _decompress(self, most: int) -> bytes:
        if not self._fill():
            raise truncated(self._title)
        given = self._input[:_GZIP_INPUT_BYTES]
        try:
            piece = self._inflate.decompress(given, most)
        except (self._error, MemoryError) as error:
            raise _not_decompressed(self._title, error) from error
        left = len(self._inflate.unconsumed_tail) or len(self._inflate.unused_data)
        self._input = self._input[len(given) - left :]
        return piece

    def _fill(self) -> bool:
        """Make sure that input is available; false at the end of the source."""
        if not self._input:
            self._input = self._memory[: self._source.readinto(self._memory)]
        return bool(self._input)


class EngineReader:
    """A readable of the output of a decompressor.

    Args:
        source: the compressed bytes.
        engine: a new decompressor.
        error: the exception that it raises for invalid input.
        title: what to call the source in messages.
    """

    def __init__(self, source: Readable, engine: Engine, error: type[Exception], title: str) -> None:
        self._source = source
        self._engine = engine
        self._error = error
        self._title = title
        self._input = memoryview(bytearray(_INPUT_BYTES))

    def readinto(self, buffer: memoryview, /) -> int:
        """Read expanded bytes; 0 when the stream is complete and nothing follows it.

        Raises:
            ArtifactError: it is broken, truncated, followed by other data, or needs too much memory.
        """
        most = min(len(buffer), _MOST_OUTPUT_BYTES)
        while not self._engine.eof:
            piece = self._decompress(most)
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
        if self._engine.unused_data or self._source.readinto(self._input):
            raise damaged(f"{self._title} continues after the end of its compressed stream")
        return 0

    def _decompress(self, most: int) -> bytes:
        fresh = self._input[:0]
        if self._engine.needs_input:
            fresh = self._input[: self._source.readinto(self._input)]
            if not fresh:
                raise truncated(self._title)
        try:
            return self._engine.decompress(fresh, most)
        except (self._error, EOFError, MemoryError) as error:
            raise _not_decompressed(self._title, error) from error


def _not_decompressed(title: str, error: Exception) -> Exception:
    """The error for invalid data, or for data that needs too much memory; only the exception text tells them apart."""
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        remedy = "compress it with gzip, or with a smaller window: that of xz -6 is 8 MiB"
        return unsupported(f"{title} needs more memory to be decompressed than this device has for it", remedy)
    return damaged(f"{title} can't be decompressed ({error})")


class ZstdFrame:
    """Reads exactly one zstd frame, piece by piece: the ``zstandard`` package doesn't report where a frame ends.

    Frame and block headers are parsed as in RFC 8878, sections 3.1.1 and 3.1.1.2; the rest is left to the decoder.
    Skippable frames are refused.

    Args:
        source: the bytes of the frame, and nothing else.
        title: what to call them in messages.
    """

    _LARGEST_BLOCK_BYTES = 128 * 1024
    _BLOCK_HEADER_BYTES = 3
    PIECE_BYTES = _LARGEST_BLOCK_BYTES + 4
    """The largest piece: a block, and the header of the next one or the checksum."""

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
        """Read the next piece of the frame, valid until the next call; empty at the end.

        Raises:
            ArtifactError: the source is truncated, is not a zstd frame, or continues after the frame.
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
            raise damaged(f"{self._title} continues after the end of its compressed stream")
        else:
            self.ended = True
        return piece

    def _read_frame_header(self) -> memoryview:
        """Read the header of the frame, whose length follows from its first five bytes, and that of the first block."""
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
            raise over_limit(f"{self._title} has a zstd block of {self._block_bytes} bytes, over the format's limit")

    def _exactly(self, start: int, end: int) -> memoryview:
        piece = self._buffer[start:end]
        if read_up_to(self._source, piece) < len(piece):
            raise truncated(self._title)
        return piece


class _BufferReader(Protocol):
    def readinto(self, buffer: memoryview, /) -> int: ...


class _ZstandardReader:
    """The reader of the ``zstandard`` package, which by itself doesn't detect a truncated frame."""

    def __init__(self, frame: ZstdFrame, reader: _BufferReader, error: type[Exception], title: str) -> None:
        self._frame = frame
        self._reader = reader
        self._error = error
        self._title = title

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = self._reader.readinto(buffer)
        except (self._error, MemoryError) as error:
            raise _not_decompressed(self._title, error) from error
        if count == 0 and not self._frame.ended:
            raise truncated(self._title)
        return count


class Encoder(Protocol):
    """A compressor of the standard library, as documented for ``lzma.LZMACompressor``."""

    def compress(self, data: bytes | memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes | memoryview, /) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


def open_encoder(compression: Compression) -> Encoder:
    """An encoder at the library's default level, whose output contains neither a time nor a name.

    Raises:
        ArtifactError: this machine doesn't support zstd.
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
        raise ArtifactError(
            "ART30", "cannot write the Artifact: this Python has no zstd support", remedy=remedy
        ) from error
    return zstandard.ZstdCompressor(write_checksum=True).compressobj()
