"""The dev server's commands for users of device connect, run as a user types them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import forking
from calling import call
from connect.conftest import start
from connect.test_terminal import processes_with
from mender_client.errors import ServerError
from mender_devserver.cli import main
from mender_devserver.remote import BlockingSession
from program.stage import Device
from waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")

PROGRAM = Path(sys.executable).parent / "mender-devserver"


def command(device: Device, *words: str, program: Path | None = None) -> list[str]:
    """A command line for the device's server."""
    return [
        str(program or forking.program().with_name(PROGRAM.name)),
        *words,
        "--directory",
        str(device.server.directory),
    ]


def run(device: Device, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, to save the time to start one."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        return call(*words, "--directory", str(device.server.directory), main=main)
    finally:
        signal.signal(signal.SIGTERM, before)


def run_process(device: Device, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own until it ends."""
    return subprocess.run(
        command(device, *words), input=text, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


class Window:
    """A command in a terminal of its own.

    Args:
        words: the command line.
        rows: the height of the terminal.
        columns: its width.
    """

    def __init__(self, words: list[str], rows: int = 24, columns: int = 80) -> None:
        self._ours, self.tty = os.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.tty)
        self.seen = ""
        self.process = subprocess.Popen(
            words,
            stdin=self.tty,
            stdout=self.tty,
            stderr=self.tty,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, rows: int, columns: int) -> None:
        """Resize the terminal."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._ours, text.encode())

    def see(self, text: str) -> None:
        """Wait for a text; it and everything before it are discarded."""
        end = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._ours], [], [], 0.2)[0]:
                self.seen += os.read(self._ours, 65536).decode("utf-8", "replace")
        self.seen = self.seen.partition(text)[2]

    def hang_up(self) -> None:
        """Close the terminal while the command runs."""
        for number in (self._ours, self.tty):
            os.close(number)
        self._ours = self.tty = os.open(os.devnull, os.O_RDWR)

    def end(self) -> int:
        """Return the exit code; the terminal's settings must be restored."""
        code = self.process.wait(PATIENCE_S)
        assert self.before == termios.tcgetattr(self.tty)
        return code

    def close(self) -> None:
        """End the command and close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for number in {self._ours, self.tty}:
            os.close(number)


@contextmanager
def window(device: Device) -> Iterator[Window]:
    """A terminal on the device."""
    made = Window(command(device, "terminal", device.id[:8], program=PROGRAM), 33, 90)  # a fork has none
    try:
        made.see("Ctrl-] leaves")
        yield made
    finally:
        made.close()


# Terminals


def test_terminal(reached: Device) -> None:
    """A terminal on the device has the size of the local one, passes on control keys, and ends with its shell."""
    with window(reached) as one:
        one.type("stty size\r")
        one.see("33 90")
        one.resize(40, 100)
        one.type("sh -c \"until stty size | grep -q '40 100'; do sleep 0.1; done; echo re''sized; exec sleep 3600\"\r")
        one.see("resized")
        one.type("\x03")
        one.type("echo af''ter; exit 3\r")
        one.see("after")
        assert 0 == one.end()


def test_leave(reached: Device) -> None:
    """Ctrl-] leaves a terminal whose shell is busy, and the device ends the shell."""
    with window(reached) as one:
        mark = f"38{os.getpid() % 100000:05d}"
        one.type(f"echo be''gun; sleep {mark}\r")
        one.see("begun")
        wait_until(lambda: processes_with(mark))
        one.type("\x1d")
        assert 0 == one.end()
    wait_until(lambda: not processes_with(mark), what="the end of the shell")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_terminal_is_stopped(reached: Device, number: signal.Signals) -> None:
    """A signal ends the command, and the local terminal is restored."""
    with window(reached) as one:
        one.process.send_signal(number)
        assert 1 == one.end()
        one.see(f"mender-devserver: stopped by {number.name}")


def test_server_is_gone(device: Device) -> None:
    """When the server stops, the command ends, and the local terminal is restored."""
    start(device)
    device.server.connected_device(device.id)
    with window(device) as one:
        device.server.stop()
        assert 1 == one.end()
        one.see("mender-devserver: ")  # it names the lost connection, or that of the device, whichever it notices first


def test_without_a_terminal(reached: Device, tmp_path: Path) -> None:
    """Input can come from a pipe or a file, many lines at once, and its end ends the shell."""
    script = "".join(f"echo $(({number} * 2))\n" for number in range(2000))
    done = run_process(reached, "terminal", reached.id, text="stty -echo\n" + script + "sleep 2.0\n")
    assert (0, "") == (done.returncode, done.stderr)
    assert [str(number * 2) for number in range(2000)] == [line for line in done.stdout.split() if line.isdecimal()]
    (tmp_path / "script").write_text("echo from a file\n")
    with (tmp_path / "script").open() as file:
        read = subprocess.run(
            command(reached, "terminal", reached.id), stdin=file, capture_output=True, text=True, check=False
        )
    assert 0 == read.returncode
    assert 2 == read.stdout.count("from a file")  # the input is echoed


def test_not_connected(device: Device) -> None:
    """The message names a device that isn't connected and what to do, or a device that is unknown."""
    device.server.wait_until(lambda: True)
    for words in (
        ("terminal", device.id),
        ("cp", "/etc/hostname", f"{device.id}:/tmp/x"),
        ("cp", f"{device.id}:/tmp/x", "."),
        ("port-forward", device.id, "0:22"),
    ):
        done = run(device, *words)
        assert (2, "") == (done.returncode, done.stdout)
        assert f"cannot reach device {device.id}: it is not connected; run 'mender-python-client" in done.stderr
    done = run(device, "terminal", "nobody")
    assert (
        "mender-devserver: cannot reach device nobody: device not found; see 'mender-devserver devices'\n"
        == done.stderr
    )


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"Terminal": {"Disable": True}}, "Terminal.Disable in its mender-connect.conf"),
        ({"ShellCommand": "/bin/sh"}, "raise Sessions.MaxPerUser in its mender-connect.conf"),
    ],
)
def test_refused_terminal(device: Device, keys: dict[str, object], reason: str) -> None:
    """If the device refuses a terminal, the message says what to change."""
    start(device, **keys)
    device.server.connected_device(device.id)
    with BlockingSession(device.server.contact, device.id) as session:
        with suppress(ServerError):
            session.open_terminal()
        done = run(device, "terminal", device.id)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"mender-devserver: cannot open a terminal on device {device.id}: ")
    assert reason in done.stderr


