"""Our ``connect`` beside Debian's mender-connect, on one development server: ``python -m benchmarks.connect``.

A user types, transfers files both ways, and lets ``yes`` run and stops it. Both add-ons speak plain HTTP over loopback
to the same server, with nothing between. The ratios hold on a busy machine, too; the times don't.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from mender_client.core.wire.deviceconnect import Protocol
from mender_devserver import DevServer
from mender_devserver.remote import BlockingSession
from mender_devserver.remotefiles import fetch_file, send_file

from .authbus import ask_for_token, message_bus_daemon, offer
from .bench import machine, make_device

MIB = 1024 * 1024
NAMES = ("connect", "mender-connect")
_STOPPED_SECONDS = 10.0
_SETTINGS = {"User": "root", "ShellCommand": "/bin/sh", "ShellArguments": []}


@dataclass(frozen=True, slots=True)
class Bench:
    """A server, a device of it, and the programs that make the device reachable, by their names."""

    server: DevServer
    device_id: str
    directory: Path
    programs: dict[str, Callable[[], subprocess.Popen[bytes]]]

    @contextmanager
    def running(self, name: str) -> Iterator[int]:
        """Let one of the programs run, connected; yields its process id."""
        with self.programs[name]() as process:
            try:
                self.server.connected_device(self.device_id, seconds=60)
                yield process.pid
            finally:
                process.terminate()

    def session(self) -> BlockingSession:
        """A user's session with the device."""
        return BlockingSession(self.server.contact, self.device_id)


@contextmanager
def bench() -> Iterator[Bench]:
    """The bench, in a directory that goes with it."""
    program = Path(sys.executable).parent / "mender-python-client"
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mender-bench-")))
        server = stack.enter_context(DevServer(directory / "server", tls=False))
        server.auto_accept = True
        root = directory / "device"
        make_device(root, server_url=server.url, certificate=None, settings={})
        file = root / "etc/mender/mender-connect.conf"
        file.write_text(json.dumps(_SETTINGS))
        ours = [str(program), "--root", str(root), "-l", "error"]
        subprocess.run([*ours, "bootstrap"], check=True, stdout=subprocess.DEVNULL)
        stock_bus = stack.enter_context(message_bus_daemon())
        offer(stock_bus, _token(stack, ours), server.url)
        stock = ["mender-connect", "--config", str(file), "--fallback-config", str(directory / "none"), "daemon"]
        (device,) = server.devices()
        yield Bench(
            server,
            device.id,
            directory,
            {
                "connect": lambda: subprocess.Popen([*ours, "connect"], stderr=subprocess.DEVNULL),
                "mender-connect": lambda: subprocess.Popen(
                    stock, stderr=subprocess.DEVNULL, env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": stock_bus}
                ),
            },
        )


def _token(stack: ExitStack, ours: list[str]) -> str:
    """A token of the device, by our own ``dbus``."""
    address = stack.enter_context(message_bus_daemon())
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address}
    with subprocess.Popen([*ours, "dbus"], env=environment) as process:
        try:
            return ask_for_token(address)
        finally:
            process.terminate()


