"""A peer that violates the protocols: the real program replies with errors, in bounded memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import pytest

from connect.conftest import Reach
from connect.user import User, peak_kib
from mender_client.connect.protocol.sessions import MOST_SESSIONS
from mender_client.core.wire.deviceconnect import Message, Protocol, encode
from mender_client.core.wire.msgpack import pack
from mender_devserver.deviceconnect import ConnectedDevice
from program.stage import Device
from waiting import PATIENCE_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")

MOST_GROWN_KIB = 16 * 1024
"""The memory that all of it may take, beyond that of the idle program."""
MIB = 1 << 20


def write(device: ConnectedDevice, data: bytes) -> None:
    """Write bytes, which needn't be valid frames, to a device."""
    request = device._websocket._req
    assert request is not None
    assert request.transport is not None
    device._loop.call_soon_threadsafe(request.transport.write, data)


def frames(code: int, size: int, data: bytes) -> Callable[[ConnectedDevice], None]:
    """A frame header that declares this size, and the bytes after it."""
    return lambda device: write(device, struct.pack(">BBQ", 0x80 | code, 127, size) + data)


BREAKING: dict[str, tuple[Callable[[ConnectedDevice], None], str]] = {
    "a frame of 4 GiB": (frames(2, 1 << 32, bytes(3 * MIB)), "a message of more than 1048576 bytes"),
    "a frame of 2**63 bytes": (frames(2, 1 << 63, bytes(1000)), "the server has violated the protocol: 1002"),
    "a message of 8 MiB": (lambda device: device.send_bytes(bytes(8 * MIB)), "a message of more than 1048576 bytes"),
    "a text of 8 MiB": (frames(1, 8 * MIB, b"x" * 8 * MIB), "a message of more than 1048576 bytes"),
    "a masked frame": (
        lambda device: write(device, b"\x82\x85maskhello"),
        "the server has violated the protocol: 1002",
    ),
    "a long ping": (frames(9, 126, bytes(126)), "the server has violated the protocol: 1002"),
    "a wrong opcode": (frames(3, 1, b"x"), "the server has violated the protocol: 1002"),
    "fragments without end": (
        lambda device: write(device, b"\x02\x20" + bytes(32) + (b"\x00\x20" + bytes(32)) * (MIB // 32)),
        "a message of more than 1048576 bytes",
    ),
}
BOMBS = [
    *(b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * MIB),
    *(b"\xdd\x00\x0f\xff\xff" + b"\xc0" * (MIB - 5), b"\x81\xa3hdr" * 1000, pack({"hdr": {"sid": "s" * 100_000}})),
    encode(Message(Protocol.PORTS, "new", "s", {"connection_id": "c" * 4096}, b"\xdd\xff\xff\xff\xff")),
]
ANSWERED = {
    "an unknown protocol": [Message(proto, "x", "s") for proto in (0, 5, 0x7777, 1 << 40, -1)],
    "sessions without end": [Message(Protocol.CONTROL, "ping", f"s{number}") for number in range(2 * MOST_SESSIONS)],
    "answers to nothing": [Message(Protocol.FILES, "ack", "s", {"offset": 1 << 60})] * 50,
    "properties that can't be": [Message(Protocol.FILES, "stat", "s", {"a": 1.5, "b": (1 << 64) - 1, "c": b"x"}, b"x")],
}


def test_hostile_peer(device: Device, reach: Reach) -> None:
    """Frames of 4 GiB, bombs, unknown protocols and endless sessions cause errors and take little memory."""
    connection = reach().device
    (process,) = device.processes
    before = peak_kib(process)
    for name, (send, reason) in BREAKING.items():
        count = process.text.count(reason)
        send(connection)
        connection = device.server.connected_device(device.id, after=connection)
        assert count < process.text.count(reason), name
    for bomb in BOMBS:
        connection.send_bytes(bomb)
    for messages in ANSWERED.values():
        for message in messages:
            connection.send(message)
    write(connection, b"\x89\x7d" + b"\x89\x7d".join([bytes(125)] * 2000))
    user = User(connection)
    user.sid = "s"
    user.send(Protocol.CONTROL, "close")
    user.sid = ""
    user.send(Protocol.CLIENT, "wat")
    while (answer := connection.receive(PATIENCE_S)).typ != "wat":
        pass
    assert b"unknown message type" == answer.body
    assert len(BOMBS) - 1 == process.text.count("cannot understand a message from the server")
    assert peak_kib(process) - before < MOST_GROWN_KIB
    assert process.is_alive


def test_files_that_are_none(device: Device, reach: Reach) -> None:
    """Links, device files, FIFOs and paths out of Chroot each get an error, and nothing is changed."""
    folder = device.root / "exchange"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "zero", 0o020666, os.makedev(1, 5))
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "way").symlink_to("/etc")
    limits = {"Chroot": str(folder), "AllowOverwrite": True, "FollowSymLinks": True}
    user = reach(Limits={"Enabled": True, "FileTransfer": limits})
    names = ("fifo", "zero", "link", "way/passwd", "../exchange2/x", "../../../../../../../etc/passwd", "", "x" * 5000)
    for typ in ("get_file", "put_file"):
        codes = []
        for name in names:
            user.ask(Protocol.FILES, typ, {"path": f"{folder}/{name}"})
            codes.append(user.error().get("code"))
        regular = 403 if typ == "get_file" else 409
        outside = [403] * 4
        assert [regular, regular, *outside, 409 if typ == "put_file" else 403, 400] == codes
    assert ["fifo", "link", "way", "zero"] == sorted(path.name for path in folder.iterdir())
