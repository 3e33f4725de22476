"""The device's end of the device connect service: a websocket for each connected device.

A message of a device is passed to the user session that it names. A test can also communicate with a device directly:
messages that belong to no session are then kept for the test.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSMsgType, web

from mender_client.core.wire.deviceconnect import CONNECT_PATH, Message, Protocol, decode, encode
from mender_client.errors import UnauthorizedError
from mender_devserver.state import ServerState
from mender_devserver.usersession import MOST_QUEUED, UserSession

MOST_MESSAGE_BYTES = 8 * 1024 * 1024
PING_SECONDS = 54.0
"""The device is pinged this long after the last message sent to it."""
DEADLINE_SECONDS = 60.0
"""A device that has sent a ping or pong is disconnected if it sends no other one for this long; data doesn't count."""
_ERROR = 1011
"""The code with which the real server closes a connection after an error, and the old connection of a device that
connects again."""


class ConnectedDevice:
    """A device that is connected. Its methods can be called from any thread.

    Args:
        device_id: its id.
        websocket: the connection.
        loop: the event loop of the server.
        take: called with each message and its bytes.
    """

    def __init__(
        self,
        device_id: str,
        websocket: web.WebSocketResponse,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[ConnectedDevice, Message, bytes], None],
    ) -> None:
        self.device_id = device_id
        self.pings = 0
        self.pongs = 0
        self.dropped = 0
        self.is_connected = True
        self._websocket = websocket
        self._loop = loop
        self._take = take
        self._received: queue.Queue[Message | None] = queue.Queue()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MOST_QUEUED)
        self._written_at = loop.time()
        self._deadline: float | None = None

    def send(self, message: Message) -> None:
        """Send a message to the device."""
        self.send_bytes(encode(message))

    def send_bytes(self, data: bytes) -> None:
        """Send arbitrary bytes as a message."""
        asyncio.run_coroutine_threadsafe(self._websocket.send_bytes(data), self._loop).result()

    def ping(self) -> None:
        """Send a ping."""
        asyncio.run_coroutine_threadsafe(self._websocket.ping(b"60"), self._loop).result()

    def receive(self, timeout_seconds: float = 60.0) -> Message:
        """The next message of the device.

        Raises:
            TimeoutError: no message has arrived in time.
            ConnectionError: the device is no longer connected.
        """
        try:
            message = self._received.get(timeout=timeout_seconds)
        except queue.Empty:
            raise TimeoutError(f"no message in {timeout_seconds:g} s") from None
        if message is None:
            self._received.put(None)
            raise ConnectionError("the device has disconnected")
        return message

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection with a close frame, as a server does on a regular shutdown."""
        closing = self._websocket.close(code=code, message=reason.encode())
        asyncio.run_coroutine_threadsafe(closing, self._loop).result()

    def cut(self) -> None:
        """Abort the connection without a close frame."""
        self._loop.call_soon_threadsafe(self._abort)

    def post_from_any_thread(self, data: bytes) -> None:
        """Queue a message, as ``post`` does in the server's thread."""
        with suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self.post, data)

    # in the server's thread

    def post(self, data: bytes) -> None:
        """Queue a user's message for the device; as on the real server, it is dropped if the queue is full."""
        try:
            self._outgoing.put_nowait(data)
        except asyncio.QueueFull:
            self.dropped += 1

    def keep(self, message: Message) -> None:
        """Keep a message for ``receive``."""
        self._received.put(message)

    async def replace(self) -> None:
        """Close the connection because the device has opened another one."""
        if self.is_connected:
            await self._websocket.close(code=_ERROR, message=b"connection closed by the server")

    async def listen(self) -> None:
        """Receive messages until the device disconnects."""
        helpers = [asyncio.create_task(self._write()), asyncio.create_task(self._keep_alive())]
        try:
            async for item in self._websocket:
                if item.type is WSMsgType.BINARY:
                    await self._take_message(item.data)
                elif item.type is WSMsgType.TEXT:
                    await self._refuse("msgpack: a text is not a message")
                elif item.type is WSMsgType.PING:
                    self.pings += 1
                    self._deadline = self._loop.time() + DEADLINE_SECONDS
                    await self._websocket.pong(item.data)
                elif item.type is WSMsgType.PONG:
                    self.pongs += 1
                    self._deadline = self._loop.time() + DEADLINE_SECONDS
        finally:
            self.is_connected = False
            self._received.put(None)
            for one in helpers:
                one.cancel()

    async def _take_message(self, data: bytes) -> None:
        try:
            message = decode(data)
        except ValueError as error:
            return await self._refuse(f"msgpack: {error}")
        if message.proto == Protocol.SHELL and not message.sid:
            return await self._refuse("api: message missing required session ID")
        self._take(self, message, data)
        await asyncio.sleep(0)  # many messages may arrive at once and would fill a queue before it is read
        return None

    async def _refuse(self, reason: str) -> None:
        await self._websocket.close(code=_ERROR, message=reason.encode()[:120])

    async def _write(self) -> None:
        with suppress(ConnectionError):
            while True:
                data = await self._outgoing.get()
                self._written_at = self._loop.time()
                await self._websocket.send_bytes(data)

    async def _keep_alive(self) -> None:
        with suppress(ConnectionError):
            while True:
                now = self._loop.time()
                if self._deadline is not None and now >= self._deadline:
                    return await self._refuse("read tcp: i/o timeout")
                if now >= self._written_at + PING_SECONDS:
                    self._written_at = now
                    await self._websocket.ping(b"60")
                next_at = min(self._written_at + PING_SECONDS, self._deadline or now + PING_SECONDS)
                await asyncio.sleep(max(next_at - now, 0.1))

    def _abort(self) -> None:
        request = self._websocket._req
        if request is not None and request.transport is not None:
            request.transport.abort()


