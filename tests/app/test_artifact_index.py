"""Artifacts with an index: written for images by default, added to existing Artifacts, shown and compared."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.artifact_program import DATA, Run, described, key_pair, make_run
from keys import RSA
from mender_client.app.artifact.indexing import apply_in_threads
from mender_client.core.artifact.indexed import Packed, pack

MIB = 1 << 20


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs one command."""
    return make_run(capsysbinary)


def write_image(path: Path, size: int) -> Path:
    """Write an image that starts with random data; the rest is a hole."""
    with path.open("wb") as file:
        file.write(random.Random(1).randbytes(200_000))
        file.truncate(size)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root file system image large enough for an index."""
    return write_image(tmp_path / "rootfs.ext4", 8 * MIB)


def write(run: Run, out: Path, image: Path, *words: str | Path) -> Path:
    """Write an Artifact of an image."""
    done = run("write", "rootfs-image", "-n", "release-2", "-t", "board", "-f", image, "-o", out, *words)
    assert (0, b"", "") == (done.code, done.out, done.err)
    return out


def index_of(run: Run, artifact: Path) -> dict[str, int] | None:
    """Return the index in the output of ``show --json``."""
    index = described(run, artifact)["payloads"][0]["index"]
    assert index is None or isinstance(index, dict)
    return index


def test_an_image_from_8_mib_on_gets_an_index(run: Run, tmp_path: Path, image: Path) -> None:
    """An index is written by default with gzip, unless disabled; smaller images and other compressions get none."""
    index = index_of(run, write(run, tmp_path / "out", image))
    assert index is not None
    stored_bytes = index.pop("stored_bytes")
    assert 2000 > stored_bytes
    assert {"block_bytes": 4096, "blocks": 2049, "member_bytes": 32768, "members": 258} == index
    assert index_of(run, write(run, tmp_path / "out", image, "--no-index")) is None
    assert index_of(run, write(run, tmp_path / "out", image, "--compression", "xz")) is None
    assert index_of(run, write(run, tmp_path / "out", write_image(tmp_path / "small", 8 * MIB - 1))) is None


def test_show_tells_of_the_index(run: Run, tmp_path: Path, image: Path) -> None:
    """The text output has one line for the index."""
    indexed = run("show", write(run, tmp_path / "out", image)).out.decode()
    (line,) = [line for line in indexed.splitlines() if line.startswith("Index")]
    assert line.split(maxsplit=1)[1].startswith("2,049 blocks in 258 gzip members; ")
    plain = run("show", write(run, tmp_path / "out", image, "--no-index")).out.decode()
    assert "Index" not in plain


def test_index_makes_of_an_artifact_what_write_would_have_made(run: Run, tmp_path: Path, image: Path) -> None:
    """The output is identical, including the signature; the source is unchanged, and no other file is left behind."""
    private, public = key_pair(tmp_path, "key", RSA)
    plain = write(run, tmp_path / "plain", image, "--no-index", "-k", private)
    before = plain.read_bytes()
    done = run("index", plain, "-o", tmp_path / "indexed")
    assert (0, b"", "") == (done.code, done.out, done.err)
    assert write(run, tmp_path / "direct", image, "-k", private).read_bytes() == (tmp_path / "indexed").read_bytes()
    assert before == plain.read_bytes()
    assert 0 == run("verify", "-k", public, tmp_path / "indexed").code
    names = {"key.pem", "key.pub", "rootfs.ext4", "plain", "indexed", "direct"}
    assert names == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("compression", ["none", "xz", "zstd"])
def test_index_packs_any_compression_anew(run: Run, tmp_path: Path, image: Path, compression: str) -> None:
    """The Artifact has the same description as before; its header keeps its compression."""
    plain = write(run, tmp_path / "plain", image, "--compression", compression)
    assert 0 == run("index", plain, "-o", tmp_path / "indexed").code
    before, after = described(run, plain), described(run, tmp_path / "indexed")
    assert after["payloads"][0].pop("index") is not None
    assert before["payloads"][0].pop("index") is None
    assert before == after
    assert image.read_bytes() == run("cat", tmp_path / "indexed").out


def test_an_augmented_artifact_can_be_indexed(run: Run, tmp_path: Path) -> None:
    """The reference tool's augmented Artifact is indexed."""
    name = next(path.name for path in DATA.glob("*.mender") if b"manifest-augment" in path.read_bytes())
    assert 0 == run("index", DATA / name, "-o", tmp_path / "out").code
    assert index_of(run, tmp_path / "out") is not None
    assert described(run, DATA / name)["augmented"]


def cut(path: Path) -> None:
    """Cut off the end of a file."""
    path.write_bytes(path.read_bytes()[:-5000])


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda run, path, image: write(run, path, image), "ART71"),
        (lambda run, path, image: path.write_bytes((DATA / "bootstrap-no-payload.mender").read_bytes()), "ART72"),
        (lambda run, path, image: path.write_bytes(b"not an Artifact" * 1000), "ART06"),
        (
            lambda run, path, image: path.write_bytes(write(run, path, image, "--no-index").read_bytes()[:-5000]),
            "ART02",
        ),
    ],
)
def test_what_cannot_be_indexed_is_refused_and_nothing_is_written(
    run: Run, tmp_path: Path, image: Path, make: object, code: str
) -> None:
    """An Artifact that has an index, has no payload or is damaged is refused, as is a file that is no Artifact."""
    assert callable(make)
    make(run, tmp_path / "in", image)
    done = run("index", tmp_path / "in", "-o", tmp_path / "out")
    assert (1, f"[{code}]") == (done.code, done.err.strip()[-7:])
    assert {"in", "rootfs.ext4"} == {path.name for path in tmp_path.iterdir()}


