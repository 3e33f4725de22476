"""The device's end of the device connect service: a websocket for each connected device.

What users do with it is not here: a message to a device is sent, and what the device sends is kept in order.
"""

from __future__ import annotations

import asyncio
import queue
import threading

from aiohttp import WSMsgType, web

from mender_client.core.wire.deviceconnect import CONNECT_PATH, Message, decode, encode
from mender_client.errors import UnauthorizedError
from mender_devserver.state import ServerState

MOST_MESSAGE_BYTES = 8 * 1024 * 1024
_SECOND_CONNECTION = 1011
"""With this the real server closes the first connection of a device that connects a second time."""


class ConnectedDevice:
    """A device that is connected. Its methods can be called from any thread.

    Args:
        device_id: its id.
        websocket: the connection.
        loop: the server's.
    """

    def __init__(self, device_id: str, websocket: web.WebSocketResponse, loop: asyncio.AbstractEventLoop) -> None:
        self.device_id = device_id
        self.pings = 0
        self.pongs = 0
        self.is_connected = True
        self._websocket = websocket
        self._loop = loop
        self._received: queue.Queue[Message | None] = queue.Queue()

    def send(self, message: Message) -> None:
        """Send a message to the device."""
        self.send_bytes(encode(message))

    def send_bytes(self, data: bytes) -> None:
        """Send any bytes as a message."""
        asyncio.run_coroutine_threadsafe(self._websocket.send_bytes(data), self._loop).result()

    def ping(self) -> None:
        """Send a ping."""
        asyncio.run_coroutine_threadsafe(self._websocket.ping(b"60"), self._loop).result()

    def receive(self, timeout_seconds: float = 60.0) -> Message:
        """The next message of the device.

        Raises:
            TimeoutError: none has come.
            ConnectionError: the device isn't connected any more.
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
        """Close the connection as a server does that goes away properly."""
        closing = self._websocket.close(code=code, message=reason.encode())
        asyncio.run_coroutine_threadsafe(closing, self._loop).result()

    def cut(self) -> None:
        """Cut the connection, without a word."""
        self._loop.call_soon_threadsafe(self._abort)

    async def listen(self) -> None:
        """Keep what the device sends until it is gone."""
        try:
            async for item in self._websocket:
                if item.type is WSMsgType.BINARY:
                    try:
                        self._received.put(decode(item.data))
                    except ValueError as error:
                        await self._websocket.close(code=1011, message=f"msgpack: {error}".encode()[:120])
                elif item.type is WSMsgType.PING:
                    self.pings += 1
                    await self._websocket.pong(item.data)
                elif item.type is WSMsgType.PONG:
                    self.pongs += 1
        finally:
            self.is_connected = False
            self._received.put(None)

    def _abort(self) -> None:
        request = self._websocket._req
        if request is not None and request.transport is not None:
            request.transport.abort()


class ConnectedDevices:
    """The devices that are connected.

    Args:
        state: the server's state.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._devices: dict[str, ConnectedDevice] = {}
        self._changed = threading.Condition()

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer the handshake, and keep the connection until its end."""
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
        device = ConnectedDevice(device_id, websocket, asyncio.get_running_loop())
        with self._changed:
            earlier = self._devices.get(device_id)
            self._devices[device_id] = device
            self._changed.notify_all()
        if earlier is not None and earlier.is_connected:
            await earlier._websocket.close(code=_SECOND_CONNECTION, message=b"connection closed by the server")
        await device.listen()
        return websocket

    def wait(
        self, device_id: str = "", *, after: ConnectedDevice | None = None, seconds: float = 120.0
    ) -> ConnectedDevice:
        """The connection of a device, when there is one.

        Args:
            device_id: its id; empty for any device.
            after: another connection than this.
            seconds: how long to wait.

        Raises:
            TimeoutError: it hasn't connected.
        """

        def found() -> ConnectedDevice | None:
            for one in self._devices.values():
                if one.is_connected and one is not after and device_id in ("", one.device_id):
                    return one
            return None

        with self._changed:
            device = self._changed.wait_for(found, seconds)
        if device is None:
            raise TimeoutError("the device has not connected")
        return device


__all__ = ["CONNECT_PATH", "ConnectedDevice", "ConnectedDevices"]
