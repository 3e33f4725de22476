"""Artifacts with an index, read by other programs: an index must not prevent an update on any device.

Debian's client installs such an Artifact with its stock module, and other programs for gzip and tar unpack its payload.
"""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
import tarfile
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from app.artifact_program import key_pair
from calling import call
from core.artifact.forge import full_counts
from keys import RSA
from mender_client.core.artifact import Limits
from mender_client.core.artifact.block_index import encode_index
from mender_client.core.artifact.tar import TarReader

from .debian import DebianBench, needed

IMAGE = random.Random(3).randbytes(500_000) * 18 + bytes(2_000_000)
"""Large enough to get an index by default; the blocks of its random part are all different."""
SMALL = IMAGE[:1_500_000] + bytes(500_000)
"""A smaller image, with which xz is fast."""
STOCK_MODULE = Path("/usr/share/mender/modules/v3/single-file")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the image, the keys, the Artifact and its payload."""
    place = tmp_path_factory.mktemp("index")
    (place / "image").write_bytes(IMAGE)
    (place / "small").mkdir()
    (place / "small/image").write_bytes(SMALL)
    key_pair(place, "key", RSA)
    words: Sequence[str | Path] = [
        "-n",
        "new",
        "-t",
        "board",
        "-f",
        place / "image",
        "-o",
        place / "new.mender",
        "-k",
        place / "key.pem",
    ]
    ours("artifact", "write", "rootfs-image", *words)
    (place / "payload.tar.gz").write_bytes(payload_of(place / "new.mender"))
    return place


def ours(*words: str | Path) -> str:
    """Run a command of our program."""
    done = call(*map(str, words))
    assert 0 == done.returncode, done.stderr
    return done.stdout


def payload_of(artifact: Path) -> bytes:
    """Extract the payload from an Artifact, as it is stored; it begins with the index."""
    tar = TarReader(io.BytesIO(artifact.read_bytes()), "it", Limits())
    while member := tar.next_member():
        if member.name == "data/0000.tar.gz":
            payload = tar.read_member(member, 1 << 30)
            assert b"MB" == payload[12:14]
            return payload
    raise AssertionError(artifact)


def run(*words: str | Path) -> bytes:
    """Run a program, which must succeed without a warning; that of mender-artifact would be its progress bar."""
    done = subprocess.run(words, capture_output=True, check=False)
    warned = b"" if words[0] == "mender-artifact" else done.stderr
    assert (0, b"") == (done.returncode, warned), (words, done)
    return done.stdout


def program(name: str) -> str:
    """Skip the test unless a program is installed; return its name."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} isn't installed")
    return name


def unpacked_by_python(payload: Path) -> bytes:
    """Read the payload with gzip and tarfile."""
    with gzip.open(payload) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        (content,) = [archive.extractfile(member).read() for member in archive]  # type: ignore[union-attr]  # a file
        return content


UNPACKERS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "gzip": ("gzip", lambda payload: run("gzip", "-t", payload) or run("sh", "-c", f"gzip -dc {payload} | tar -xO")),
    "tar": ("tar", lambda payload: run("tar", "-xzOf", payload, "image")),
    "bsdtar": ("bsdtar", lambda payload: run("bsdtar", "-xOf", payload, "image")),
    "busybox tar": ("busybox", lambda payload: run("busybox", "tar", "-xzOf", payload, "image")),
    "busybox gunzip": ("busybox", lambda p: run("sh", "-c", f"busybox gunzip -c <{p} | busybox tar -xO image")),
    "python": ("python3", unpacked_by_python),
}


@pytest.mark.parametrize("name", UNPACKERS)
def test_the_payload_is_an_ordinary_compressed_tar(directory: Path, name: str) -> None:
    """Programs that unpack tar.gz extract the image, without a warning."""
    needs, unpack = UNPACKERS[name]
    program(needs)
    assert IMAGE == unpack(directory / "payload.tar.gz")


@pytest.fixture(scope="module")
def skipped(directory: Path) -> Path:
    """A file with the index of the largest payload: more than two thousand empty members before the data."""
    size = 8 << 30
    counts = full_counts(size)
    index = encode_index(size, 0, array("H", [20] * len(counts)), counts, random.Random(1).randbytes(size // 512))
    (directory / "skipped.gz").write_bytes(index + gzip.compress(b"content"))
    return directory / "skipped.gz"


@pytest.mark.parametrize("name", ["gzip -dc", "bsdcat", "busybox zcat"])
def test_an_index_of_the_largest_payload_is_skipped(skipped: Path, name: str) -> None:
    """Programs that unpack gzip skip the index."""
    program(name.split()[0])
    assert b"content" == run("sh", "-c", f"{name} <{skipped}")


def test_mender_artifact_accepts_it(directory: Path) -> None:
    """mender-artifact validates the signature, reads the header, and extracts the same payload."""
    program("mender-artifact")
    artifact = directory / "new.mender"
    run("mender-artifact", "validate", "-k", directory / "key.pub", artifact)
    said = run("mender-artifact", "read", "-k", directory / "key.pub", artifact).decode()
    assert "Name: new" in said
    assert "signed and verified correctly" in said
    run("mender-artifact", "dump", "--files", directory / "dumped", artifact)
    assert IMAGE == (directory / "dumped/image").read_bytes()


@pytest.mark.parametrize("compression", ["none", "xz"])
def test_mender_artifact_accepts_one_whose_payload_was_packed_anew(directory: Path, compression: str) -> None:
    """mender-artifact accepts an Artifact of which ``artifact index`` has recompressed only the payload."""
    program("mender-artifact")
    plain, artifact = directory / f"{compression}.plain", directory / f"{compression}.mender"
    words: Sequence[str | Path] = [
        "-n",
        "new",
        "-t",
        "board",
        "-f",
        directory / "small/image",
        "-k",
        directory / "key.pem",
    ]
    ours("artifact", "write", "rootfs-image", *words, "-o", plain, "--compression", compression)
    ours("artifact", "index", plain, "-o", artifact)
    assert payload_of(artifact)
    run("mender-artifact", "validate", "-k", directory / "key.pub", artifact)
    run("mender-artifact", "dump", "--files", directory / f"dumped-{compression}", artifact)
    assert SMALL == (directory / f"dumped-{compression}/image").read_bytes()


@needed
@pytest.mark.parametrize("compression", ["gzip", "xz"])
def test_debian_s_client_installs_it_with_its_stock_module(tmp_path: Path, directory: Path, compression: str) -> None:
    """Debian's module single-file installs the file, and the device provides the new name."""
    if not STOCK_MODULE.is_file():
        pytest.skip("the package mender-client has no single-file")
    bench = DebianBench(tmp_path)
    shutil.copy2(STOCK_MODULE, tmp_path / "usr/share/mender/modules/v3/single-file")
    target = tmp_path / "target"
    target.mkdir()
    words: Sequence[str | Path] = ["-n", "new", "-t", "board", "-f", directory / "small/image", "--dest-dir", target]
    plain, artifact = tmp_path / "plain.mender", tmp_path / "new.mender"
    ours("artifact", "write", "single-file", *words, "-o", plain, "--compression", compression)
    ours("artifact", "index", plain, "-o", artifact)
    assert payload_of(artifact)
    done = bench.run("install", artifact)
    assert 0 == done.returncode, done.stderr
    assert SMALL == (target / "image").read_bytes()
    done = bench.run("commit")
    assert 0 == done.returncode, done.stderr
    assert "new" == bench.run("show-artifact").stdout.strip()
