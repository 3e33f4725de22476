"""The cost of an idle daemon: memory, threads, CPU, context switches, bytes and connections.

``python -m benchmarks.footprint [--seconds 60]``: the installed client polls a dev server every five seconds, over
plain HTTP and over TLS, without ``cryptography``. It is compared with a minimal program that sends the same requests: a
loop around http.client without any checks.

``--baseline DIR`` measures only the CPU time, of this client and of another source tree at the same time. Both poll and
send their inventory every second, with their memory locked and the processors kept awake: on some virtual machines,
waking up and reclaimed memory cost more than the client's work. Locking memory needs root, or a high RLIMIT_MEMLOCK.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from mender_devserver import DevServer

from .bench import CountingProxy, ProcessState, lean_environment, machine, make_device, make_script, precise_cpu_seconds

INTERVAL_SECONDS = 5
_PEER = """
import http.client, ssl, sys, time, urllib.parse
url, ca, token = sys.argv[1:4]
parts = urllib.parse.urlsplit(url)
if ca:
    link = http.client.HTTPSConnection(parts.hostname, parts.port, context=ssl.create_default_context(cafile=ca))
else:
    link = http.client.HTTPConnection(parts.hostname, parts.port)
while True:
    link.request("POST", "/api/devices/v1/deployments/device/deployments/next",
        headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"},
        body=b'{"artifact_name":"bench-1","device_type":"bench"}')
    link.getresponse().read()
    time.sleep(5)
"""
_LOCKED = """
import ctypes, sys
if ctypes.CDLL(None).mlockall(3):  # the present and future memory
    sys.exit("cannot lock the memory")
from mender_client.app.entry import main
sys.exit(main())
"""
_AWAKE = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
_BARS = "bar: 22.5 MiB, 1 thread, 60 ms, 100 switches, 1600 bytes, 0 connections"
_OTHERS = """\
measured of others on the same work (Go 3.4 / C++ 5.1 / archived Python client):
  resident 31.6 / 32.9 (and the bus) / 41.6 MiB; threads 8 / 4 / 1; CPU per 60 s 45 / 773 / 59 to 122 ms;
  switches 1047 / 151 / 97; bytes per cycle over TLS 3033 / 4089 / 8928; new connections per cycle 0 / 1 / 2"""


@dataclass(frozen=True, slots=True)
class Idle:
    """The cost of an idle process."""

    state: ProcessState
    cpu_ms_per_minute: float
    switches_per_minute: float
    bytes_per_cycle: float
    connections_per_cycle: float

    def __str__(self) -> str:
        return (
            f"resident {self.state.resident_mib:5.1f} MiB, {self.state.threads} thread(s), "
            f"CPU {self.cpu_ms_per_minute:5.1f} ms/min, {self.switches_per_minute:4.0f} switches/min, "
            f"{self.bytes_per_cycle:5.0f} bytes and {self.connections_per_cycle:.2f} connections per cycle"
        )


def measure(argv: list[str], server: DevServer, proxy: CountingProxy, seconds: float) -> Idle:
    """Start a process, let it settle, and measure it."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3 * INTERVAL_SECONDS)
        polls = _polls(server)
        before, cpu, count, size = (
            ProcessState.of(process.pid),
            precise_cpu_seconds(process.pid),
            proxy.connections,
            proxy.bytes,
        )
        time.sleep(seconds)
        after = ProcessState.of(process.pid)
        cycles = max(_polls(server) - polls, 1)
        return Idle(
            state=after,
            cpu_ms_per_minute=(precise_cpu_seconds(process.pid) - cpu) * 1000 * 60 / seconds,
            switches_per_minute=(after.context_switches - before.context_switches) * 60 / seconds,
            bytes_per_cycle=(proxy.bytes - size) / cycles,
            connections_per_cycle=(proxy.connections - count) / cycles,
        )
    finally:
        process.terminate()
        process.wait()
        proxy.close()


