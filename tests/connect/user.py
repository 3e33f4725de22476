"""A user of the server, who talks to a connected device in one session."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import Any

from mender_client.core.wire.deviceconnect import Message, Protocol, decode_body
from mender_client.core.wire.msgpack import pack
from mender_devserver.deviceconnect import ConnectedDevice
from program.stage import Process
from waiting import PATIENCE_S

USER = "9c8d53db-7e5f-4f04-99e6-4bc99573c282"


class User:
    """A session; messages of other sessions are ignored.

    Args:
        device: the device.
        user: the user id.
        beside: another session on this connection, whose messages are kept for it.
    """

    def __init__(self, device: ConnectedDevice, user: str = USER, *, beside: User | None = None) -> None:
        self.device = device
        self.sid = str(uuid.uuid4())
        self.user = user
        self._kept: dict[str, list[Message]] = {} if beside is None else beside._kept
        self._kept[self.sid] = []

    def send(self, proto: int, typ: str, body: bytes | None = None, **props: Any) -> None:
        """Send a message."""
        self.device.send(Message(proto, typ, self.sid, {**props, "user_id": self.user}, body))

    def ask(self, proto: int, typ: str, body: dict[str, Any] | None = None, **props: Any) -> None:
        """Send a message whose body is an object."""
        self.send(proto, typ, None if body is None else pack(body), **props)

    def receive(self, *, ping: bool = False) -> Message:
        """The next message of the session."""
        while True:
            while not self._kept[self.sid]:
                message = self.device.receive(PATIENCE_S)
                self._kept.get(message.sid, []).append(message)
            message = self._kept[self.sid].pop(0)
            if ping or (message.proto, message.typ) != (Protocol.CONTROL, "ping"):
                return message

    def has_received(self, typ: str) -> bool:
        """Whether a message of this type is kept for this session."""
        return any(message.typ == typ for message in self._kept[self.sid])

    def error(self) -> dict[str, Any]:
        """The body of the next message, which must be an error."""
        message = self.receive()
        assert "error" == message.typ
        return decode_body(message)

    # -- terminals --------------------------------------------------------------------------------------------------

    def open_terminal(self, width: int = 80, height: int = 24) -> Message:
        """Open a terminal; returns the reply."""
        self.send(Protocol.SHELL, "new", terminal_width=width, terminal_height=height)
        return self.receive()

    def type(self, text: str) -> None:
        """Type a text."""
        self.send(Protocol.SHELL, "shell", text.encode())

    def read_until(self, text: str) -> str:
        """The output up to and including this text."""
        seen = b""
        end = time.monotonic() + PATIENCE_S
        while text.encode() not in seen:
            assert time.monotonic() < end, seen[-2000:]
            message = self.receive()
            if message.typ == "ping":  # keeps the session alive
                continue
            assert "shell" == message.typ, (message, seen[-2000:])
            seen += message.body or b""
        return seen.decode("utf-8", "replace")

    def read_to_stop(self) -> tuple[str, Message]:
        """The output up to the device's stop message, and that message."""
        seen = b""
        while (message := self.receive()).typ != "stop":
            seen += message.body or b""
        return seen.decode("utf-8", "replace"), message


def peak_kib(process: Process) -> int:
    """The peak memory use of a process, in KiB."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
