"""The cost of simulated devices: ``python -m benchmarks.simulated_fleet``.

A dev server and ``mender-fleet``, with a master and two workers, run on this machine. When the server knows nearly all
devices, an Artifact is deployed to them. The output is the memory and CPU time of the workers per device, the traffic,
and the failures, of which there must be none.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mender_devserver.contact import Contact, load_contact

from .bench import ProcessState, machine
from .fleet import write_release

_WORKERS = 2
_POLL_SECONDS = 1800
_SETTLE_SECONDS = 10.0


class Fleet:
    """``mender-fleet`` in a directory, and the counts of Locust so far.

    Args:
        directory: its working directory.
        process: the process of the master.
    """

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self._directory = directory
        self._process = process

    def workers(self) -> list[ProcessState]:
        """The current state of the worker processes."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [ProcessState.of(int(pid)) for pid in children]

    def count(self, name: str, column: str = "Request Count") -> int:
        """The sum of a column of Locust's statistics over the endpoints whose names end with ``name``."""
        try:
            with (self._directory / "out_stats.csv").open() as file:
                return sum(int(float(row[column])) for row in csv.DictReader(file) if row["Name"].endswith(name))
        except (OSError, KeyError, TypeError, ValueError):  # doesn't exist yet, or is being written
            return 0


def wait(what: str, condition: Callable[[], bool], limit_seconds: float) -> float:
    """Wait until a condition is true or the time limit is reached; return the seconds."""
    start = time.monotonic()
    while not condition() and time.monotonic() - start < limit_seconds:
        time.sleep(1.0)
    seconds = time.monotonic() - start
    print(f"{what:<38}{seconds:8.0f} s{'' if condition() else ', given up'}", flush=True)
    return seconds


def cpu_seconds(states: list[ProcessState]) -> float:
    """The total CPU time of processes."""
    return sum(one.cpu_seconds for one in states)


def measure(directory: Path, arguments: argparse.Namespace) -> bool:
    """Run the fleet and print its cost; return whether nothing has failed."""
    serve = [sys.executable, "-m", "mender_devserver.cli", "serve", "--auto-accept", "--json"]
    serve += ["--directory", str(directory / "server"), *(["--plain"] if arguments.plain else [])]
    with (directory / "events").open("wb") as events, subprocess.Popen(serve, stdout=events) as server:
        wait("server there", (directory / "server/devserver.json").exists, 60)
        contact = load_contact(directory / "server")
        with write_release(directory / "release-2.mender", arguments.image_bytes).open("rb") as file:
            contact.upload(file)
        try:
            return _measure(directory, arguments, contact, server.pid)
        finally:
            server.terminate()


def _measure(directory: Path, arguments: argparse.Namespace, contact: Contact, server: int) -> bool:
    devices: int = arguments.devices
    command = [sys.executable, "-m", "mender_fleet.cli", "--headless", "--only-summary", "--csv", "out"]
    command += ["--devserver", str(directory / "server"), "--processes", str(_WORKERS), "--devices", str(devices)]
    command += ["--spawn-rate", str(arguments.spawn_rate), "--poll", str(_POLL_SECONDS), "--device-type", "virtual"]
    command += ["--speed-up", str(arguments.speed_up), "--install-seconds", "60", "--picture", "fleet.svg"]
    print(f"{machine()}; {devices} devices, {_WORKERS} workers, a poll every {_POLL_SECONDS} s, {arguments.speed_up} x")
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        fleet = Fleet(directory, process)
        wait("workers there", lambda: len(fleet.workers()) == _WORKERS, 60)
        time.sleep(1)
        empty = fleet.workers()
        wanted = int(devices * 0.98)
        wait("devices known", lambda: fleet.count("/attributes") >= wanted, arguments.limit_seconds)
        started = fleet.workers()
        counted = fleet.count("Aggregated")
        time.sleep(_SETTLE_SECONDS)
        began, settled = time.monotonic(), fleet.workers()
        period_seconds = _POLL_SECONDS / arguments.speed_up
        wait("a poll interval", lambda: time.monotonic() - began >= period_seconds, period_seconds)
        polled = fleet.workers()
        contact.call("POST", "/deployments", {"artifact_name": "release-2"})
        wait("downloaded", lambda: fleet.count("Artifact") >= int(devices * 0.95), arguments.limit_seconds)
        done, serving = fleet.workers(), ProcessState.of(server)
        failures, sizes = fleet.count("Aggregated", "Failure Count"), fleet.count("Artifact")
        process.terminate()
        log = process.stderr.read().decode()
    print("\n".join(line for line in log.splitlines() if line.startswith(("deployments", "time", "per minute"))))
    print(log.partition("Error report")[2].strip())
    for what, before, after in (("start", empty, started), ("poll", settled, polled), ("update", polled, done)):
        milliseconds = 1000 * (cpu_seconds(after) - cpu_seconds(before)) / devices
        print(f"processor time of a device, {what:<10}{milliseconds:8.1f} ms")
    for what, after in (("idle", polled), ("updated", done)):
        kib = 1024 * sum(one.resident_mib - two.resident_mib for one, two in zip(after, empty, strict=True)) / devices
        print(f"memory of a device, {what:<18}{kib:8.0f} KiB")
    print(f"dev server                            {serving.resident_mib:8.0f} MiB, {serving.cpu_seconds:.0f} s of CPU")
    print(f"requests until all were known         {counted:8}; {failures} failed in all; {sizes} downloads")
    return failures == 0


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(description="Measure what simulated devices cost.")
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--spawn-rate", type=int, default=50)
    parser.add_argument("--speed-up", type=float, default=10.0)
    parser.add_argument("--image-bytes", type=int, default=64 * 1024)
    parser.add_argument("--limit-seconds", type=float, default=1200.0, help="how long to wait for the fleet")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mender-fleet-") as directory:
        is_good = measure(Path(directory), arguments)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
