"""zstd with the standard library, from Python 3.14 on; on earlier versions, with a stand-in that behaves alike."""

from __future__ import annotations

import io
import sys
import types

import pytest
import zstandard

from core.artifact.forge import DATA, Forge, outcome
from mender_client.core.artifact import (
    ArtifactReader,
    Compression,
    Header,
    PayloadSource,
    module_image,
    write_artifact,
)


class StandInDecompressor:
    """Behaves like ``compression.zstd.ZstdDecompressor``."""

    def __init__(self, options: dict[object, int]) -> None:
        window_log = options[StandInParameter.window_log_max]
        self._inner = zstandard.ZstdDecompressor(max_window_size=1 << window_log).decompressobj()
        self._ready = b""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended and all its output has been returned."""
        return self._inner.eof and not self._ready

    @property
    def needs_input(self) -> bool:
        """Whether no output is left to return."""
        return not self._ready and not self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """The bytes after the end of the frame."""
        return self._inner.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        """Return at most ``max_length`` bytes."""
        if data:
            self._ready += self._inner.decompress(bytes(data))
        given, self._ready = self._ready[:max_length], self._ready[max_length:]
        return given


class StandInParameter:
    """Names of parameters."""

    window_log_max = "window_log_max"
    checksum_flag = "checksum_flag"


class StandInCompressor:
    """Behaves like ``compression.zstd.ZstdCompressor``."""

    def __init__(self, options: dict[object, int]) -> None:
        self._inner = zstandard.ZstdCompressor(
            write_checksum=bool(options[StandInParameter.checksum_flag])
        ).compressobj()

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Compress bytes."""
        return self._inner.compress(data)

    def flush(self) -> bytes:
        """End the frame."""
        return self._inner.flush()


@pytest.fixture(autouse=True)
def standard_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a ``compression.zstd``, the real one where Python has it."""
    if sys.version_info >= (3, 14):
        return
    module = types.ModuleType("compression")
    module.zstd = types.SimpleNamespace(  # type: ignore[attr-defined]
        ZstdDecompressor=StandInDecompressor,
        ZstdCompressor=StandInCompressor,
        DecompressionParameter=StandInParameter,
        CompressionParameter=StandInParameter,
        ZstdError=zstandard.ZstdError,
    )
    monkeypatch.setitem(sys.modules, "compression", module)


def test_the_reference_tool_s_file_reads_the_same() -> None:
    """The reference tool's file is read the same with either library."""
    header = outcome((DATA / "rootfs-zstd_better.mender").read_bytes())
    assert isinstance(header, Header)
    assert header.compression is Compression.ZSTD


def test_it_writes_what_it_reads() -> None:
    """The standard library's encoder is used if it is available."""
    out = io.BytesIO()
    file = PayloadSource("file", 7, lambda: io.BytesIO(b"content"))
    write_artifact(out, module_image("name", ["board"], "app", compression=Compression.ZSTD), [file])
    assert ArtifactReader(io.BytesIO(out.getvalue())).finish().artifact_name == "name"


def test_broken_frames_are_refused() -> None:
    """Truncation, garbage after the frame and corruption are refused with the same messages as with the package."""
    packed = Forge(compression="zstd").payload_stored()
    for payload, expected in (
        (packed[:-1], "truncated"),
        (packed + b"x", "continues after the end"),
        (b"no zstd at all", "can't be decompressed"),
    ):
        assert expected in str(outcome(Forge(compression="zstd", payload=payload).build()))
