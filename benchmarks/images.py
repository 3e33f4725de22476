"""Images of root file systems for ``benchmarks.adaptive``, similar to a small Debian system: ``images.py DIRECTORY``.

``A`` has 280 MiB of files; ``C`` has one more program and one changed file; ``B`` has 80 MiB of additional files, and
some upgraded ones. Each is an ext4 file system of 512 MiB. The content compresses with gzip about as well as that of a
real system: text, code, and data that is already compressed.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

IMAGE_MIB = 512
_MIB = 1024 * 1024
_DIRECTORIES = 700
_FILES_MIB = 280
_ADDED_MIB = 80
_UPGRADED = 0.025
_UUID = "11111111-1111-1111-1111-111111111111"


def make_images(directory: Path) -> None:
    """Create ``A.img``, ``B.img`` and ``C.img``."""
    tree, rng = directory / "tree", random.Random(1)
    files = list(_fill(tree, rng, _FILES_MIB))
    _make_image(tree, directory / "A.img")
    (tree / "d0/program").write_bytes(_content(rng, 1_000_000))
    changed = max(files[:100], key=lambda path: path.stat().st_size)
    changed.write_bytes(changed.read_bytes() + b"changed\n")
    _make_image(tree, directory / "C.img")
    (tree / "d0/program").unlink()
    for path in rng.sample(files, int(len(files) * _UPGRADED)):
        path.write_bytes(_content(rng, path.stat().st_size))
    list(_fill(tree / "added", rng, _ADDED_MIB))
    _make_image(tree, directory / "B.img")
    shutil.rmtree(tree)


def _fill(tree: Path, rng: random.Random, mib: int) -> Iterator[Path]:
    directories = [tree / f"d{number % 40}" / f"s{number}" for number in range(_DIRECTORIES * mib // _FILES_MIB)]
    for one in directories:
        one.mkdir(parents=True)
    # as under /usr/share/doc, most directories have only a few small files, and these directories are adjacent
    weights = [100 if number % 40 < 4 else 1 for number in range(len(directories))]
    left, number = mib * _MIB, 0
    while left > 0:
        size = min(int(rng.lognormvariate(8.6, 1.9)) + 1, 8 * _MIB)
        path = rng.choices(directories, weights)[0] / f"file-{number}"
        path.write_bytes(_content(rng, size))
        yield path
        left, number = left - size, number + 1


_WORDS = [random.Random(0).randbytes(random.Random(number).randrange(2, 12)) for number in range(3000)]


def _content(rng: random.Random, size: int) -> bytes:
    """Content similar to code or text: words from a vocabulary, with numbers in between."""
    if rng.random() < 0.08:
        return rng.randbytes(size)
    words, entropy = rng.choices(_WORDS, k=size // 9 + 1), rng.choice((0, 1, 2))
    return b"".join(word + rng.randbytes(entropy) for word in words)[:size].ljust(size, b"\n")


def _make_image(tree: Path, image: Path) -> None:
    program = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise SystemExit("cannot find mkfs.ext4: install the package e2fsprogs")
    with image.open("wb") as file:
        file.truncate(IMAGE_MIB * _MIB)
    subprocess.run(
        [program, "-q", "-b", "4096", "-U", _UUID, "-E", f"hash_seed={_UUID}", "-d", str(tree), str(image)], check=True
    )


if __name__ == "__main__":
    make_images(Path(sys.argv[1]))