class ConnectedDevices:
    """The devices that are connected, and the sessions of users with devices.

    Args:
        state: the server's state.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._devices: dict[str, ConnectedDevice] = {}
        self._sessions: dict[tuple[str, str], UserSession] = {}
        self._changed = threading.Condition()
        self._is_awaited = False

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer the handshake, and serve the connection until it ends."""
        try:
            with self._state.lock:
                device_id = self._state.devices.authenticate(raw.headers.get("Authorization", "")).id
        except UnauthorizedError as error:
            if not error.text:
                return web.Response(status=401)
            headers = {"WWW-Authenticate": 'Bearer realm="DeviceJWT"'}
            return web.json_response({"error": error.text}, status=401, headers=headers)
        websocket = web.WebSocketResponse(autoping=False, max_msg_size=MOST_MESSAGE_BYTES, compress=False)
        if not websocket.can_prepare(raw):
            return web.json_response({"error": "the client is not using the websocket protocol"}, status=400)
        await websocket.prepare(raw)
        device = ConnectedDevice(device_id, websocket, asyncio.get_running_loop(), self._take)
        with self._changed:
            earlier = self._devices.get(device_id)
            self._devices[device_id] = device
            self._changed.notify_all()
        self._note(device_id, is_connected=True)
        try:
            if earlier is not None:
                await earlier.replace()
            await device.listen()
        finally:
            self._forget(device)
        return websocket

    def _forget(self, device: ConnectedDevice) -> None:
        with self._changed:
            if self._devices.get(device.device_id) is not device:
                return  # the device has opened another connection
            del self._devices[device.device_id]
        self._note(device.device_id, is_connected=False)
        for session in list(self._sessions.values()):
            if session.device_id == device.device_id:
                session.lose_device()

    def _note(self, device_id: str, *, is_connected: bool) -> None:
        with self._state.lock:
            self._state.devices.set_connected(device_id, is_connected)

    def _take(self, device: ConnectedDevice, message: Message, data: bytes) -> None:
        session = self._sessions.get((device.device_id, message.sid))
        if session is not None:
            session.take(message, data)
        elif self._is_awaited:
            device.keep(message)

    # for users, in the server's thread

    def get(self, device_id: str) -> ConnectedDevice | None:
        """The connection of a device; None if it isn't connected."""
        device = self._devices.get(device_id)
        return device if device is not None and device.is_connected else None

    def post(self, device_id: str, message: Message) -> None:
        """Send a message to a device, if it is connected."""
        if (device := self.get(device_id)) is not None:
            device.post(encode(message))

    def open_session(self, device_id: str) -> UserSession:
        """Open a session of a user with a device."""
        session = UserSession(device_id, lambda message: self.post(device_id, message))
        self._sessions[device_id, session.id] = session
        return session

    def close_session(self, session: UserSession) -> None:
        """Close a session."""
        del self._sessions[session.device_id, session.id]
        session.end()

    # from any thread

    def wake(self, device_id: str) -> None:
        """Tell a connected device to poll; the real server does so after each configuration deployment."""
        device = self.get(device_id)
        if device is not None:
            device.post_from_any_thread(encode(Message(Protocol.CLIENT, "check-update")))

    def wait(
        self, device_id: str = "", *, after: ConnectedDevice | None = None, seconds: float = 120.0
    ) -> ConnectedDevice:
        """Wait for the connection of a device, and return it.

        Args:
            device_id: the device id; empty for any device.
            after: a connection to ignore, in order to wait for a newer one.
            seconds: how long to wait.

        Raises:
            TimeoutError: the device hasn't connected in time.
        """

        def found() -> ConnectedDevice | None:
            for one in self._devices.values():
                if one.is_connected and one is not after and device_id in ("", one.device_id):
                    return one
            return None

        self._is_awaited = True
        with self._changed:
            device = self._changed.wait_for(found, seconds)
        if device is None:
            raise TimeoutError("the device has not connected")
        return device


__all__ = ["CONNECT_PATH", "ConnectedDevice", "ConnectedDevices"]
