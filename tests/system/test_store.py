"""Storage for one Artifact, partial or complete."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mender_client.errors import StorageError
from mender_client.system.store import ArtifactDirectory, PartialArtifact

from .tmpfs import fill, small_disk


@pytest.fixture
def store(tmp_path: Path) -> ArtifactDirectory:
    """A store in an empty directory."""
    return ArtifactDirectory(tmp_path / "artifact.mender")


def read_all(partial: PartialArtifact) -> bytes:
    """The rest of the file, read a few bytes at a time."""
    data, buffer = b"", memoryview(bytearray(4))
    while count := partial.readinto(buffer):
        data += buffer[:count]
    return data


def test_arrival(store: ArtifactDirectory, tmp_path: Path) -> None:
    """Downloaded bytes are written to a private partial file, which becomes the Artifact only on commit."""
    partial = store.open_partial()
    partial.write(memoryview(b"hello "))
    partial.write(memoryview(b"world"))
    partial.sync()
    partial.close()
    assert (11, ["artifact.mender.part"]) == (store.partial_size(), [entry.name for entry in tmp_path.iterdir()])
    assert 0o600 == stat.S_IMODE((tmp_path / "artifact.mender.part").stat().st_mode)
    store.commit()
    assert ["artifact.mender"] == [entry.name for entry in tmp_path.iterdir()]
    assert b"hello world" == (tmp_path / "artifact.mender").read_bytes()


def test_large_arrival(store: ArtifactDirectory, tmp_path: Path) -> None:
    """Data that is written back to disk while more arrives is stored unchanged, also after starting over."""
    piece = bytes(range(256)) * 20_000
    partial = store.open_partial()
    for count in (3, 4):
        partial.restart()
        for _ in range(count):
            partial.write(memoryview(piece))
    partial.sync()
    partial.close()
    assert 4 * piece == (tmp_path / "artifact.mender.part").read_bytes()


def test_whole_but_not_handed_over(store: ArtifactDirectory, tmp_path: Path) -> None:
    """An Artifact that was complete before a power cut is read from its beginning, so that it is verified again."""
    (tmp_path / "artifact.mender").write_bytes(b"hello world")
    assert 11 == store.partial_size()
    partial = store.open_partial()
    assert b"hello world" == read_all(partial)
    partial.close()
    assert ["artifact.mender.part"] == [entry.name for entry in tmp_path.iterdir()]


def test_going_on_after_a_restart(store: ArtifactDirectory, tmp_path: Path) -> None:
    """After a restart, the bytes on disk are read again, and new ones are appended to them."""
    (tmp_path / "artifact.mender.part").write_bytes(b"hello ")
    partial = store.open_partial()
    assert b"hello " == read_all(partial)
    partial.write(memoryview(b"world"))
    partial.close()
    assert b"hello world" == (tmp_path / "artifact.mender.part").read_bytes()


def test_starting_over(store: ArtifactDirectory, tmp_path: Path) -> None:
    """Starting over discards all bytes."""
    partial = store.open_partial()
    partial.write(memoryview(b"of another object"))
    partial.restart()
    partial.write(memoryview(b"new"))
    partial.close()
    assert b"new" == (tmp_path / "artifact.mender.part").read_bytes()


def test_discard(store: ArtifactDirectory, tmp_path: Path) -> None:
    """Discarding removes the partial and the complete Artifact, and succeeds if there is neither."""
    (tmp_path / "artifact.mender").touch()
    (tmp_path / "artifact.mender.part").touch()
    store.discard()
    store.discard()
    assert [] == list(tmp_path.iterdir())


def test_nothing_to_commit(store: ArtifactDirectory) -> None:
    """A commit without a partial Artifact raises an error."""
    with pytest.raises(StorageError, match=r"cannot rename the downloaded Artifact to .*: No such file"):
        store.commit()


def test_planted_link(store: ArtifactDirectory, tmp_path: Path) -> None:
    """A planted symbolic link in place of the partial Artifact is refused, and its target is never touched."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "artifact.mender.part").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match=r"cannot open .*part: .*; it must not be a symbolic link"):
        store.open_partial()
    store.discard()
    assert "mine" == (tmp_path / "victim").read_text()


def test_directory_in_the_way(store: ArtifactDirectory, tmp_path: Path) -> None:
    """A directory in place of the partial Artifact causes an error."""
    (tmp_path / "artifact.mender.part").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        store.open_partial()
    with pytest.raises(StorageError, match="cannot remove"):
        store.discard()


def test_full_disk(tmp_path: Path) -> None:
    """A full disk causes a StorageError with a remedy; the bytes that fitted are kept, and discarding frees them."""
    with small_disk(tmp_path / "disk") as disk:
        store = ArtifactDirectory(disk / "artifact.mender")
        free = store.free_bytes()
        assert 0 < free <= 64 * 1024
        partial = store.open_partial()
        with pytest.raises(StorageError, match=r"cannot write .*part: No space left on device; free some space"):
            partial.write(memoryview(b"x" * (free + 1)))
        partial.close()
        assert 0 == store.free_bytes()
        store.discard()
        assert free == store.free_bytes()
        fill(disk)
        assert 0 == store.free_bytes()


def test_free_space_of_nowhere(tmp_path: Path) -> None:
    """If the free space can't be determined, the error names the directory."""
    with pytest.raises(StorageError, match=rf"cannot determine the free space of {tmp_path}/no: No such file"):
        ArtifactDirectory(tmp_path / "no" / "artifact.mender").free_bytes()


def test_closed(store: ArtifactDirectory) -> None:
    """Each operation on a closed partial Artifact raises a StorageError, as after an I/O error."""
    partial = store.open_partial()
    partial.close()
    with pytest.raises(StorageError, match="cannot read"):
        partial.readinto(memoryview(bytearray(1)))
    with pytest.raises(StorageError, match="cannot write"):
        partial.write(memoryview(b"x"))
    with pytest.raises(StorageError, match="cannot empty"):
        partial.restart()
    with pytest.raises(StorageError, match="cannot write"):
        partial.sync()
