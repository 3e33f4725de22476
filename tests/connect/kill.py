"""Disturbances ("blows") during user sessions: after each, the device reconnects, and nothing is left or incomplete.

    python tests/connect/kill.py --blows 50 --seed 7

runs this at length and prints the results; ``test_kill.py`` runs a few of the same blows.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from connect.conftest import allow
from connect.test_terminal import processes_with
from connect.user import User
from mender_client.core.wire.deviceconnect import Message, Protocol, encode
from mender_client.core.wire.msgpack import pack
from mender_devserver import DevServer
from mender_devserver.deviceconnect import ConnectedDevice
from program.stage import Device, Process
from waiting import PATIENCE_S, wait_until

BLOWS = ("kill", "term", "cut", "close", "stall", "restart", "reload")
_CHUNK = 4096
_CHUNKS = 60
_OLD, _NEW = b"old" * 1000, os.urandom(_CHUNK * _CHUNKS)


def send(connection: ConnectedDevice, message: Message) -> None:
    """Send a message over a connection that may be cut at any time, without waiting for it to arrive."""
    data, loop = encode(message), connection._loop

    def start() -> None:
        task = loop.create_task(connection._websocket.send_bytes(data))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    with suppress(RuntimeError):  # the server has stopped
        loop.call_soon_threadsafe(start)


class Line:
    """A TCP forwarder between device and server, which can be cut or stalled.

    Args:
        port: the server's on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                device, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(device,), daemon=True).start()

    def _carry(self, device: socket.socket) -> None:
        with device:
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with server:
                self._ends |= {device, server}
                back = threading.Thread(target=self._pump, args=(server, device), daemon=True)
                back.start()
                self._pump(device, server)
                back.join()
                self._ends -= {device, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Block all traffic silently."""
        self._flows.clear()

    def go_on(self, *, is_cut: bool) -> None:
        """Unblock the traffic; with ``is_cut``, only that of new connections."""
        if is_cut:
            for end in list(self._ends):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._flows.set()

    def close(self) -> None:
        """Accept no more connections, and close the existing ones."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.go_on(is_cut=True)


@dataclass
class Tally:
    """The results of a series of blows.

    Attributes:
        blows: the number of blows of each kind.
        problems: what was wrong afterwards: a process that a terminal had started was left, a file was neither the old
            nor the new one, or a terminal was gone although the program had kept running.
        whole: the number of uploads that were completed.
        slowest_seconds: the longest time from the end of a blow until the device was connected again.
    """

    blows: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    whole: int = 0
    slowest_seconds: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.blows.items()))
        return (
            f"{sum(self.blows.values())} blows ({kinds}): {len(self.problems)} problems; {self.whole} uploads whole; "
            f"connected again after {self.slowest_seconds:.1f} s at most"
        )


