"""Extraction of the payload by ``artifact extract`` and ``mender_client.Artifact``: only verified files appear."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

import forking
from app.artifact_program import DATA, Run, described, make_run
from mender_client import Artifact, ArtifactError, StorageError

TWO_FILES = DATA / "module-files-scripts-meta.mender"


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs one command."""
    return make_run(capsysbinary)


def contents(directory: Path) -> dict[str, bytes]:
    """Return the names and contents of all files in a directory, including hidden ones."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """An Artifact with a good payload file, followed by one that doesn't match the manifest."""
    from core.artifact.forge import Forge, tar_file

    members = [tar_file("good", b"good"), tar_file("file", b"CONTENT")]
    path = tmp_path / "broken.mender"
    path.write_bytes(Forge(files=[("good", b"good"), ("file", b"content")], payload_members=members).build())
    return path


def test_extract_writes_each_file(run: Run, tmp_path: Path) -> None:
    """Exactly the payload's files are written; the directory is created, and existing files are replaced."""
    directory = tmp_path / "a" / "b"
    expected = {name: run("cat", TWO_FILES, name).out for name in ("text.txt", "small.bin")}
    for _ in range(2):
        done = run("extract", TWO_FILES, directory)
        assert (0, b"", "") == (done.code, done.out, done.err)
        assert expected == contents(directory)
        (directory / "text.txt").write_text("old")


def test_extract_from_a_pipe(tmp_path: Path) -> None:
    """``-`` reads standard input."""
    argv = [str(forking.python()), "-m", "mender_client", "artifact", "extract", "-", str(tmp_path / "out")]
    with TWO_FILES.open("rb") as stream:
        subprocess.run(argv, stdin=stream, check=True)
    assert {"text.txt", "small.bin"} == set(contents(tmp_path / "out"))


def test_nothing_appears_of_a_broken_artifact(run: Run, tmp_path: Path, broken: Path) -> None:
    """Not even the good files of a broken Artifact are written, and existing files are kept."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "good").write_text("old")
    done = run("extract", broken, tmp_path / "out")
    assert (1, True) == (done.code, "isn't what the manifest says" in done.err)
    assert {"good": b"old"} == contents(tmp_path / "out")


def test_links_in_the_directory_are_replaced(run: Run, tmp_path: Path) -> None:
    """A symbolic link in the directory can't be used to make the client write elsewhere."""
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "out" / "text.txt").symlink_to(tmp_path / "victim")
    assert 0 == run("extract", TWO_FILES, tmp_path / "out").code
    assert ("untouched", False) == ((tmp_path / "victim").read_text(), (tmp_path / "out" / "text.txt").is_symlink())


def test_owner_and_permissions_are_those_of_new_files(run: Run, tmp_path: Path) -> None:
    """The owner and permissions stored in the Artifact are ignored, since the manifest doesn't cover them."""
    umask = os.umask(0o027)
    try:
        assert 0 == run("extract", DATA / "rootfs-none.mender", tmp_path / "out").code
    finally:
        os.umask(umask)
    state = (tmp_path / "out" / "rootfs.img").stat()
    assert (0o100640, os.getuid()) == (state.st_mode, state.st_uid)


@pytest.mark.parametrize(
    ("artifact", "directory", "said"),
    [
        ("gone.mender", "out", "cannot read"),
        (str(TWO_FILES), "file/out", "cannot write to"),
        (str(TWO_FILES), "file", "cannot write to"),
    ],
)
def test_what_can_t_be_read_or_written(run: Run, tmp_path: Path, artifact: str, directory: str, said: str) -> None:
    """One line on standard error says which path can't be read or written."""
    (tmp_path / "file").touch()
    done = run("extract", tmp_path / artifact, tmp_path / directory)
    assert (1, b"", 1) == (done.code, done.out, done.err.count("\n"))
    assert said in done.err


def test_a_program_sees_what_the_artifact_says(run: Run) -> None:
    """Names, types, provides and meta-data are available without reading the payload."""
    artifact = Artifact.open(str(TWO_FILES))
    said = described(run, TWO_FILES)
    payload = said["payloads"][0]
    assert (said["artifact_name"], None, ("qemux86-64",)) == (artifact.name, artifact.group, artifact.device_types)
    assert (payload["type"], payload["provides"]) == (artifact.payload_type, artifact.provides)
    assert (tuple(payload["clears"]), payload["meta_data"]) == (artifact.clears_provides, artifact.meta_data)
    assert ("text.txt", "small.bin") == artifact.file_names


def test_what_is_absent_is_empty() -> None:
    """Absent provides and meta-data are an empty mapping rather than None."""
    artifact = Artifact.open(DATA / "no-provides-fields.mender")
    assert ({}, None, {}) == (artifact.provides, artifact.clears_provides, artifact.meta_data)
    assert (None, ()) == (Artifact.open(DATA / "bootstrap-no-payload.mender").payload_type, ())


def test_a_program_extracts(tmp_path: Path) -> None:
    """The paths are returned in the Artifact's order."""
    paths = Artifact.open(TWO_FILES).extract(tmp_path / "out")
    assert (tmp_path / "out" / "text.txt", tmp_path / "out" / "small.bin") == paths
    assert {path.name: path.read_bytes() for path in paths} == contents(tmp_path / "out")
    assert () == Artifact.open(DATA / "bootstrap-no-payload.mender").extract(tmp_path / "empty")


class Slow(io.BytesIO):
    """A file that accepts only some of the bytes in each write, as a raw device may."""

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]  # only memoryviews are passed
        """Write at most 1000 bytes."""
        return super().write(data[:1000])


def test_a_program_copies_one_file(run: Run) -> None:
    """The file is copied to any writable object, including one that accepts few bytes at a time."""
    out = Slow()
    Artifact.open(TWO_FILES).copy("text.txt", out)
    assert run("cat", TWO_FILES, "text.txt").out == out.getvalue()
    with pytest.raises(
        ArtifactError, match=r"cannot find the payload file 'x': the Artifact has text\.txt, small\.bin"
    ):
        Artifact.open(TWO_FILES).copy("x", out)


def test_a_program_gets_the_same_errors(tmp_path: Path, broken: Path) -> None:
    """A broken payload is detected when it is read, a missing file when it is opened."""
    with pytest.raises(ArtifactError, match="isn't what the manifest says"):
        Artifact.open(broken).copy("file", io.BytesIO())
    with pytest.raises(ArtifactError, match="isn't what the manifest says"):
        Artifact.open(broken).extract(tmp_path / "out")
    with pytest.raises(StorageError, match="cannot read"):
        Artifact.open(tmp_path / "gone.mender")
