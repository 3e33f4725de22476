"""A user's session with a device over the server's websocket, for the command line, tests and benchmarks.

``RemoteSession`` is asynchronous, ``BlockingSession`` synchronous::

    with BlockingSession(load_contact(directory), device_id) as session:
        session.open_terminal()
        session.send(Protocol.SHELL, "shell", b"date\\r")
        print(session.receive().body)
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, ShellStatus, decode, encode
from mender_client.errors import NetworkError, ServerError
from mender_devserver.contact import Contact

DEVICES = "/api/management/v1/deviceconnect/devices"
MOST_MESSAGE_BYTES = 8 * 1024 * 1024
T = TypeVar("T")


class RemoteSession:
    """An open session. Only one task may receive at a time.

    Args:
        http: the HTTP session, which is closed with this session.
        websocket: the connection.
    """

    def __init__(self, http: aiohttp.ClientSession, websocket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._http = http
        self._websocket = websocket

    @classmethod
    async def open(cls, contact: Contact, device_id: str) -> RemoteSession:
        """Open a session.

        Args:
            contact: the server.
            device_id: the device; can be shortened.

        Raises:
            NetworkError: there is no reply.
            ServerError: 404: the device is unknown, or not connected.
        """
        check_connected(contact, device_id)
        http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {contact.token}"})
        try:
            websocket = await http.ws_connect(
                f"{contact.url}{DEVICES}/{quote(device_id)}/connect",
                ssl=contact.context() or True,
                max_msg_size=MOST_MESSAGE_BYTES,
            )
        except (aiohttp.ClientError, OSError) as error:
            await http.close()
            raise NetworkError(f"cannot reach device {device_id} through {contact.url}: {error}; try again") from error
        return cls(http, websocket)

    async def send(self, message: Message) -> None:
        """Send a message; the server adds the session and the user.

        Raises:
            NetworkError: the connection is closed.
        """
        try:
            await self._websocket.send_bytes(encode(message))
        except ConnectionError as error:
            raise NetworkError("cannot continue: the connection to the dev server is lost") from error

    async def receive(self) -> Message | None:
        """The next message of the device; None if the connection is closed."""
        while True:
            item = await self._websocket.receive()
            if item.type is aiohttp.WSMsgType.BINARY:
                return decode(item.data)
            if item.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return None

    async def close(self) -> None:
        """Close the connection: the server stops a terminal that is still open."""
        socket = self._websocket.get_extra_info("socket")
        await self._websocket.close()
        await self._http.close()
        while socket is not None and socket.fileno() >= 0:  # the TLS shutdown takes a moment
            await asyncio.sleep(0.01)


def check_connected(contact: Contact, device_id: str) -> None:
    """Make sure that a device can be reached.

    Raises:
        NetworkError: there is no reply.
        ServerError: 404: the device is unknown, or not connected.
    """
    try:
        status = contact.call("GET", f"/{quote(device_id)}", prefix=DEVICES)["status"]
    except ServerError as error:
        reason = f"{error}; see 'mender-devserver devices'"
        raise ServerError(f"cannot reach device {device_id}: {reason}", status=error.status) from error
    if status != "connected":
        remedy = "run 'mender-python-client connect' on it"
        raise ServerError(f"cannot reach device {device_id}: it is not connected; {remedy}", status=404)


def refused_terminal(device_id: str, answer: Message) -> ServerError:
    """The error for a user whose terminal a device has refused."""
    reason = printable((answer.body or b"").decode("utf-8", "replace")) or "it gave no reason"
    remedy = next((remedy for text, remedy in _REMEDIES.items() if text in reason), "check its log")
    return ServerError(f"cannot open a terminal on device {device_id}: {reason}; {remedy}", status=409)


_REMEDIES = {
    "too many open sessions": "end another one, or raise Sessions.MaxPerUser in its mender-connect.conf",
    "unknown message protocol and type": "it allows none: Terminal.Disable in its mender-connect.conf",
}


class BlockingSession:
    """A synchronous session, usable as a context manager.

    Args:
        contact: the server.
        device_id: the device; can be shortened.

    Raises:
        NetworkError: there is no reply.
        ServerError: 404: the device is unknown, or not connected.
    """

    def __init__(self, contact: Contact, device_id: str) -> None:
        self._device_id = device_id
        self._loop = asyncio.new_event_loop()
        try:
            self._session = self._run(RemoteSession.open(contact, device_id))
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> BlockingSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, proto: int, typ: str, body: bytes | None = None, **props: Any) -> None:
        """Send a message.

        Raises:
            NetworkError: the connection is closed.
        """
        self._run(self._session.send(Message(proto, typ, "", props, body)))

    def receive(self, timeout_seconds: float = 60.0) -> Message:
        """The next message of the device.

        Raises:
            TimeoutError: no message has arrived in time.
            NetworkError: the connection is closed.
        """
        try:
            message = self._run(asyncio.wait_for(self._session.receive(), timeout_seconds))
        except asyncio.TimeoutError:
            raise TimeoutError(f"no message in {timeout_seconds:g} s") from None
        if message is None:
            raise NetworkError("cannot continue: the connection to the dev server is lost")
        return message

    def open_terminal(self, width: int = 80, height: int = 24) -> None:
        """Open a terminal of this size, in columns and rows.

        Raises:
            ServerError: the device refuses it.
        """
        self.send(Protocol.SHELL, "new", terminal_width=width, terminal_height=height)
        answer = self.receive()
        while answer.proto != Protocol.SHELL:
            answer = self.receive()
        if answer.props.get("status") != ShellStatus.NORMAL:
            raise refused_terminal(self._device_id, answer)

    def close(self) -> None:
        """Close the connection: the server stops a terminal that is still open."""
        self._run(self._session.close())
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)
