"""A session of a user with a device, which carries a terminal, a file transfer or forwarded ports."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from mender_client.core.wire.deviceconnect import Message, Protocol, ShellStatus, encode

MOST_QUEUED = 25
"""The maximum number of messages queued for a user, and for a device; any more are dropped."""
MOST_OUTPUT_BYTES = 8 * 1024 * 1024
"""The maximum number of bytes that a terminal may print in one session."""


class UserSession:
    """One session. It may be used only in the server's thread.

    Args:
        device_id: the device.
        post: sends a message to the device.

    Attributes:
        id: the session id that is sent to the device.
        dropped: the number of the device's messages that were dropped because the queue was full.
    """

    def __init__(self, device_id: str, post: Callable[[Message], None]) -> None:
        self.id = str(uuid.uuid4())
        self.device_id = device_id
        self.dropped = 0
        self._post = post
        self._received: asyncio.Queue[tuple[Message, bytes]] = asyncio.Queue(MOST_QUEUED)
        self._output_bytes = 0
        self._has_terminal = False
        self._is_answer_last = False

    def send(self, message: Message) -> None:
        """Send a message to the device."""
        if message.proto == Protocol.SHELL and message.typ in ("new", "stop"):
            self._has_terminal = message.typ == "new"
        self._post(Message(message.proto, message.typ, self.id, message.props, message.body))

    async def receive(self) -> tuple[Message, bytes]:
        """The next message of the device, and its bytes."""
        return await self._received.get()

    def take_waiting(self) -> tuple[Message, bytes] | None:
        """The next message, if one has already arrived."""
        return None if self._received.empty() else self._received.get_nowait()

    def take(self, message: Message, data: bytes) -> None:
        """Queue a message of the device; as on the real server, it is dropped if the queue is full."""
        is_shell = message.proto == Protocol.SHELL
        self._is_answer_last = is_shell and message.typ == "new"
        if is_shell and message.typ == "shell" and self._is_over_limit(len(message.body or b"")):
            return
        try:
            self._received.put_nowait((message, data))
        except asyncio.QueueFull:
            self.dropped += 1

    def _is_over_limit(self, size: int) -> bool:
        was_over = self._output_bytes > MOST_OUTPUT_BYTES
        self._output_bytes += size
        is_over = self._output_bytes > MOST_OUTPUT_BYTES
        if is_over and not was_over:
            self._stop("session byte limit exceeded")
        return is_over

    def lose_device(self) -> None:
        """Tell the user that the device is gone; the real server does so only right after the answer to ``new``."""
        if self._is_answer_last:
            stop = Message(Protocol.SHELL, "stop", self.id, {"status": int(ShellStatus.ERROR)}, b"device disconnected")
            self.take(stop, encode(stop))

    def end(self) -> None:
        """Stop the terminal, if any, of a user who has disconnected."""
        if self._has_terminal:
            self._stop("user disconnected")

    def _stop(self, reason: str) -> None:
        self.send(Message(Protocol.SHELL, "stop", "", {"status": int(ShellStatus.ERROR)}, reason.encode()))