class Memory:
    """How much the memory of a process grows meanwhile, at its highest."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._before = self._read("VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew

    def grown_mib(self) -> float:
        """The growth so far."""
        return (self._read("VmHWM") - self._before) / 1024

    def _read(self, name: str) -> int:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# -- what is measured -------------------------------------------------------------------------------------------------


def echo(bench: Bench, name: str, count: int) -> list[float]:
    """Seconds from a keystroke to its echo."""
    with bench.running(name), bench.session() as session:
        session.open_terminal()
        _read_for(session, 0.5)
        times = []
        for number in range(count):
            key = b"abcdefghij"[number % 10 :][:1]
            time.sleep(random.uniform(0.002, 0.02))
            began = time.perf_counter()
            session.send(Protocol.SHELL, "shell", key)
            while key not in (_output(session) or b""):
                pass
            times.append(time.perf_counter() - began)
    return times


def transfer(bench: Bench, name: str, mib: int) -> dict[str, tuple[float, float]]:
    """Seconds and growth of memory in MiB for a file, in each direction.

    Raises:
        SystemExit: what has arrived isn't what was sent.
    """
    data = os.urandom(mib * MIB)
    digest = hashlib.sha256(data).hexdigest()
    there, back = bench.directory / "there", bench.directory / "back"
    back.write_bytes(data)
    contact, device = bench.server.contact, bench.device_id
    found = {}
    with bench.running(name) as pid:
        memory, began = Memory(pid), time.perf_counter()
        send_file(contact, device, io.BytesIO(data), str(there))
        if hashlib.sha256(there.read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{name}: the file on the device isn't the one that was sent")
        found["upload"] = time.perf_counter() - began, memory.grown_mib()
        memory, began = Memory(pid), time.perf_counter()
        if fetch_file(contact, device, str(back), io.BytesIO()).sha256 != digest:
            raise SystemExit(f"{name}: the file that has come isn't the one on the device")
        found["download"] = time.perf_counter() - began, memory.grown_mib()
    there.unlink()
    return found


def interrupt(bench: Bench, name: str, seconds: float) -> tuple[float, float, float]:
    """Bytes of output of ``yes`` that arrive, growth of memory in MiB, and seconds from Ctrl-C to the next prompt."""
    with bench.running(name) as pid, bench.session() as session:
        session.open_terminal()
        session.send(Protocol.SHELL, "shell", b"PS1='pro''mpt: '; clear; yes\n")
        memory = Memory(pid)
        size = _read_for(session, seconds)
        began = time.perf_counter()
        session.send(Protocol.SHELL, "shell", b"\x03")
        seen = b""
        while b"prompt: " not in seen:
            if time.perf_counter() - began > _STOPPED_SECONDS:
                return size, memory.grown_mib(), float("inf")
            seen = seen[-16:] + (_output(session, _STOPPED_SECONDS) or b"")
        return size, memory.grown_mib(), time.perf_counter() - began


def _output(session: BlockingSession, seconds: float = 60.0) -> bytes | None:
    """The next output; None when none has come."""
    try:
        message = session.receive(seconds)
    except TimeoutError:
        return None
    return (message.body or b"") if (message.proto, message.typ) == (Protocol.SHELL, "shell") else b""


def _read_for(session: BlockingSession, seconds: float) -> int:
    """Read for a while; returns how many bytes have come."""
    end, size = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        size += len(_output(session, left) or b"")
    return size


# -- the figures ------------------------------------------------------------------------------------------------------


def _row(what: str, ours: float, stock: float, unit: str, bar: str, ratio: float | None = None) -> None:
    shown = "" if ratio is None else f"{ratio:.2f}"
    print(f"  {what:34} {ours:9.1f} {stock:9.1f} {unit:6} {shown:>6}   {bar}", flush=True)


def show_echo(bench: Bench, count: int) -> None:
    """Print how long an echo takes."""
    ours, stock = (sorted(echo(bench, name, count)) for name in NAMES)
    for what, bar, pick in (
        ("keystroke to echo, median", "", median),
        ("keystroke to echo, p99", "<= 20 ms, <= 1.5", lambda times: quantiles(times, n=100)[98]),
    ):
        _row(what, 1000 * pick(ours), 1000 * pick(stock), "ms", bar, pick(ours) / pick(stock))


def show_transfers(bench: Bench, mib: int, rounds: int) -> None:
    """Print how fast files are, each in its best round, and what they take in the worst."""
    found = [[transfer(bench, name, mib) for name in NAMES] for _ in range(rounds)]
    for way in found[0][0]:
        ours, stock = (mib / min(one[index][way][0] for one in found) for index in range(2))
        _row(f"{way} of {mib} MiB", ours, stock, "MiB/s", ">= 0.7", ours / stock)
        ours, stock = (max(one[index][way][1] for one in found) for index in range(2))
        _row(f"{way}, growth of memory", ours, stock, "MiB", "flat")


def show_interrupt(bench: Bench, seconds: float) -> None:
    """Print what ``yes`` does to memory and to Ctrl-C."""
    ours, stock = (interrupt(bench, name, seconds) for name in NAMES)
    _row(f"yes for {seconds:g} s, output", ours[0] / 1024, stock[0] / 1024, "KiB", "", ours[0] / max(stock[0], 1))
    _row("yes, growth of memory", ours[1], stock[1], "MiB", "flat")
    _row("Ctrl-C to the prompt", 1000 * ours[2], 1000 * stock[2], "ms", "<= 200 ms", ours[2] / stock[2])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keystrokes", type=int, default=1000)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2, help="of transfers")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    missing = [name for name in ("dbus-daemon", "mender-connect") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        raise SystemExit(f"cannot compare: {' and '.join(missing) + ' is missing' if missing else 'run it as root'}")
    print(f"connect beside mender-connect ({machine()})")
    print(f"  {'':34} {'connect':>9} {'stock':>9} {'':6} {'ratio':>6}   bar")
    with bench() as running:
        show_echo(running, options.keystrokes)
        show_transfers(running, options.mib, options.rounds)
        show_interrupt(running, options.seconds)


if __name__ == "__main__":
    main()