def test_window_is_closed(reached: Device) -> None:
    """When its window is closed, the command ends without a message about it."""
    with window(reached) as one:
        one.hang_up()
        assert 1 == one.process.wait(PATIENCE_S)


# Files


def test_copy(reached: Device, tmp_path: Path) -> None:
    """A file is copied to a device and back with its permissions, and both commands print the same digest."""
    content = os.urandom(1_000_000)
    local, remote, back = tmp_path / "local", tmp_path / "remote", tmp_path / "back"
    local.write_bytes(content)
    local.chmod(0o750)
    back.mkdir()
    digest = hashlib.sha256(content).hexdigest()
    sent = run_process(reached, "cp", str(local), f"{reached.id[:8]}:{remote}")
    assert (0, f"{reached.id[:8]}:{remote}  1000000 bytes  sha256 {digest}\n") == (sent.returncode, sent.stdout)
    got = run_process(reached, "cp", f"{reached.id[:8]}:{remote}", str(back), "--json")
    assert digest == json.loads(got.stdout)["sha256"]
    assert [back / "remote"] == list(back.iterdir())
    assert (content, 0o750) == ((back / "remote").read_bytes(), (back / "remote").stat().st_mode & 0o7777)


@pytest.mark.parametrize(
    ("source", "target", "code", "text"),
    [
        ("a", "b", 64, "exactly one of SOURCE and TARGET must be on a device"),
        ("{id}:/a", "{id}:/b", 64, "exactly one of SOURCE and TARGET must be on a device"),
        ("{id}:a", "b", 64, "cannot read '{id}:a': write it as DEVICE:/PATH, or ./{id}:a for a local file"),
        ("{id}:/nowhere", "new", 2, "cannot download /nowhere: "),
        ("{id}:/etc/hostname", "/dev/null", 1, "cannot replace /dev/null: it is not a regular file"),
        ("{id}:/etc/hostname", "no/where", 1, "No such file or directory"),
        ("/dev/null", "{id}:/tmp/x", 1, "cannot upload /dev/null: it is not a regular file"),
        ("missing", "{id}:/tmp/x", 1, "cannot use missing: No such file or directory"),
        ("/etc/hostname", "{id}:/no/where", 2, "cannot upload /no/where: "),
    ],
)
def test_copy_is_refused(
    reached: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, code: int, text: str
) -> None:
    """A copy that isn't possible is reported in one line, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    done = run(reached, "cp", source.format(id=reached.id), target.format(id=reached.id))
    assert (code, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert text.format(id=reached.id) in done.stderr
    assert before == set(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_copy_is_stopped(reached: Device, tmp_path: Path, number: signal.Signals) -> None:
    """A download that is interrupted leaves only the previous file."""
    target = tmp_path / "down" / "file"
    target.parent.mkdir()
    target.write_text("before")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    process = subprocess.Popen(command(reached, "cp", f"{reached.id}:{tmp_path}/large", str(target)))
    try:
        wait_until(lambda: any(one.stat().st_size > 100_000 for one in target.parent.iterdir()))
        process.send_signal(number)
        assert process.wait(PATIENCE_S) in (1, 130)
    finally:
        process.kill()
        process.wait()
    assert {target: "before"} == {one: one.read_text() for one in target.parent.iterdir()}


# Ports


def serve_echo(kind: socket.SocketKind) -> socket.socket:
    """A socket that echoes its input in capitals."""
    listener = socket.socket(socket.AF_INET, kind)
    listener.bind(("127.0.0.1", 0))

    def one(peer: socket.socket) -> None:
        with peer:
            while data := peer.recv(65536):
                peer.sendall(data.upper())

    def run() -> None:
        try:
            while True:
                if kind is socket.SOCK_STREAM:
                    threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
                else:
                    data, address = listener.recvfrom(65536)
                    listener.sendto(data.upper(), address)
        except OSError:
            pass  # closed

    if kind is socket.SOCK_STREAM:
        listener.listen()
    threading.Thread(target=run, daemon=True).start()
    return listener


@contextmanager
def forwarding(device: Device, *forwards: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command, and its local ports."""
    with subprocess.Popen(
        command(device, "port-forward", device.id, *forwards), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in forwards]
            yield process, [int(line.split()[0].partition("/")[2]) for line in lines]
        finally:
            process.kill()


