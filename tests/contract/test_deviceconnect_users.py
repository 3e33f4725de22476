"""Users' WebSockets over device connect: recorded sessions, in which the test acts as users and device.

The recording doesn't include the server's pings and time limits, which take too long to replay, sessions that were only
partly recorded, and sessions that depend on how fast a user or device reads.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devserver.caller import Gadget, calling
from mender_client.core.wire.deviceconnect import CONNECT_PATH, Message, Protocol, decode, encode
from mender_client.core.wire.msgpack import pack, unpack
from mender_devserver import DevServer
from mender_devserver.remote import DEVICES
from waiting import PATIENCE_S

Websocket = aiohttp.ClientWebSocketResponse[bool]


def sessions() -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each session, in order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for text in Path(__file__).with_name("deviceconnect-users.jsonl").read_text("utf-8").splitlines():
        line = json.loads(text)
        found[line["s"]].append(line)
    return dict(found)


SESSIONS = sessions()


def bytes_of(line: dict[str, Any]) -> bytes:
    """Return what was sent; large contents, which weren't recorded, are zeros."""
    if "raw" in line:
        return base64.b64decode(line["raw"])
    if "raw_head" not in line:
        body = pack(line["body_msgpack"]) if "body_msgpack" in line else None
        return encode(Message(line["proto"], line["typ"], line["sid"], line.get("props", {}), body))
    head = base64.b64decode(line["raw_head"])
    size: int = line["body_len"]
    return head[: head.index(b"\xa4body") + 5] + b"\xc6" + size.to_bytes(4, "big") + bytes(size)


def shown(data: bytes) -> list[Any]:
    """Return a message in the form to compare, without values chosen by each server."""
    message = decode(data)
    body: Any = message.body
    if body and message.proto != Protocol.SHELL:
        try:
            value = unpack(body)
        except ValueError:
            value = None
        body = {name: one for name, one in value.items() if name != "modtime"} if isinstance(value, dict) else body
    if isinstance(body, bytes):
        body = len(body) if len(body) > 300 else body.decode("latin-1")
    return [message.proto, message.typ, _without_user(message.props), body]


def recorded(line: dict[str, Any]) -> list[Any]:
    """Return a recorded message in the same form."""
    body = line.get("body_msgpack", line.get("body", line.get("body_len")))
    if "body_b64" in line:
        body = base64.b64decode(line["body_b64"]).decode("latin-1")
    elif isinstance(body, str):
        body = body.encode().decode("latin-1")
    return [line["proto"], line["typ"], _without_user(line.get("props", {})), body]


def _without_user(props: Any) -> dict[str, Any]:
    return {name: value for name, value in props.items() if name != "user_id"}


class Play:
    """The users and the device of one session.

    Args:
        server: the dev server.
        http: the session for connections.
        token: the device's token.
    """

    def __init__(self, server: DevServer, http: aiohttp.ClientSession, token: str) -> None:
        self._server = server
        self._http = http
        self._token = token
        self._device_id = server.devices()[0].id
        self._device: Websocket | None = None
        self._users: dict[int, Websocket] = {}
        self._sids: dict[str, str] = {}
        self._closing: set[int] = set()

    async def run(self, lines: list[dict[str, Any]]) -> None:
        """Replay the session, then check that no further message was sent to the device."""
        await self._connect()
        for number, line in enumerate(lines):
            actor = self._as_device if line["leg"] == "device" else self._as_user
            try:
                await actor(line)
            except asyncio.TimeoutError:
                raise AssertionError(f"line {number}: nothing came: {line}") from None
        if self._device is None:
            await self._connect()
        assert self._device is not None
        user = await self._join()
        await user.send_bytes(encode(Message(Protocol.CONTROL, "ping", "", {}, b"the end")))
        assert b"the end" == decode(await self._device.receive_bytes(timeout=PATIENCE_S)).body

    async def _connect(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        self._device = await self._http.ws_connect(self._server.url + CONNECT_PATH, headers=headers)
        await asyncio.to_thread(self._server.wait_until, lambda: self._server.devices()[0].is_connected)

    async def _join(self) -> Websocket:
        headers = {"Authorization": f"Bearer {self._server.contact.token}"}
        return await self._http.ws_connect(f"{self._server.url}{DEVICES}/{self._device_id}/connect", headers=headers)

    async def _as_device(self, line: dict[str, Any]) -> None:
        if line["op"] == "binary":
            assert self._device is not None
            if line["dir"] == "s>d":
                data = await self._device.receive_bytes(timeout=PATIENCE_S)
                self._sids[line["sid"]] = decode(data).sid
                assert recorded(line) == shown(data)
            else:
                actual = self._sids.get(line["sid"], line["sid"])
                await self._device.send_bytes(bytes_of(line).replace(line["sid"].encode(), actual.encode()))
        elif line["op"] in ("tcp", "close") and self._device is not None:
            await self._device.close()
            self._device = None
            await asyncio.to_thread(self._server.wait_until, lambda: not self._server.devices()[0].is_connected)
        elif line["op"] == "http" and line["dir"] == "s>d" and self._device is None and " 101 " in line["handshake"]:
            await self._connect()

    async def _as_user(self, line: dict[str, Any]) -> None:
        conn, op, is_said = line["conn"], line["op"], line["dir"] == "u>s"
        if conn not in self._users and op != "http":  # the connection is from an earlier session
            self._users[conn] = await self._join()
        if op == "http":
            if not is_said:
                await self._open(conn, line)
        elif op in ("binary", "text") and is_said:
            data = bytes_of(line)
            await (self._users[conn].send_str(data.decode()) if op == "text" else self._users[conn].send_bytes(data))
        elif op == "binary":
            data = await self._users[conn].receive_bytes(timeout=PATIENCE_S)
            sid = self._sids[line["sid"]]
            named = json.loads(json.dumps(line).replace(line["sid"], sid))
            assert [*recorded(named), sid] == [*shown(data), decode(data).sid]
        elif op == "close" and not is_said and conn not in self._closing:
            message = await self._users[conn].receive(PATIENCE_S)
            assert aiohttp.WSMsgType.CLOSE == message.type, message
            said = (message.extra or "")[:9]
            assert (line["code"], line["reason"][:9]) == (message.data, said)
            self._closing.add(conn)
        elif op == "close" and is_said and conn not in self._closing:
            self._closing.add(conn)
            await self._users[conn].close(code=line["code"])
        elif op == "tcp" and conn not in self._closing:
            self._users[conn]._response.close()

    async def _open(self, conn: int, line: dict[str, Any]) -> None:
        status = int(line["handshake"].split()[1])
        if status == 101:
            self._users[conn] = await self._join()
            return
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await self._join()
        assert status == caught.value.status


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server that accepts devices automatically."""
    with DevServer(tmp_path_factory.mktemp("server"), tls=False, auto_accept=True) as running:
        yield running


@pytest.fixture(scope="module")
def token(server: DevServer) -> Iterator[str]:
    """The token of an accepted device."""
    with calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        yield gadget.token


@pytest.mark.parametrize("name", SESSIONS)
def test_recorded_session(server: DevServer, token: str, name: str) -> None:
    """The dev server forwards and adds the same messages, and closes connections in the same way, as the real one."""

    async def play() -> None:
        async with aiohttp.ClientSession() as http:
            await Play(server, http, token).run(SESSIONS[name])

    asyncio.run(play())
