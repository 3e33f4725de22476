"""Our ``connect`` compared with Debian's mender-connect on one dev server: ``python -m benchmarks.connect``.

Two devices, each running one of the programs, are connected to the server directly, over plain HTTP on loopback. A user
types on both alternately, transfers files in both directions, and starts and interrupts ``yes``. On a busy machine,
where most of the time is spent waiting for a CPU, run the command under ``chrt --fifo 10``.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from mender_client.core.wire.deviceconnect import Protocol
from mender_devserver import DevServer
from mender_devserver.contact import Contact
from mender_devserver.remote import BlockingSession
from mender_devserver.remotefiles import fetch_file, send_file

from .authbus import ask_for_token, message_bus_daemon, offer
from .bench import machine, make_device, make_script

MIB = 1024 * 1024
_STOPPED_SECONDS = 10.0
_SETTINGS = {"User": "root", "ShellCommand": "/bin/sh", "ShellArguments": []}


@dataclass(frozen=True, slots=True)
class Reachable:
    """A device that one of the programs connects to a server.

    Attributes:
        name: the name of the program.
        pid: the process id of the program.
        contact: the addresses of the server.
        device_id: the id of the device.
        directory: a directory for files.
    """

    name: str
    pid: int
    contact: Contact
    device_id: str
    directory: Path

    def session(self) -> BlockingSession:
        """Open a user's session with the device."""
        return BlockingSession(self.contact, self.device_id)


@contextmanager
def bench() -> Iterator[tuple[Reachable, Reachable]]:
    """Two devices of one server, one with our ``connect``, the other with mender-connect."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mender-bench-")))
        server = stack.enter_context(DevServer(directory / "server", tls=False))
        server.auto_accept = True
        ours, our_id = _device(directory / "ours", server)
        stock, stock_id = _device(directory / "stock", server)
        bus = stack.enter_context(message_bus_daemon())
        offer(bus, _token(stack, stock), server.url)
        file = directory / "stock/etc/mender/mender-connect.conf"
        command = ["mender-connect", "--config", str(file), "--fallback-config", str(directory / "none"), "daemon"]
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus}
        found = []
        for name, argv, device in (("connect", [*ours, "connect"], our_id), ("mender-connect", command, stock_id)):
            process = stack.enter_context(subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL))
            stack.callback(process.terminate)
            server.connected_device(device, seconds=60)
            place = directory / name
            place.mkdir()
            found.append(Reachable(name, process.pid, server.contact, device, place))
        yield found[0], found[1]


def _device(root: Path, server: DevServer) -> tuple[list[str], str]:
    """Create a device; return the command line of our program for it, and its id."""
    make_device(root, server_url=server.url, certificate=None, settings={})
    make_script(root / "usr/share/mender/identity/mender-device-identity", f"echo name={root.name}")
    (root / "etc/mender/mender-connect.conf").write_text(json.dumps(_SETTINGS))
    program = Path(sys.executable).parent / "mender-python-client"
    command = [str(program), "--root", str(root), "-l", "error"]
    known = {device.id for device in server.devices()}
    for words in ("bootstrap", "send-inventory"):
        subprocess.run([*command, words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return command, next(device.id for device in server.devices() if device.id not in known)


def _token(stack: ExitStack, ours: list[str]) -> str:
    """Get a token of the device with our ``dbus`` command."""
    address = stack.enter_context(message_bus_daemon())
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address}
    with subprocess.Popen([*ours, "dbus"], env=environment) as process:
        try:
            return ask_for_token(address)
        finally:
            process.terminate()


class Memory:
    """Measures the peak growth of a process's memory."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._before = self._read("VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets the peak

    def grown_mib(self) -> float:
        """The peak growth so far, in MiB."""
        return (self._read("VmHWM") - self._before) / 1024

    def _read(self, name: str) -> int:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# -- measurements -----------------------------------------------------------------------------------------------------


def echo(devices: Sequence[Reachable], count: int) -> list[list[float]]:
    """The seconds from a keystroke to its echo on each of the devices; the user types on them alternately."""
    times: list[list[float]] = [[] for _ in devices]
    with ExitStack() as stack:
        sessions = [stack.enter_context(device.session()) for device in devices]
        for session in sessions:
            session.open_terminal()
            _read_for(session, 0.5)
        for number in range(count):
            key = b"abcdefghij"[number % 10 :][:1]
            for session, found in zip(sessions, times, strict=True):
                time.sleep(random.uniform(0.002, 0.02))
                began = time.perf_counter()
                session.send(Protocol.SHELL, "shell", key)
                while key not in (_output(session) or b""):
                    pass
                found.append(time.perf_counter() - began)
    return times


