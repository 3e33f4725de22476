"""How much of a new image an adaptive download transfers, and what it costs: ``python -m benchmarks.adaptive``.

The images are created by ``benchmarks.images``; ``--images`` names a directory with other ones: ``A.img`` runs on the
device, ``C.img`` has a small change, ``B.img`` a large one. nginx on loopback serves the Artifacts over HTTPS, and all
bytes of requests and replies are counted. The payload is streamed into a file that represents the partition. Each
download is run several times, and the fastest run counts. The references are the client's ordinary downloads of the
same Artifact and of one without an index.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .bench import lean_environment, machine
from .fileserver import FileServer, nginx

_WORKER = Path(__file__).with_name("fetch_worker.py")
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Fetch:
    """The cost of a download; the bytes are those of requests and replies, including headers."""

    wall_seconds: float
    peak_mib: float
    link_bytes: int
    requests: int

    @property
    def link_mib(self) -> float:
        """The MiB transferred over the link."""
        return self.link_bytes / _MIB

    def __str__(self) -> str:
        return (
            f"{self.link_mib:7.2f} MiB in {self.requests:4} requests, {self.wall_seconds:5.2f} s, "
            f"peak {self.peak_mib:5.1f} MiB"
        )


class Bench:
    """The device and the server.

    Args:
        python: the interpreter of the lean environment.
        server: the nginx file server.
        place: a working directory.
        times: the number of runs of each download.
    """

    def __init__(self, python: Path, server: FileServer, place: Path, times: int) -> None:
        self._python = python
        self._server = server
        self._place = place
        self._times = times

    def write(self, image: Path, name: str, *more: str) -> int:
        """Write an Artifact with an image; return its size."""
        path = self._server.files / name
        program = self._python.with_name("mender-python-client")
        subprocess.run(
            [
                program,
                "artifact",
                "write",
                "rootfs-image",
                "-f",
                image,
                "-n",
                "bench-1",
                "-t",
                "bench",
                "-o",
                path,
                *more,
            ],
            check=True,
        )
        return path.stat().st_size

    def fetch(self, title: str, name: str, *seeds: Path, slow: bool = False) -> Fetch:
        """Download an Artifact with these seeds; without any, it is an ordinary download."""
        fetches = [self._fetch_once(f"slow/{name}" if slow else name, seeds) for _ in range(1 if slow else self._times)]
        fastest = min(fetches, key=lambda one: one.wall_seconds)
        print(f"  {title:44} {fastest}")
        return fastest

    def _fetch_once(self, path: str, seeds: tuple[Path, ...]) -> Fetch:
        with tempfile.TemporaryDirectory(dir=self._place) as directory:
            before = self._server.traffic()
            url, certificate = f"{self._server.url}/{path}", str(self._server.certificate)
            argv = [str(self._python), str(_WORKER), url, certificate, directory, "bench-1", "bench", "--stream"]
            done = subprocess.run([*argv, *map(str, seeds)], check=True, capture_output=True, text=True)
            figures, after = json.loads(done.stdout), self._server.traffic()
        count, total = after[0] - before[0], after[1] - before[1]
        return Fetch(figures["wall_seconds"], figures["peak_mib"], total, count)


def compare(bench: Bench, images: Path) -> None:
    """Print all figures and their limits."""
    a, b, c = (images / f"{name}.img" for name in "ABC")
    size, plain_size = bench.write(c, "C.mender"), bench.write(c, "C-plain.mender", "--no-index")
    bench.write(b, "B.mender")
    ordinary_b = bench.write(b, "B-plain.mender", "--no-index")
    print(f"  size with index: {size / plain_size:.3f} times gzip (bar 1.06)")
    whole = bench.fetch("ordinary, without index", "C-plain.mender")
    small = bench.fetch("A to C, both partitions looked through", "C.mender", a, b)
    print(
        f"    {small.link_mib:.2f} MiB (bar 5), {small.requests / small.link_mib:.1f} requests a MiB (bar 30), "
        f"{small.wall_seconds:.2f} s (bar 3.0), memory {small.peak_mib - whole.peak_mib:+.1f} MiB (bar 24)"
    )
    large = bench.fetch("A to B", "B.mender", a)
    print(f"    {large.link_bytes / ordinary_b:.2f} times the gzip Artifact (bar 0.30)")
    nothing = images / "nothing.img"
    if not nothing.exists():
        nothing.write_bytes(b"x" * _MIB)
    indexed = bench.fetch("ordinary, with index", "C.mender")
    none = bench.fetch("nothing in common", "C.mender", nothing)
    print(f"    {none.link_bytes / indexed.link_bytes:.3f} times the ordinary download (bar 1.02)")
    slow = bench.fetch("A to C at 50 Mbit/s", "C.mender", a, b, slow=True)
    slow_whole = bench.fetch("ordinary, without index, at 50 Mbit/s", "C-plain.mender", slow=True)
    print(f"    {slow.wall_seconds / slow_whole.wall_seconds:.2f} times the ordinary download (bar 0.5)")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a directory with A.img, B.img and C.img")
    parser.add_argument("--times", type=int, default=3, help="runs of each; the fastest counts")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="mender-bench-") as directory, nginx(Path(directory) / "nginx") as server:
        images = options.images or Path(directory)
        if options.images is None:
            # in a separate process: the peak memory of this one is the minimum that is reported for its children
            subprocess.run([sys.executable, "-m", "benchmarks.images", str(images)], check=True)
        with lean_environment() as binaries:
            compare(Bench(binaries / "python", server, Path(directory), options.times), images)


if __name__ == "__main__":
    main()
