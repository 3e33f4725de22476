"""Download, verify and store, compared with standard tools: ``python -m benchmarks.download [PART …]``.

Parts: ``speed`` (1 GiB, compared with ``curl -o`` and ``openssl dgst -sha256``), ``gzip`` and ``zstd`` (compared with
``gzip -dc | openssl dgst -sha256`` and its zstd equivalent), ``memory`` (peak at three sizes). nginx serves the files
over HTTPS on loopback. The client and the other tools are run alternately several times, and the fastest run of
each counts. The files are written to TMPDIR.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact

from .bench import lean_environment, machine
from .fileserver import FileServer, nginx

_WORKER = Path(__file__).with_name("fetch_worker.py")


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float

    def __str__(self) -> str:
        return f"wall {self.wall_seconds:6.2f} s, CPU {self.cpu_seconds:6.2f} s, peak {self.peak_mib:6.1f} MiB"


def _write_payload(path: Path, size: int) -> None:
    """Write bytes that compress to about two thirds, as a root file system does."""
    with path.open("wb") as file:
        while size:
            block = os.urandom(96 * 1024) + b"mender" * 8192
            file.write(block[:size])
            size -= len(block[:size])


def make_artifact(path: Path, *, mib: int, compression: Compression = Compression.NONE) -> None:
    """Write a rootfs-image Artifact with ``mib`` MiB of payload."""
    payload = path.with_suffix(".img")
    _write_payload(payload, mib * 1024 * 1024)
    with path.open("w+b") as out:
        write_artifact(
            out,
            rootfs_image("bench-1", ["bench"], compression=compression),
            [PayloadSource("rootfs.img", payload.stat().st_size, lambda: payload.open("rb", buffering=0))],
        )
    payload.unlink()


def run_command(argv: list[str]) -> Cost:
    """Run a program and measure its cost, including its children; the peak is that of the largest process."""
    start = time.monotonic()
    pid = os.posix_spawnp(
        argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, used = os.wait4(pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), argv)
    return Cost(time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def run_client(python: Path, server: FileServer, name: str, directory: Path, *, is_plain: bool = False) -> Cost:
    """Download with the client's own components in the lean environment."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    url = f"{server.plain_url if is_plain else server.url}/{name}"
    output = subprocess.run(
        [str(python), str(_WORKER), url, str(server.certificate), str(directory), "bench-1", "bench"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    figures = json.loads(output)
    return Cost(figures["wall_seconds"], figures["cpu_seconds"], figures["peak_mib"])


@contextmanager
def served_artifact(mib: int, compression: Compression) -> Iterator[tuple[FileServer, Path]]:
    """Serve an Artifact; yields the file server, and a directory for the download."""
    with tempfile.TemporaryDirectory(prefix="mender-bench-") as directory, nginx(Path(directory) / "nginx") as server:
        make_artifact(server.files / "bench.mender", mib=mib, compression=compression)
        yield server, Path(directory)


def in_turn(runs: Mapping[str, Callable[[], Cost]], times: int) -> dict[str, Cost]:
    """Run all functions alternately several times; print and return the fastest run of each."""
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            costs[name].append(run())
    fastest = {name: min(all_costs, key=lambda cost: cost.wall_seconds) for name, all_costs in costs.items()}
    for name, cost in fastest.items():
        print(f"  {name:32} {cost}")
    return fastest


def speed(python: Path, times: int) -> None:
    """Measure 1 GiB of payload, uncompressed."""
    print("1 GiB, uncompressed")
    with served_artifact(1024, Compression.NONE) as (server, directory):
        target = directory / "curl.mender"
        curl = ["curl", "-sf", "--cacert", str(server.certificate), "-o", str(target), f"{server.url}/bench.mender"]
        costs = in_turn(
            {
                "curl -o": lambda: run_command(curl),
                "openssl dgst -sha256": lambda: run_command(["openssl", "dgst", "-sha256", str(target)]),
                "fetch, verify, store": lambda: run_client(python, server, "bench.mender", directory / "device"),
            },
            times,
        )
    fetched, hashed, ours = costs.values()
    print(
        f"  wall: {ours.wall_seconds / fetched.wall_seconds:.2f} times curl (bar 1.7, aim 1.3), "
        f"{ours.wall_seconds / (fetched.wall_seconds + hashed.wall_seconds):.2f} times curl and openssl (bar 1.1); "
        f"CPU: {ours.cpu_seconds / fetched.cpu_seconds:.2f} times curl (bar 2.9 / 1.4 = 2.07)"
    )


def compressed(python: Path, times: int, compression: Compression, tool: str) -> None:
    """Measure 512 MiB of payload, compressed."""
    print(f"512 MiB of payload, {compression.value}")
    with served_artifact(512, compression) as (server, directory):
        member = f"data/0000.tar{compression.suffix}"
        with (directory / "payload").open("wb") as payload:
            subprocess.run(["tar", "-xOf", str(server.files / "bench.mender"), member], stdout=payload, check=True)
        pipeline = f"{tool} -dc < {directory / 'payload'} | openssl dgst -sha256"
        verify = [str(python.parent / "mender-python-client"), "artifact", "verify", str(server.files / "bench.mender")]
        costs = in_turn(
            {
                f"{tool} -dc | openssl dgst": lambda: run_command(["sh", "-c", pipeline]),
                "verify a file (artifact verify)": lambda: run_command(verify),
                "fetch over http, verify, store": lambda: run_client(
                    python, server, "bench.mender", directory / "device", is_plain=True
                ),
                "fetch over https, verify, store": lambda: run_client(
                    python, server, "bench.mender", directory / "device"
                ),
            },
            times,
        )
    peer, proof, plain, ours = costs.values()
    print(
        "  speed, against the pipeline, which neither fetches nor stores: "
        f"the proof of a file {peer.wall_seconds / proof.wall_seconds:.2f} (bar 0.8), "
        f"the whole download over http {peer.wall_seconds / plain.wall_seconds:.2f}, "
        f"over https {peer.wall_seconds / ours.wall_seconds:.2f}"
    )


def memory(python: Path) -> None:
    """Measure the peak memory at three sizes."""
    print("peak memory (bar: 32 MiB, and within 4 MiB of each other)")
    peaks = []
    for mib in (16, 256, 2048):
        with served_artifact(mib, Compression.NONE) as (server, directory):
            cost = run_client(python, server, "bench.mender", directory / "device")
        peaks.append(cost.peak_mib)
        print(f"  {mib:5} MiB: {cost.peak_mib:.1f} MiB")
    print(f"  largest difference: {max(peaks) - min(peaks):.1f} MiB")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="speed, gzip, zstd, memory; all by default")
    parser.add_argument("--times", type=int, default=5, help="runs of each; the fastest counts")
    parser.add_argument("--python", type=Path, help="use this interpreter instead of a new lean environment")
    options = parser.parse_args()
    parts = options.parts or ["speed", "gzip", "zstd", "memory"]
    print(machine())
    with nullcontext(options.python.parent) if options.python else lean_environment("zstd") as binaries:
        python = binaries / "python"
        if "speed" in parts:
            speed(python, options.times)
        if "gzip" in parts:
            compressed(python, options.times, Compression.GZIP, "gzip")
        if "zstd" in parts:
            compressed(python, options.times, Compression.ZSTD, "zstd")
        if "memory" in parts:
            memory(python)


if __name__ == "__main__":
    main()
