"""The cost of single commands and of a single poll: ``python -m benchmarks.cycle``.

Measured are ``--version``, compared with ``python -c pass``; ``status``; ``report`` and ``check-update`` with a local
server; and the network traffic of one poll, over plain HTTP and TLS, with a token as long as one of a real server. The
environment doesn't contain ``cryptography``. ``--baseline DIR`` also measures ``check-update`` of another source tree
of the client.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import tempfile
import time
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from mender_client.core.artifact import PayloadSource, rootfs_image, write_artifact
from mender_client.core.client_status import ClientStatus
from mender_client.core.machine import Event
from mender_client.core.record import Record
from mender_client.system.journal import JsonJournal
from mender_client.system.statusfile import StatusFile
from mender_devserver import DevServer

from .bench import CountingProxy, lean_environment, machine, make_device

_RUNS = 20


def cpu_ms(argv: list[str], *, codes: tuple[int, ...] = (0,)) -> float:
    """The CPU time of a program and its children, in milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode not in codes:
        raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def version(binaries: Path) -> None:
    """Measure ``--version``, compared with an interpreter that does nothing."""
    nothing = [str(binaries / "python"), "-c", "pass"]
    ours = [str(binaries / "mender-python-client"), "--version"]
    pairs = [(cpu_ms(nothing), cpu_ms(ours)) for _ in range(_RUNS)]
    bare, full = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"--version: {full:.1f} ms of CPU, python -c pass: {bare:.1f} ms; ratio {full / bare:.2f} (bar 1.6)")


def report(binaries: Path) -> None:
    """Measure ``report --success`` with a local server over TLS; key and signature are made by the openssl program."""
    with tempfile.TemporaryDirectory() as directory, DevServer(directory=Path(directory) / "server") as server:
        server.auto_accept = True
        root = Path(directory) / "device"
        make_device(root, server_url=server.url, certificate=server.certificate, settings={})
        program = [str(binaries / "mender-python-client"), "--root", str(root)]
        cpu_ms([*program, "bootstrap"])
        artifact = Path(directory) / "bench-2.mender"
        with artifact.open("wb") as file:
            write_artifact(
                file, rootfs_image("bench-2", ["bench"]), [PayloadSource("rootfs.img", 1, lambda: BytesIO(b"x"))]
            )
        server.upload(artifact)
        _check([*program, "check-update"])
        times = []
        for _ in range(5):
            deployment_id = server.deploy("bench-2", force=True)
            _check([*program, "check-update"])
            (root / "var/lib/mender/update.lock").write_text(f"{deployment_id}\n")
            times.append(cpu_ms([*program, "report", "--success"]))
            (root / "var/lib/mender/update.lock").unlink()
        print(f"report --success over TLS: {statistics.median(times):.0f} ms of CPU, openssl included (bar 500)")


def check_update(binaries: Path, baseline: Path | None) -> None:
    """Measure ``check-update`` of an accepted device over TLS, alternating with the baseline, if any."""
    with (
        nullcontext(binaries) if baseline is None else lean_environment(source=baseline) as others,
        tempfile.TemporaryDirectory() as directory,
        DevServer(directory=Path(directory) / "server") as server,
    ):
        server.auto_accept = True
        root = Path(directory) / "device"
        make_device(root, server_url=server.url, certificate=server.certificate, settings={})
        ours, theirs = (
            [str(place / "mender-python-client"), "--root", str(root), "check-update"] for place in (binaries, others)
        )
        cpu_ms([*ours[:-1], "bootstrap"])
        _check(ours)
        pairs = [(_check(ours), _check(theirs)) for _ in range(_RUNS)]
        mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
        beside = "" if baseline is None else f", the baseline {other:.0f} ms; ratio {mine / other:.2f} (bar 0.6)"
        print(f"check-update over TLS: {mine:.0f} ms of CPU, openssl included{beside}")


def _check(argv: list[str]) -> float:
    return cpu_ms(argv, codes=(0, 2))  # 2: no update


def status(binaries: Path) -> None:
    """Measure ``status`` and ``history`` of a device that has installed a hundred updates."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "device"
        make_device(root, server_url="https://127.0.0.1:1", certificate=None, settings={})
        record = Record()
        for number in range(100):
            record = record.concluded(f"bench-{number}", Event.SUCCESS, now="2026-01-01T00:00:00+00:00")
        JsonJournal(root / "var/lib/mender/journal.json").update(lambda _: record)
        StatusFile(root / "var/lib/mender/status.json").noticed(ClientStatus())
        for verb in ("status", "history"):
            argv = [str(binaries / "mender-python-client"), "--root", str(root), verb]
            times = [cpu_ms(argv) for _ in range(_RUNS)]
            print(f"{verb}: {statistics.median(times):.0f} ms of CPU (bar 150)")


def poll(binaries: Path, *, is_tls: bool) -> None:
    """Measure the bytes and connections of one poll."""
    with (
        tempfile.TemporaryDirectory() as directory,
        DevServer(directory=Path(directory) / "server", tls=is_tls) as server,
    ):
        server.auto_accept = True
        parts = urlsplit(server.url)
        proxy = CountingProxy(parts.port or 0)
        root = Path(directory) / "device"
        make_device(
            root,
            server_url=f"{parts.scheme}://127.0.0.1:{proxy.port}",
            certificate=server.certificate if is_tls else None,
            settings={"UpdatePollIntervalSeconds": 1, "RetryPollIntervalSeconds": 1},
        )
        daemon = subprocess.Popen(
            [str(binaries / "mender-python-client"), "--root", str(root), "daemon"], stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(4)
            polls, size, connections = _polls(server), proxy.bytes, proxy.connections
            time.sleep(10)
            polls = _polls(server) - polls
        finally:
            daemon.terminate()
            daemon.wait()
            proxy.close()
        print(
            f"one poll over {'TLS' if is_tls else 'plain HTTP'}: {(proxy.bytes - size) / polls:.0f} bytes on the wire "
            f"(bar 1600), {(proxy.connections - connections) / polls:.2f} new connections (bar 0), {polls} polls seen"
        )


def _polls(server: DevServer) -> int:
    return sum(request.kind == "next" for request in server.requests)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="the source tree of a client to compare with")
    options = parser.parse_args()
    print(machine())
    with lean_environment() as binaries:
        version(binaries)
        report(binaries)
        check_update(binaries, options.baseline)
        status(binaries)
        poll(binaries, is_tls=False)
        poll(binaries, is_tls=True)


if __name__ == "__main__":
    main()