def test_ports(reached: Device) -> None:
    """Local ports are forwarded to ports that the device reaches, many connections at once, over TCP and UDP."""
    with serve_echo(socket.SOCK_STREAM) as stream, serve_echo(socket.SOCK_DGRAM) as datagrams:
        there = [one.getsockname()[1] for one in (stream, datagrams)]
        with forwarding(reached, f"0:{there[0]}", f"udp/0:127.0.0.1:{there[1]}") as (process, ports):
            peers = [socket.create_connection(("127.0.0.1", ports[0])) for _ in range(3)]
            content = os.urandom(100_000).hex().encode()
            for peer in peers:
                peer.settimeout(PATIENCE_S)
                threading.Thread(target=peer.sendall, args=(content,)).start()
            for peer in peers:
                got = b""
                while len(got) < len(content):
                    got += peer.recv(65536)
                assert content.upper() == got
                peer.close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.settimeout(PATIENCE_S)
                for data in (b"one", b"", b"two" * 20_000, b"", b"four"):
                    sender.sendto(data, ("127.0.0.1", ports[1]))
                    assert data.upper() == sender.recv(65536)
            process.terminate()
            assert 0 == process.wait(PATIENCE_S)


def test_remote_end_closes(reached: Device) -> None:
    """All data that the remote side sent before closing arrives, and then the local connection is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"x" * 50_000)

        threading.Thread(target=serve, daemon=True).start()
        with (
            forwarding(reached, f"0:{listener.getsockname()[1]}") as (_, ports),
            socket.create_connection(("127.0.0.1", ports[0])) as peer,
        ):
            peer.settimeout(PATIENCE_S)
            got = b""
            while data := peer.recv(65536):
                got += data
            assert b"x" * 50_000 == got


def test_nothing_listens(reached: Device, closed_port: int) -> None:
    """Each connection to a port without a listener is reported and closed, and the command keeps running."""
    with forwarding(reached, f"0:{closed_port}") as (process, ports):
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", ports[0])) as peer:
                peer.settimeout(PATIENCE_S)
                assert b"" == peer.recv(1)
        process.terminate()
        assert 0 == process.wait(PATIENCE_S)
        assert process.stderr
        assert 2 == process.stderr.read().count(f"cannot connect to 127.0.0.1:{closed_port} from the device: ")


def test_ports_are_disabled(device: Device) -> None:
    """If the device allows no port forwarding, the message says so, and the connection is closed."""
    start(device, PortForward={"Disable": True})
    device.server.connected_device(device.id)
    with forwarding(device, "0:80") as (process, ports):
        with socket.create_connection(("127.0.0.1", ports[0])) as peer:
            peer.settimeout(PATIENCE_S)
            assert b"" == peer.recv(1)
        process.terminate()
        process.wait(PATIENCE_S)
        assert process.stderr
        assert "PortForward.Disable in its mender-connect.conf" in process.stderr.read()


@pytest.mark.parametrize("text", ["80", "x:80", "80:y:", "1:2:3:4", "sctp/1:2", "70000:1", "1:0"])
def test_wrong_forward(device: Device, text: str) -> None:
    """An invalid forward is reported with an example."""
    done = run(device, "port-forward", "x", text)
    assert 64 == done.returncode
    assert done.stderr.startswith(f"mender-devserver: cannot read '{text}': write it as [udp/]LOCAL_PORT:[HOST:]PORT")


def test_local_port_in_use(reached: Device) -> None:
    """The message names a local port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(reached, "port-forward", reached.id, f"{port}:80")
    assert 1 == done.returncode
    assert f"cannot listen on tcp/127.0.0.1:{port}: " in done.stderr
    assert done.stderr.endswith("; choose another port\n")
