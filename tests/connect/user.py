"""A user of the server, who talks to a connected device in a session of his own."""

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
    """One session; messages of other sessions are left out.

    Args:
        device: the device.
        user: the id of the user.
    """

    def __init__(self, device: ConnectedDevice, user: str = USER) -> None:
        self.device = device
        self.sid = str(uuid.uuid4())
        self.user = user

    def send(self, proto: int, typ: str, body: bytes | None = None, **props: Any) -> None:
        """Send a message."""
        self.device.send(Message(proto, typ, self.sid, {**props, "user_id": self.user}, body))

    def ask(self, proto: int, typ: str, body: dict[str, Any] | None = None, **props: Any) -> None:
        """Send a message whose body is an object."""
        self.send(proto, typ, None if body is None else pack(body), **props)

    def receive(self, *, ping: bool = False) -> Message:
        """The next message of this session."""
        while True:
            message = self.device.receive(PATIENCE_S)
            if message.sid == self.sid and (ping or (message.proto, message.typ) != (Protocol.CONTROL, "ping")):
                return message

    def error(self) -> dict[str, Any]:
        """The body of the error that is the next message."""
        message = self.receive()
        assert "error" == message.typ
        return decode_body(message)

    # -- terminals --------------------------------------------------------------------------------------------------

    def open_terminal(self, width: int = 80, height: int = 24) -> Message:
        """Open a terminal; returns the answer."""
        self.send(Protocol.SHELL, "new", terminal_width=width, terminal_height=height)
        return self.receive()

    def type(self, text: str) -> None:
        """Type."""
        self.send(Protocol.SHELL, "shell", text.encode())

    def read_until(self, text: str) -> str:
        """The output until a text has come."""
        seen = b""
        end = time.monotonic() + PATIENCE_S
        while text.encode() not in seen:
            assert time.monotonic() < end, seen[-2000:]
            message = self.receive()
            if message.typ == "ping":  # the session is kept alive meanwhile
                continue
            assert "shell" == message.typ, (message, seen[-2000:])
            seen += message.body or b""
        return seen.decode("utf-8", "replace")

    def read_to_stop(self) -> tuple[str, Message]:
        """The output until the device says stop, and that."""
        seen = b""
        while (message := self.receive()).typ != "stop":
            seen += message.body or b""
        return seen.decode("utf-8", "replace"), message


def peak_kib(process: Process) -> int:
    """The most memory that a process has had in use."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
