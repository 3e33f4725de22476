"""The input that a hostile peer of ``connect`` sends: frames, messages, and whole sessions."""

from __future__ import annotations

import os
import random
import socket
import struct
from pathlib import Path
from typing import Any

from connect.world import World
from fuzz.mutations import mutate_bytes
from fuzz.parsers import Parser
from mender_client.connect.loop import Loop
from mender_client.connect.protocol.forward import MOST_CONNECTIONS_OF_ALL, MOST_WAITING_BYTES_OF_ALL
from mender_client.connect.protocol.terminal import MOST_SHELLS
from mender_client.connect.websocket import WebSocket
from mender_client.core.wire.deviceconnect import MOST_MESSAGE_BYTES, Message, Protocol, decode, encode
from mender_client.core.wire.msgpack import Extension, Int64, pack

_ODD = [
    *(b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"),
    *(b"\x91" * 2000, b"\x81\xa1x" * 500, b"\x90" * 5000, b"\xd3" + b"\xff" * 8, b"\xcf" + b"\xff" * 8),
    *(b"\xc9\xff\xff\xff\xff\x01", b"\xd7\xff" + b"\0" * 8, b"\xa4\xff\xfe\xfd\xfc", b"\xc0", b"\xcb" + b"\xff" * 8),
]
_ODD_FRAMES = [
    *(
        b"\x82\x7f\0\0\0\1\0\0\0\0",
        b"\x82\x7f" + b"\xff" * 8,
        b"\x02\x00",
        b"\x00\x00" * 3000,
        b"\x80\x00",
        b"\x82\x85",
    ),
    *(b"\x89\x7e\x04\x00", b"\x09\x00", b"\x8b\x7d" + bytes(125), b"\x88\x01x", b"\x88\x02\x03\xed", b"\xf2\x01x"),
    *(b"\x81\x02\xff\xfe", b"\x82\x7e\x00\x01x", b"\x82\x00"),
]
_PROTOCOLS = (*Protocol, 0, 5, 0x7777, -1, 1 << 40)
_TYPES = (
    *(
        "new",
        "shell",
        "resize",
        "stop",
        "pong",
        "stat",
        "get_file",
        "put_file",
        "file_chunk",
        "ack",
        "error",
        "forward",
    ),
    *("open", "accept", "ping", "close", "check-update", "send-inventory", "", "wat"),
)
_NAMES = (
    *("terminal_width", "terminal_height", "user_id", "offset", "connection_id", "status", "msgid", "path", "src_path"),
    *("mode", "uid", "gid", "remote_host", "remote_port", "protocol", "versions", "version", "close", "err"),
)


_VALUES = [
    *(None, True, 0, 1, -1, 80, 0o644, 65535, 65536, 1 << 40, (1 << 64) - 1, -(1 << 63), 1.5, "", "tcp", "udp", "x"),
    *(
        "127.0.0.1",
        "::1",
        "/",
        "..",
        "\0",
        "é" * 300,
        b"x",
        [1],
        ["x"] * 3,
        {"a": 1},
        Extension(-1, bytes(8)),
        Extension(5, bytes(300)),
        Int64(7),
    ),
]
_PATHS = [
    *("file", "directory", "fifo", "null", "link", "way/secret", "way/new", "../out/new", "../out/secret", "new"),
    *("directory/../file", "nowhere/x", "directory/", ".", "..", "", "x" * 300, "\udcff", "a\0b", "directory/n"),
]


def parsers(directory: Path) -> list[Parser]:
    """The parsers of this module."""
    sessions = _Sessions(directory / "connect")
    return [
        Parser("connect-frames", _make_frames, _receive),
        Parser("connect-message", _make_message, _decode, (ValueError,)),
        Parser("connect-sessions", sessions.make, sessions.play),
    ]


def _message(rng: random.Random) -> Message:
    props = {rng.choice(_NAMES): _value(rng) for _ in range(rng.randrange(4))}
    body = rng.choice((None, b"", b"x" * 10, pack({rng.choice(_NAMES): _value(rng) for _ in range(4)}), bytes(5000)))
    return Message(rng.choice(_PROTOCOLS), rng.choice(_TYPES), rng.choice("abcdef"), props, body)


def _value(rng: random.Random) -> Any:
    return rng.choice(_VALUES)


def _make_message(rng: random.Random) -> bytes:
    data = encode(_message(rng))
    return mutate_bytes(rng, data, _ODD) if rng.randrange(4) else data


def _decode(data: bytes) -> str:
    encode(decode(data))
    return "accepted"


def _frame(code: int, data: bytes, *, is_last: bool = True) -> bytes:
    size = len(data)
    head = (
        struct.pack(">BB", code | is_last << 7, size)
        if size < 126
        else struct.pack(">BBH", code | is_last << 7, 126, size)
    )
    return head + data


def _make_frames(rng: random.Random) -> bytes:
    """The bytes that a server sends over the websocket: valid frames, and anything else."""
    data = bytearray()
    for _ in range(rng.randrange(1, 6)):
        match rng.randrange(6):
            case 0:
                data += _frame(rng.choice((9, 10)), bytes(rng.randrange(126)))
            case 1:
                data += _frame(1, "é".encode() * rng.randrange(50), is_last=rng.random() < 0.8)
            case 2:
                data += rng.choice(_ODD_FRAMES)
            case 3 if rng.randrange(4) == 0:
                data += struct.pack(">BBQ", 0x82, 0x7F, MOST_MESSAGE_BYTES + rng.randrange(-1, 3))
                data += bytes(MOST_MESSAGE_BYTES + 1)
            case _:
                data += _frame(rng.choice((0, 2, 2)), _make_message(rng)[:60000], is_last=rng.random() < 0.7)
    return mutate_bytes(rng, bytes(data), _ODD_FRAMES) if rng.randrange(3) else bytes(data)


def _receive(data: bytes) -> str:
    """Feed some bytes to a websocket; at most one message may be in memory."""
    loop, received, closed = Loop(), list[bytes](), list[str]()
    ours, theirs = socket.socketpair()
    try:
        theirs.setblocking(False)
        websocket = WebSocket(loop, theirs, b"", received.append, lambda: None, closed.append)
        for start in range(0, len(data), 65536):
            if websocket.is_open:
                ours.sendall(data[start : start + 65536])
                loop.run_for(0.0, lambda: False)
            ours.setblocking(False)
            while _has_answer(ours):
                pass
            ours.setblocking(True)
        is_open = websocket.is_open
        websocket.close()
    finally:
        ours.close()
        theirs.close()
        loop.close()
    if any(len(one) > MOST_MESSAGE_BYTES for one in received):
        raise AssertionError("a message is too long")
    if is_open == bool(closed):
        raise AssertionError("it must be told once that the connection is lost")
    return "open" if is_open else "closed"


def _has_answer(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(65536))
    except (BlockingIOError, ConnectionError):
        return False


class _Sessions:
    """Sends messages to a device in memory, which may access files only below one directory.

    Args:
        directory: the directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._inside, self._outside = directory / "in", directory / "out"

    def _lay_out(self) -> None:
        if self._directory.exists():
            return
        self._inside.mkdir(parents=True)
        self._outside.mkdir()
        (self._outside / "secret").write_text("secret")
        (self._inside / "file").write_bytes(bytes(50000))
        (self._inside / "directory").mkdir()
        os.mkfifo(self._inside / "fifo")
        (self._inside / "null").symlink_to("/dev/null")
        (self._inside / "link").symlink_to("../out/secret")
        (self._inside / "way").symlink_to("../out")

    def make(self, rng: random.Random) -> list[Message | float]:
        """Make a conversation: messages, and periods of time that pass."""
        said: list[Message | float] = []
        for _ in range(rng.randrange(1, 60)):
            match rng.randrange(10):
                case 0:
                    said.append(rng.choice((0.0, 1.0, 13.0, 70.0, 700.0)))
                case 1 | 2:
                    said.append(self._file_request(rng))
                case 3:
                    said.append(Message(Protocol.FILES, "file_chunk", rng.choice("abc"), {"offset": 0}, b"x" * 100))
                case 4:
                    body = {"remote_host": "h", "remote_port": 80, "protocol": rng.choice(("tcp", "udp"))}
                    said.append(Message(Protocol.PORTS, "new", rng.choice("abc"), {"connection_id": "c"}, pack(body)))
                case 5:
                    body_bytes = bytes(rng.choice((0, 1, 100, 500_000)))
                    said.append(
                        Message(Protocol.PORTS, "forward", rng.choice("abc"), {"connection_id": "c"}, body_bytes)
                    )
                case _:
                    said.append(_message(rng))
        return said

    def _file_request(self, rng: random.Random) -> Message:
        name = rng.choice(_PATHS)
        body = {"path": f"{self._inside}/{name}", "mode": rng.choice((None, 0o4777, -1, 1 << 63, 0o600))}
        body["src_path"] = rng.choice((None, rng.choice(_PATHS), "/a/n"))
        typ = rng.choice(("stat", "get_file", "put_file"))
        props = {"user_id": _value(rng), "more": _value(rng)}
        return Message(
            Protocol.FILES, typ, rng.choice("abc"), props, pack({k: v for k, v in body.items() if v is not None})
        )

    def play(self, said: list[Message | float]) -> str:
        """Play the conversation; nothing may be left behind, and nothing outside of the directory may change."""
        self._lay_out()
        descriptors = len(os.listdir("/proc/self/fd"))
        limits = {"Chroot": str(self._inside), "AllowOverwrite": True, "FollowSymLinks": True}
        world = World(Limits={"Enabled": True, "FileTransfer": limits})
        for one in said:
            if isinstance(one, float):
                world.timers.advance(one)
            else:
                world.receive(one)
            self._check(world)
        answers = {decode(encode(message)).typ for message in world.taken()}
        world.sessions.close()
        world.terminals.end_all("the test ends")
        if (left := len(os.listdir("/proc/self/fd"))) != descriptors:
            raise AssertionError(f"{left - descriptors} descriptors are left")
        names = {path.name for path in self._inside.iterdir()} | {
            path.name for path in (self._inside / "directory").iterdir()
        }
        if parts := {name for name in names if "." in name}:
            raise AssertionError(f"parts are left: {parts}")
        if [("secret", "secret")] != [(path.name, path.read_text()) for path in self._outside.iterdir()]:
            raise AssertionError("something outside has changed")
        return "errors only" if answers <= {"error"} else "answers"

    def _check(self, world: World) -> None:
        use = world.port_use
        if len(world.terminals) > MOST_SHELLS or use.connections > MOST_CONNECTIONS_OF_ALL:
            raise AssertionError("too many shells or connections")
        if not 0 <= use.waiting_bytes <= MOST_WAITING_BYTES_OF_ALL:
            raise AssertionError(f"{use.waiting_bytes} bytes wait")