class Ring:
    """A device, its server, and the line between them.

    Args:
        device: the device; its program isn't running.
        rng: chooses the instants.
    """

    def __init__(self, device: Device, rng: random.Random) -> None:
        self.tally = Tally()
        self._device = device
        self._server = device.server
        self._rng = rng
        self._line = Line(urlsplit(self._server.url).port or 0)
        device.configure(ServerURL=f"https://127.0.0.1:{self._line.port}")
        allow(device, Sessions={"MaxPerUser": 100})
        self._file = device.root / "exchanged"
        self._program = self._start()
        self._connection = self._server.connected_device(device.id)
        self._count = 0

    def close(self) -> None:
        """Stop the program and the line."""
        self._program.stop()
        self._line.close()

    def strike(self, kind: str) -> None:
        """Start user activity, strike, and check the result."""
        self.tally.blows[kind] += 1
        self._kind = kind
        self._count += 1
        self._file.write_bytes(_OLD)
        user, marks = User(self._connection), [f"38{os.getpid() % 10000:04d}{self._count:03d}{n}" for n in range(2)]
        if user.open_terminal().props["status"] != 1:
            raise AssertionError("no terminal")
        user.type(f"sleep {marks[0]} & setsid sleep {marks[1]} & sh -c 'while :; do echo on; sleep 0.01; done'\r")
        user.read_until("on\r\non\r\n")
        wait_until(lambda: all(map(processes_with, marks)))
        is_half_sent = threading.Thread(target=self._upload, args=(self._connection, self._rng.random() * 0.004))
        is_half_sent.start()
        time.sleep(self._rng.random() * 0.3)
        before = self._connection
        getattr(self, f"_{kind}")()
        began = time.monotonic()
        self._connection = self._server.connected_device(self._device.id, after=before)
        self.tally.slowest_seconds = max(self.tally.slowest_seconds, time.monotonic() - began)
        is_half_sent.join()
        self._judge(user, marks, has_gone_on=kind not in ("kill", "term"))

    def _judge(self, user: User, marks: list[str], *, has_gone_on: bool) -> None:
        if has_gone_on:
            user.device = self._connection
            user.type("\x03")
            user.type("echo st''ill\r")
            seen = b""
            while b"still" not in seen and (message := user.receive()).typ != "stop":
                seen += (message.body or b"") if message.typ == "shell" else b""
            if b"still" not in seen:
                self._complain(f"the terminal is lost: {message}")
            user.send(Protocol.SHELL, "stop")
        try:
            wait_until(lambda: not any(map(processes_with, marks)), within=PATIENCE_S / 3)
        except AssertionError:
            self._complain("something is left of a terminal")
        content = self._file.read_bytes()
        self.tally.whole += content == _NEW
        if content not in (_OLD, _NEW):
            self._complain(f"the file has {len(content)} bytes")
        if parts := list(self._file.parent.glob(f"{self._file.name}.*")):
            self._complain(f"a part of an upload is left: {parts}")

    def _complain(self, what: str) -> None:
        self.tally.problems.append(f"{self._kind}: {what}\n{self._device.said[-3000:]}")

    def _upload(self, connection: ConnectedDevice, pause: float) -> None:
        """Send a file like the server, but without waiting for acknowledgements."""
        sid = f"upload-{self._count}"
        send(connection, Message(Protocol.FILES, "put_file", sid, {}, pack({"path": str(self._file)})))
        for number in range(_CHUNKS + 1):
            at, data = number * _CHUNK, _NEW[number * _CHUNK : (number + 1) * _CHUNK]
            send(connection, Message(Protocol.FILES, "file_chunk", sid, {"offset": at}, data or None))
            time.sleep(pause)

    # -- blows --------------------------------------------------------------------------------------------------------

    def _start(self) -> Process:
        return self._device.start("connect")

    def _kill(self) -> None:
        self._program.kill()
        self._program = self._start()  # as the service manager does

    def _term(self) -> None:
        if self._program.stop() != 0:
            raise AssertionError(self._program.text)
        self._program = self._start()

    def _cut(self) -> None:
        self._line.go_on(is_cut=True)

    def _close(self) -> None:
        self._connection.close(1001)

    def _stall(self) -> None:
        self._line.stall()
        time.sleep(self._rng.random())
        self._line.go_on(is_cut=True)

    def _long_stall(self) -> None:
        """Block all traffic until the device notices."""
        lost = self._program.text.count("connection lost: the server is silent") + 1
        self._line.stall()
        self._program.wait_for("connection lost: the server is silent", count=lost)
        self._line.go_on(is_cut=False)

    def _restart(self) -> None:
        self._server.stop()
        time.sleep(self._rng.random())
        self._server.start()

    def _reload(self) -> None:
        self._program.send(signal.SIGHUP)


def main() -> int:
    """Run a long series of blows."""
    parser = argparse.ArgumentParser(description="Kill, cut, stall and restart while users work.")
    parser.add_argument("--blows", type=int, default=50, help="how many")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for the instants")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns about data sent to a connection that was cut
    with tempfile.TemporaryDirectory() as directory, DevServer(Path(directory) / "server") as server:
        device = Device(Path(directory) / "device", server)
        ring = Ring(device, rng)
        kinds = [*BLOWS, "long_stall"]
        for number in range(options.blows):
            ring.strike(kinds[number % len(kinds)] if number < len(kinds) else rng.choice(BLOWS))
            if number % 10 == 9:
                print(f"seed {options.seed}: {ring.tally}", flush=True)
        ring.close()
        device.close()
        tally = ring.tally
        print(f"seed {options.seed}: {tally}", *tally.problems, sep="\n")
        return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
