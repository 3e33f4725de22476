"""The cost of an idle daemon: memory, threads, CPU, context switches, bytes and connections.

``python -m benchmarks.footprint [--seconds 60]``: the installed client polls a dev server every five seconds, over
plain HTTP and over TLS, without ``cryptography``. It is compared with a minimal program that sends the same requests: a
loop around http.client without any checks.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from dataclasses import dataclass
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
        polls = sum(request.kind == "next" for request in server.requests)
        before, cpu, count, size = (
            ProcessState.of(process.pid),
            precise_cpu_seconds(process.pid),
            proxy.connections,
            proxy.bytes,
        )
        time.sleep(seconds)
        after = ProcessState.of(process.pid)
        cycles = max(sum(request.kind == "next" for request in server.requests) - polls, 1)
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


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to watch each process")
    options = parser.parse_args()
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
