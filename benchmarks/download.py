"""Download, prove and store, beside curl: ``python -m benchmarks.download [--mib 1024] [--compression none]``.

Wall and CPU time and peak memory for one Artifact over https from nginx on loopback; the peers fetch the same file with
``curl -o``, and hash it afterwards with ``openssl dgst -sha256``. Each is run several times in turn, the best counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact

from .bench import lean_environment, machine
from .fileserver import FileServer, nginx

_WORKER = Path(__file__).with_name("fetch_worker.py")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float

    def __str__(self) -> str:
        return f"wall {self.wall_seconds:6.2f} s, CPU {self.cpu_seconds:6.2f} s, peak {self.peak_mib:6.1f} MiB"


class _Pattern:
    """Bytes that compress about as well as a root file system, without a file of them."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._block = (os.urandom(96 * 1024) + b"mender" * 10923)[: 160 * 1024]

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), self._left, len(self._block))
        buffer[:count] = self._block[:count]
        self._left -= count
        return count


def make_artifact(path: Path, *, mib: int, compression: Compression = Compression.NONE) -> None:
    """Write a rootfs Artifact of so many MiB of payload."""
    payload = path.with_suffix(".img")
    with payload.open("wb") as file:
        source, view = _Pattern(mib * 1024 * 1024), memoryview(bytearray(1024 * 1024))
        while count := source.readinto(view):
            file.write(view[:count])
    with path.open("w+b") as out:
        write_artifact(
            out,
            rootfs_image("bench-1", ["bench"], compression=compression),
            [PayloadSource("rootfs.img", payload.stat().st_size, lambda: payload.open("rb", buffering=0))],
        )
    payload.unlink()


def run_command(argv: list[str]) -> Cost:
    """Run a program and see what it cost."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, after.ru_maxrss / 1024)


def run_client(python: Path, server: FileServer, name: str, folder: Path) -> Cost:
    """Fetch with the client's own parts in the lean environment."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    output = subprocess.run(
        [str(python), str(_WORKER), f"{server.url}/{name}", str(server.certificate), str(folder), "bench-1", "bench"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    figures = json.loads(output)
    return Cost(figures["wall_seconds"], figures["cpu_seconds"], figures["peak_mib"])


def best(run: Callable[[], Cost], times: int) -> Cost:
    """The fastest of several runs."""
    return min((run() for _ in range(times)), key=lambda cost: cost.wall_seconds)


@contextmanager
def served_artifact(mib: int, compression: Compression) -> Iterator[tuple[FileServer, Path]]:
    """An Artifact on a running file server, and a folder to fetch it into."""
    with tempfile.TemporaryDirectory(prefix="mender-bench-") as folder, nginx(Path(folder) / "nginx") as server:
        make_artifact(server.files / "bench.mender", mib=mib, compression=compression)
        yield server, Path(folder)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the payload")
    parser.add_argument("--compression", choices=[item.value for item in Compression], default="none")
    parser.add_argument("--times", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--python", type=Path, help="use this interpreter instead of a new lean environment")
    options = parser.parse_args()
    print(f"{options.mib} MiB, compression {options.compression} ({machine()})")
    compression = Compression(options.compression)
    with served_artifact(options.mib, compression) as (server, folder):
        target = folder / "curl.mender"
        curl = ["curl", "-sf", "--cacert", str(server.certificate), "-o", str(target), f"{server.url}/bench.mender"]
        digest = ["openssl", "dgst", "-sha256", str(target)]
        fetched = best(lambda: run_command(curl), options.times)
        hashed = best(lambda: run_command(digest), options.times)
        if options.python:
            ours = best(lambda: run_client(options.python, server, "bench.mender", folder / "device"), options.times)
        else:
            with lean_environment() as binaries:
                python = binaries / "python"
                ours = best(lambda: run_client(python, server, "bench.mender", folder / "device"), options.times)
    print(f"  curl -o              {fetched}")
    print(f"  openssl dgst -sha256 {hashed}")
    print(f"  fetch, prove, store  {ours}")
    both = fetched.wall_seconds + hashed.wall_seconds
    print(
        f"  ratio of wall times: to curl {ours.wall_seconds / fetched.wall_seconds:.2f} (bar 1.7), "
        f"to curl and openssl {ours.wall_seconds / both:.2f} (bar 1.1); "
        f"CPU {ours.cpu_seconds / fetched.cpu_seconds:.2f} times curl's"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