def transfer(device: Reachable, mib: int) -> dict[str, tuple[float, float]]:
    """The seconds and the memory growth in MiB for a file, in each direction.

    Raises:
        SystemExit: the received file differs from the one sent.
    """
    data = os.urandom(mib * MIB)
    digest = hashlib.sha256(data).hexdigest()
    there, back = device.directory / "there", device.directory / "back"
    back.write_bytes(data)
    found = {}
    memory, began = Memory(device.pid), time.perf_counter()
    send_file(device.contact, device.device_id, io.BytesIO(data), str(there))
    found["upload"] = time.perf_counter() - began, memory.grown_mib()
    if hashlib.sha256(there.read_bytes()).hexdigest() != digest:
        raise SystemExit(f"{device.name}: the file on the device isn't the one that was sent")
    memory, began = Memory(device.pid), time.perf_counter()
    came = fetch_file(device.contact, device.device_id, str(back), io.BytesIO())
    found["download"] = time.perf_counter() - began, memory.grown_mib()
    if came.sha256 != digest:
        raise SystemExit(f"{device.name}: the file that has come isn't the one on the device")
    there.unlink()
    return found


def interrupt(device: Reachable, seconds: float) -> tuple[float, float, float]:
    """The bytes received from ``yes``, the memory growth in MiB, and the seconds from Ctrl-C to the next prompt."""
    with device.session() as session:
        session.open_terminal()
        session.send(Protocol.SHELL, "shell", b"PS1='pro''mpt: '; clear; yes\n")
        memory = Memory(device.pid)
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
    """The next output; None if there is none in time."""
    try:
        message = session.receive(seconds)
    except TimeoutError:
        return None
    return (message.body or b"") if (message.proto, message.typ) == (Protocol.SHELL, "shell") else b""


def _read_for(session: BlockingSession, seconds: float) -> int:
    """Read output for the given time; return the number of bytes."""
    end, size = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        size += len(_output(session, left) or b"")
    return size


# -- the figures ------------------------------------------------------------------------------------------------------


def _row(what: str, ours: float, stock: float, unit: str, bar: str, ratio: float | None = None) -> None:
    shown = "" if ratio is None else f"{ratio:.2f}"
    print(f"  {what:34} {ours:9.1f} {stock:9.1f} {unit:6} {shown:>6}   {bar}", flush=True)


def show_echo(devices: Sequence[Reachable], count: int) -> None:
    """Print the delay of the echo."""
    ours, stock = echo(devices, count)
    for what, bar, pick in (
        ("keystroke to echo, median", "", median),
        ("keystroke to echo, p99", "<= 20 ms, <= 1.5", lambda times: quantiles(times, n=100)[98]),
    ):
        _row(what, 1000 * pick(ours), 1000 * pick(stock), "ms", bar, pick(ours) / pick(stock))


def show_transfers(devices: Sequence[Reachable], mib: int, rounds: int) -> None:
    """Print the speed of transfers in the best round, and their memory growth in the worst round."""
    found = [[transfer(device, mib) for device in devices] for _ in range(rounds)]
    for way in found[0][0]:
        ours, stock = (mib / min(one[index][way][0] for one in found) for index in range(2))
        _row(f"{way} of {mib} MiB", ours, stock, "MiB/s", ">= 0.7", ours / stock)
        ours, stock = (max(one[index][way][1] for one in found) for index in range(2))
        _row(f"{way}, growth of memory", ours, stock, "MiB", "flat")


def show_interrupt(devices: Sequence[Reachable], seconds: float) -> None:
    """Print the effect of ``yes`` on memory and on the delay of Ctrl-C."""
    ours, stock = (interrupt(device, seconds) for device in devices)
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
    with bench() as devices:
        show_echo(devices, options.keystrokes)
        show_transfers(devices, options.mib, options.rounds)
        show_interrupt(devices, options.seconds)


if __name__ == "__main__":
    main()
