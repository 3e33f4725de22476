"""LMDB files as written by the Go and C++ clients."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.lmdb import read_entries


def database(directory: Path, *batches: dict[bytes, bytes]) -> bytes:
    """A database into which the real library wrote these batches in order."""
    path = directory / "mender-store"
    with lmdb.open(str(path), subdir=False, map_size=1 << 24) as environment:
        for batch in batches:
            with environment.begin(write=True) as transaction:
                for key, value in batch.items():
                    transaction.put(key, value)
    return path.read_bytes()


def test_some_entries(tmp_path: Path) -> None:
    """Every entry is read with its latest value."""
    data = database(tmp_path, {b"artifact-name": b"release-1", b"x": b""}, {b"artifact-name": b"release-2"})
    assert {b"artifact-name": b"release-2", b"x": b""} == read_entries(data)


def test_many_and_large_entries(tmp_path: Path) -> None:
    """Entries on many pages and values larger than a page are read."""
    many = {b"key-%05d" % number: b"value %d" % number for number in range(3000)}
    large = {b"large": bytes(range(256)) * 100}
    assert {**many, **large} == read_entries(database(tmp_path, many, large))


def test_nothing_in_it(tmp_path: Path) -> None:
    """An empty database is read as empty."""
    assert {} == read_entries(database(tmp_path))


def narrow(name: bytes) -> bytes:
    """A database of a 32-bit machine, one entry on one page, laid out by hand after the description in mdb.c."""
    size, header = 4096, struct.pack("<IHHHH", 0, 0, 8, 0, 0)
    free = struct.pack("<IHHIIIII", size, 8, 0, 0, 0, 0, 0, 0xFFFFFFFF)
    metas = b""
    for transaction, root in ((4, 0xFFFFFFFF), (5, 2)):
        tree = struct.pack("<IHHIIIII", 0, 0, 1, 0, 1, 0, 1, root)
        meta = struct.pack("<IIII", 0xBEEFC0DE, 1, 0, 1 << 20) + free + tree + struct.pack("<II", 2, transaction)
        metas += (header + meta).ljust(size, b"\0")
    node = struct.pack("<IHH", len(name), 0, 13) + b"artifact-name" + name
    leaf = struct.pack("<IHHHH", 2, 0, 2, 14, size - len(node)) + struct.pack("<H", size - len(node))
    return metas + leaf.ljust(size - len(node), b"\0") + node


def test_machine_with_32_bits() -> None:
    """A file from a 32-bit machine, in which numbers are shorter, is read too."""
    assert {b"artifact-name": b"release-32"} == read_entries(narrow(b"release-32"))


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 8192, b"\xff" * 8192])
def test_what_is_none(data: bytes) -> None:
    """Any other file is refused."""
    with pytest.raises(ValueError, match="it is not an LMDB file"):
        read_entries(data)


def test_entries_on_each_other() -> None:
    """A file whose entries overlap, so that together they are larger than the file, is refused."""
    data = bytearray(narrow(b"release-32") + bytes(1 << 20))
    page = 2 * 4096
    data[page + 8 : page + 10] = struct.pack("<H", 4096)  # two thousand entries, each of which begins ...
    data[page + 12 : page + 4096] = struct.pack("<H", 16) * 2042  # ... here: 4 bytes after the page header
    struct.pack_into("<IHH", data, page + 16, 1 << 20, 0, 4)
    with pytest.raises(ValueError, match="its entries overlap"):
        read_entries(bytes(data))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact small database of two levels."""
    directory = tmp_path_factory.mktemp("lmdb")
    database(directory, {b"key-%03d" % number: b"v" * 50 for number in range(200)})
    return directory / "mender-store"


@given(
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4)), max_size=4),
    share=st.sampled_from([1.0, 0.5, 0.1]),
)
def test_damaged(sound: Path, changes: list[tuple[int, bytes]], share: float) -> None:
    """A damaged file is read or refused in bounded time, without any other error."""
    data = bytearray(sound.read_bytes())
    for offset, piece in changes:
        place = offset % len(data)
        data[place : place + len(piece)] = piece
    with contextlib.suppress(ValueError):
        read_entries(bytes(data[: int(len(data) * share)]))
