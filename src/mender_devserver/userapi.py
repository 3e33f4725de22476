"""The user API of the device connect service, under the paths of the real server.

Terminals and port forwarding use messages over a websocket, files are transferred by requests, and a device can be told
to poll. Access is protected in the same way as the management API.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import suppress
from urllib.parse import parse_qs, unquote

from aiohttp import WSMsgType, web

from mender_client.core.wire.deviceconnect import Message, Protocol, decode
from mender_client.errors import ServerError
from mender_devserver.browser import Guard
from mender_devserver.deviceconnect import MOST_MESSAGE_BYTES, PING_SECONDS, ConnectedDevices
from mender_devserver.devices import KnownDevice
from mender_devserver.filetransfer import Download, Upload, read_form
from mender_devserver.messages import Reply, Request, error_reply, json_reply
from mender_devserver.state import ServerState
from mender_devserver.usersession import UserSession
from mender_devserver.views import stamp

PREFIX = "/api/management/v1/deviceconnect/"
SUBPROTOCOL = "mender-devserver"
"""Offered by the page in addition to its token, since a browser requires the server to select a subprotocol."""
_PATH = re.compile(re.escape(PREFIX) + "devices/([^/]+)(?:/([a-z-]+))?")
_METHODS = {
    "": ("GET",),
    "connect": ("GET",),
    "download": ("GET", "HEAD"),
    "upload": ("PUT",),
    "check-update": ("POST",),
    "send-inventory": ("POST",),
}


class UserApi:
    """Answers the requests of users.

    Args:
        state: the server's state.
        connected: the connected devices.
        guard: checks the authorisation of requests.
    """

    def __init__(self, state: ServerState, connected: ConnectedDevices, guard: Guard) -> None:
        self._state = state
        self._connected = connected
        self._guard = guard
        self._user_id = str(uuid.uuid4())

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = raw.raw_path.partition("?")
        headers = {name.lower(): value for name, value in raw.headers.items()}
        try:
            self._guard.check(Request(raw.method, unquote(path), query, headers))
            device, action = self._find(raw.method, unquote(path))
            return await self._answer(raw, device, action, query)
        except ServerError as error:
            return _response(error_reply(error.status, str(error)))

    def _find(self, method: str, path: str) -> tuple[KnownDevice, str]:
        match = _PATH.fullmatch(path)
        methods = _METHODS.get(match[2] or "") if match else None
        if match is None or methods is None:
            raise ServerError("not found", status=404)
        if method not in methods:
            raise ServerError("method not allowed", status=405)
        with self._state.lock:
            try:
                return self._state.devices.get(match[1]), match[2] or ""
            except ServerError as error:
                raise (ServerError("device not found", status=404) if error.status == 404 else error) from error

    async def _answer(self, raw: web.BaseRequest, device: KnownDevice, action: str, query: str) -> web.StreamResponse:
        if not action:
            return _response(json_reply(_presence(device)))
        is_connected = self._connected.get(device.id) is not None
        if action == "connect":
            if not is_connected:
                raise ServerError("device not connected", status=404)
            return await self._connect(raw, device.id)
        if action in ("check-update", "send-inventory"):
            if not is_connected:
                return _response(json_reply({"error": {}}, 409))
            self._connected.post(device.id, Message(Protocol.CLIENT, action, "", {"user_id": self._user_id}))
            return _response(json_reply(None, 202))
        return await self._transfer(raw, device.id, query, is_connected=is_connected)

    async def _connect(self, raw: web.BaseRequest, device_id: str) -> web.StreamResponse:
        """Run a session over a websocket."""
        websocket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), heartbeat=PING_SECONDS, max_msg_size=MOST_MESSAGE_BYTES, compress=False
        )
        if not websocket.can_prepare(raw):
            raise ServerError("the client is not using the websocket protocol", status=400)
        await websocket.prepare(raw)
        session = self._connected.open_session(device_id)
        writer = asyncio.create_task(_write(session, websocket))
        try:
            async for item in websocket:
                if item.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                    continue
                try:
                    message = decode(item.data if item.type is WSMsgType.BINARY else b"")
                except ValueError as error:
                    await websocket.close(code=1011, message=f"msgpack: {error}".encode()[:120])
                    break
                props = {**message.props, "user_id": self._user_id}
                session.send(Message(message.proto, message.typ, "", props, message.body))
                await asyncio.sleep(0)  # as for the messages of a device
        finally:
            writer.cancel()
            self._connected.close_session(session)
        return websocket

    async def _transfer(
        self, raw: web.BaseRequest, device_id: str, query: str, *, is_connected: bool
    ) -> web.StreamResponse:
        form = await read_form(raw) if raw.method == "PUT" else None
        path = form.path if form is not None else parse_qs(query).get("path", [""])[0]
        if not path.startswith("/"):
            raise ServerError(f"bad request: path: {'must be absolute' if path else 'cannot be blank'}.", status=400)
        if not is_connected:
            raise ServerError("device not connected", status=409)
        session = self._connected.open_session(device_id)
        try:
            if form is None:
                return await Download(session, self._user_id).answer(raw, path)
            await Upload(session, self._user_id).run(form)
            return web.Response(status=201)
        finally:
            session.send(Message(Protocol.CONTROL, "close"))
            self._connected.close_session(session)


async def _write(session: UserSession, websocket: web.WebSocketResponse) -> None:
    with suppress(ConnectionError):
        while True:
            _, data = await session.receive()
            await websocket.send_bytes(data)


def _presence(device: KnownDevice) -> dict[str, str]:
    return {
        "device_id": device.id,
        "status": "connected" if device.is_connected else "disconnected",
        "created_ts": stamp(device.created),
        "updated_ts": stamp(device.connection_changed or device.created),
    }


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))