def test_the_output_is_another_file(run: Run, tmp_path: Path, image: Path) -> None:
    """The input Artifact isn't overwritten, and standard input is refused because it can't be read twice."""
    plain = write(run, tmp_path / "plain", image, "--no-index")
    before = plain.read_bytes()
    assert "[ART52]" in run("index", plain, "-o", plain).err
    assert before == plain.read_bytes()
    assert 64 == run("index", "-", "-o", tmp_path / "out").code


def test_the_number_of_threads_changes_nothing() -> None:
    """Parts are returned in order, however many are compressed in parallel."""
    parts = [random.Random(seed).randbytes(100_000) + bytes(100_000) for seed in range(12)]
    expected = list(map(pack, parts))
    for threads in (1, 2, 7):
        assert expected == list(apply_in_threads(pack, iter(parts), threads))


def test_few_parts_are_in_memory_at_once() -> None:
    """The number of parts read ahead doesn't depend on the length of the payload."""
    taken = 0

    def parts() -> Iterator[bytes]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield b"%d" % number

    for number, _ in enumerate(apply_in_threads(lambda part: Packed([part], b"", b""), parts(), 2), 1):
        assert 5 >= taken - number
    assert 50 == taken


def test_a_failing_part_ends_the_work() -> None:
    """An exception while a part is compressed is raised in the caller."""

    def fail(part: bytes) -> Packed:
        raise ValueError(part)

    with pytest.raises(ValueError, match="x"):
        list(apply_in_threads(fail, iter([b"x"] * 9), 2))


def test_memory_does_not_grow_with_the_image(run: Run, tmp_path: Path) -> None:
    """Only a few parts and 8 bytes per block are held."""
    image = write_image(tmp_path / "large", 64 * MIB)
    tracemalloc.start()
    try:
        write(run, tmp_path / "out", image)
        assert 16 * MIB > tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def difference(run: Run, *words: Path) -> dict[str, Any]:
    """Return the output of ``diff --json``."""
    done = run("diff", "--json", *words)
    assert (0, "") == (done.code, done.err)
    result = json.loads(done.out)
    assert isinstance(result, dict)
    return result


def write_images(directory: Path) -> tuple[Path, Path]:
    """Write two images that differ in one block in the middle."""
    old, new = directory / "old.img", directory / "new.img"
    content = bytearray(random.Random(3).randbytes(500_000) * 19)[: 9 * MIB]
    old.write_bytes(content)
    content[5 * MIB : 5 * MIB + 100] = bytes(100)
    new.write_bytes(content)
    return old, new


def test_diff_says_what_a_device_would_fetch(run: Run, tmp_path: Path) -> None:
    """There is one request each for the first 64 KiB with the index, the member with the changed block, and the end."""
    old, new = write_images(tmp_path)
    artifact = write(run, tmp_path / "new", new)
    size = artifact.stat().st_size
    found = difference(run, old, artifact)
    fetched_bytes = found.pop("fetched_bytes")
    assert 96 * 1024 < fetched_bytes < 98 * 1024
    assert fetched_bytes / size == found.pop("share")
    expected = {"total_bytes": size, "requests": 3, "blocks": 2305, "missing_blocks": 1, "is_adaptive": True}
    assert expected == found


def test_diff_takes_artifacts_and_images_for_either(run: Run, tmp_path: Path) -> None:
    """Artifacts in any compression can replace images; a new image is compressed as ``write`` would compress it."""
    images = [write_image(tmp_path / name, 9 * MIB) for name in ("old.img", "new.img")]
    with images[1].open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"another")
    old = write(run, tmp_path / "old", images[0], "--compression", "xz")
    new = write(run, tmp_path / "new", images[1], "-n", "image", "-t", "device")
    expected = difference(run, images[0], new)
    assert 1 == expected["missing_blocks"]
    assert expected == difference(run, old, new)
    of_image = difference(run, old, images[1])
    assert expected["missing_blocks"] == of_image["missing_blocks"]
    assert 2048 > abs(expected["fetched_bytes"] - of_image["fetched_bytes"])


def test_diff_takes_several_old_ones(run: Run, tmp_path: Path) -> None:
    """A block found in any of them isn't missing."""
    old, new = write_images(tmp_path)
    artifact = write(run, tmp_path / "new", new)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(old.read_bytes()[: 6 * MIB])
    second.write_bytes(new.read_bytes()[4 * MIB :])
    assert 3 * 256 + 1 == difference(run, first, artifact)["missing_blocks"]
    assert 0 == difference(run, first, second, artifact)["missing_blocks"]


def test_diff_is_for_people(run: Run, tmp_path: Path) -> None:
    """The text output has three lines, and says when a device would fetch the whole Artifact."""
    old, new = write_images(tmp_path)
    artifact = write(run, tmp_path / "new", new)
    text = run("diff", old, artifact).out.decode()
    assert text.splitlines()[1:] == ["Requests  3", "Blocks    1 of 2,305 are missing"]
    assert text.startswith("Fetched   ")
    other = write_image(tmp_path / "other", 8 * MIB)
    text = run("diff", other, artifact).out.decode()
    assert (
        "Fetched   9.0 MiB, 100.0 % of 9.0 MiB; too little is present for an adaptive download\nRequests  1\n" in text
    )


def test_diff_needs_an_index_and_sound_files(run: Run, tmp_path: Path) -> None:
    """An Artifact without an index, a missing file and a damaged Artifact are refused."""
    old, new = write_images(tmp_path)
    plain = write(run, tmp_path / "plain", new, "--no-index")
    assert "[ART73]" in run("diff", old, plain).err
    artifact = write(run, tmp_path / "new", new)
    assert "[ART42]" in run("diff", tmp_path / "none", artifact).err
    cut(plain)
    assert "[ART02]" in run("diff", plain, artifact).err