def run(binaries: Path, *, tls: bool, seconds: float, with_inventory: bool) -> tuple[Idle, Idle]:
    """Measure the client, then the minimal program, with the same server."""
    with tempfile.TemporaryDirectory() as directory, DevServer(directory=Path(directory) / "server", tls=tls) as server:
        server.auto_accept = True
        parts = urlsplit(server.url)
        proxy = CountingProxy(parts.port or 0)
        root = Path(directory) / "device"
        make_device(
            root,
            server_url=f"{parts.scheme}://127.0.0.1:{proxy.port}",
            certificate=server.certificate if tls else None,
            settings={
                "UpdatePollIntervalSeconds": INTERVAL_SECONDS,
                "InventoryPollIntervalSeconds": INTERVAL_SECONDS if with_inventory else 3600,
            },
        )
        if with_inventory:
            make_script(root / "usr/share/mender/inventory/mender-inventory-bench", "echo bench=1")
        ours = measure([str(binaries / "mender-python-client"), "--root", str(root), "daemon"], server, proxy, seconds)
        proxy = CountingProxy(parts.port or 0)
        peer = measure(
            [
                str(binaries / "python"),
                "-c",
                _PEER,
                f"{parts.scheme}://127.0.0.1:{proxy.port}",
                str(server.certificate) if tls else "",
                "x" * 1024,
            ],
            server,
            proxy,
            seconds,
        )
        return ours, peer


def compare(programs: list[Path], seconds: float) -> list[float]:
    """The CPU time of several clients that run at the same time: the median of what a second takes, in milliseconds."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        commands = [[sys.executable, "-c", _AWAKE]] * (os.cpu_count() or 1)
        servers: list[DevServer] = []
        for number, binaries in enumerate(programs):
            server = stack.enter_context(DevServer(directory=directory / f"server-{number}", tls=True))
            server.auto_accept = True
            servers.append(server)
            root = directory / f"device-{number}"
            every_second: dict[str, object] = {"UpdatePollIntervalSeconds": 1, "InventoryPollIntervalSeconds": 1}
            make_device(root, server_url=server.url, certificate=server.certificate, settings=every_second)
            make_script(root / "usr/share/mender/inventory/mender-inventory-bench", "echo bench=1")
            commands.append([str(binaries / "python"), "-c", _LOCKED, "--root", str(root), "daemon"])
        processes = []
        for command in commands:
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(process.terminate)
            processes.append(process)
        clients = [process.pid for process in processes[-len(programs) :]]
        time.sleep(10)
        samples = []
        for _ in range(int(seconds) + 1):
            samples.append([precise_cpu_seconds(pid) for pid in clients])
            time.sleep(1)
        if not all(_polls(server) > seconds / 2 for server in servers):
            raise SystemExit("a client doesn't poll every second")
        return [
            statistics.median(after - before for before, after in pairwise(of_one)) * 1000
            for of_one in zip(*samples, strict=True)
        ]


def _polls(server: DevServer) -> int:
    return sum(request.kind == "next" for request in server.requests)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="the source tree of a client to compare with")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to watch each process")
    options = parser.parse_args()
    if options.baseline is not None:
        with lean_environment() as binaries, lean_environment(source=options.baseline) as others:
            mine, other = compare([binaries, others], options.seconds)
        ratio = f"ratio {mine / other:.2f} (bar 0.7)"
        print(f"a poll and an inventory: {mine:.1f} ms of CPU, the baseline {other:.1f} ms; {ratio}")
        return
    print(f"idle, a poll every {INTERVAL_SECONDS} s ({machine()}); {_BARS}")
    with lean_environment() as binaries:
        for name, tls, with_inventory in (
            ("plain HTTP", False, False),
            ("TLS", True, False),
            ("TLS, inventory scripts run every 5 s too", True, True),
        ):
            ours, peer = run(binaries, tls=tls, seconds=options.seconds, with_inventory=with_inventory)
            print(f"{name}\n  this client: {ours}\n  bare http.client: {peer}")
            print(
                f"  ratio: memory {ours.state.resident_mib / peer.state.resident_mib:.2f}, "
                f"CPU {ours.cpu_ms_per_minute / max(peer.cpu_ms_per_minute, 0.1):.2f}"
            )
    print(_OTHERS)


if __name__ == "__main__":
    main()
