"""Sessions of users with devices: what the server adds, drops and limits, and how it reports a lost peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from devserver.caller import Gadget
from mender_client.core.wire.deviceconnect import CONNECT_PATH, Message, Protocol, decode, encode
from mender_client.core.wire.msgpack import pack
from mender_devserver import DevServer
from mender_devserver.remote import DEVICES, RemoteSession
from mender_devserver.usersession import MOST_OUTPUT_BYTES, MOST_QUEUED, UserSession
from waiting import PATIENCE_S

SHELL, CONTROL = Protocol.SHELL, Protocol.CONTROL
Websocket = aiohttp.ClientWebSocketResponse[bool]


class Device:
    """The messages from the server to a device in memory, and a session with it."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.session = UserSession("id", self.got.append)

    def say(self, typ: str, body: bytes = b"", proto: int = SHELL) -> None:
        """Send a message in the session."""
        message = Message(proto, typ, self.session.id, {"status": 1}, body)
        self.session.take(message, encode(message))

    def heard(self) -> list[Message]:
        """The messages that the user gets."""
        found = []
        while (one := self.session.take_waiting()) is not None:
            found.append(one[0])
        return found


def test_queue() -> None:
    """Up to 25 messages are queued for a user; further ones are dropped, whatever they are."""
    device = Device()
    for number in range(MOST_QUEUED + 3):
        device.say("shell", b"%d" % number)
    device.say("stop")
    assert [b"%d" % number for number in range(25)] == [one.body for one in device.heard()]
    assert 4 == device.session.dropped


def test_limit() -> None:
    """After 8 MiB of a terminal's output the device is notified once, and the user gets no more."""
    device = Device()
    piece = bytes(1 << 20)
    for _ in range(8):
        device.say("shell", piece)
    assert MOST_OUTPUT_BYTES == sum(len(one.body or b"") for one in device.heard())
    assert [] == device.got
    for _ in range(2):
        device.say("shell", b"x")
    assert [] == device.heard()
    (stop,) = device.got
    assert ("stop", device.session.id, {"status": 2}, b"session byte limit exceeded") == (
        stop.typ,
        stop.sid,
        stop.props,
        stop.body,
    )


@pytest.mark.parametrize(
    ("said", "stops"), [(["new"], [b"user disconnected"]), (["new", "stop"], []), (["resize"], []), ([], [])]
)
def test_user_gone(said: list[str], stops: list[bytes]) -> None:
    """A device is notified of a user who has disconnected without stopping the terminal."""
    device = Device()
    for typ in said:
        device.session.send(Message(SHELL, typ))
    device.got.clear()
    device.session.end()
    assert stops == [one.body for one in device.got]


@pytest.mark.parametrize(("said", "told"), [(["new"], [b"device disconnected"]), (["new", "shell"], []), ([], [])])
def test_device_gone(said: list[str], told: list[bytes]) -> None:
    """A user is notified of a device that disconnects right after its answer to ``new``, and otherwise of nothing."""
    device = Device()
    for typ in said:
        device.say(typ)
    device.heard()
    device.session.lose_device()
    assert told == [one.body for one in device.heard()]


@asynccontextmanager
async def connecting(server: DevServer, gadget: Gadget) -> AsyncIterator[tuple[aiohttp.ClientSession, Websocket]]:
    """A connected device, disconnected at the end."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            server.url + CONNECT_PATH, headers={"Authorization": f"Bearer {gadget.token}"}, autoping=False
        ) as device,
    ):
        await asyncio.to_thread(server.wait_until, lambda: server.devices()[0].is_connected)
        yield http, device


async def closed_with(websocket: Websocket) -> tuple[int | None, str]:
    """The code and the reason with which a connection was closed."""
    message = await websocket.receive(PATIENCE_S)
    assert aiohttp.WSMsgType.CLOSE == message.type
    return message.data, message.extra or ""


def test_names(server: DevServer, gadget: Gadget) -> None:
    """The server adds session and user, and forwards the device's messages to the user byte for byte."""

    async def play() -> None:
        async with connecting(server, gadget) as (_, device):
            user = await RemoteSession.open(server.contact, server.devices()[0].id)
            for _ in range(2):
                await user.send(Message(SHELL, "new", "mine", {"user_id": "somebody", "terminal_width": 80}))
            first, second = [decode(await device.receive_bytes(timeout=PATIENCE_S)) for _ in range(2)]
            assert first == second
            assert "mine" != first.sid
            assert 80 == first.props["terminal_width"]
            assert "somebody" != first.props["user_id"]
            await device.send_bytes(encode(Message(SHELL, "shell", "another session", {}, b"x")))
            await device.send_bytes(encode(Message(0x7777, "strange", first.sid, {"a": "b"}, b"y")))
            assert Message(0x7777, "strange", first.sid, {"a": "b"}, b"y") == await user.receive()
            await user.close()
            stop = decode(await device.receive_bytes(timeout=PATIENCE_S))
            assert ("stop", first.sid, b"user disconnected") == (stop.typ, stop.sid, stop.body)

    asyncio.run(play())


def test_garbage_of_a_user(server: DevServer, gadget: Gadget) -> None:
    """A malformed message closes the connection of the user who sent it, and the device sees nothing."""

    async def play() -> None:
        async with connecting(server, gadget) as (http, device):
            address = f"{server.url}{DEVICES}/{server.devices()[0].id}/connect"
            for is_text in (False, True):
                headers = {"Authorization": f"Bearer {server.contact.token}"}
                async with http.ws_connect(address, headers=headers) as user:
                    await (user.send_str("hello") if is_text else user.send_bytes(b"\xc1"))
                    code, reason = await closed_with(user)
                    assert (1011, "msgpack: ") == (code, reason[:9])
            user_session = await RemoteSession.open(server.contact, server.devices()[0].id)
            await user_session.send(Message(CONTROL, "ping"))
            assert "ping" == decode(await device.receive_bytes(timeout=PATIENCE_S)).typ
            await user_session.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xc1", "msgpack: "),
        ("hello", "msgpack: "),
        (encode(Message(SHELL, "shell")), "api: message missing required session ID"),
    ],
)
def test_garbage_of_a_device(server: DevServer, gadget: Gadget, data: bytes | str, reason: str) -> None:
    """A malformed message, and a terminal message without a session, close the connection of the device."""

    async def play() -> None:
        async with connecting(server, gadget) as (_, device):
            await (device.send_str(data) if isinstance(data, str) else device.send_bytes(data))
            code, said = await closed_with(device)
            assert (1011, reason) == (code, said[: len(reason)])

    asyncio.run(play())


@pytest.mark.parametrize("protocols", [5, "no list", {"2": 2}, None])
def test_strange_protocols(server: DevServer, gadget: Gadget, protocols: object) -> None:
    """A device whose answer to ``open`` has no valid list of protocols accepts no files, and its user is told that."""

    async def play() -> None:
        async with connecting(server, gadget) as (http, device):
            address = f"{server.url}{DEVICES}/{server.devices()[0].id}/download?path=/f"
            headers = {"Authorization": f"Bearer {server.contact.token}"}
            asking = asyncio.create_task(http.get(address, headers=headers))
            opening = decode(await device.receive_bytes(timeout=PATIENCE_S))
            body = pack({"version": 1, "protocols": protocols})
            await device.send_bytes(encode(Message(CONTROL, "accept", opening.sid, {}, body)))
            async with await asking as response:
                assert (502, "internal error") == (response.status, (await response.json())["error"])

    asyncio.run(play())


def test_second_connection(server: DevServer, gadget: Gadget) -> None:
    """A second connection of a device closes the first one, and the device stays connected."""

    async def play() -> None:
        async with connecting(server, gadget) as (_, first), connecting(server, gadget) as (_, second):
            assert (1011, "connection closed by the server") == await closed_with(first)
            user = await RemoteSession.open(server.contact, server.devices()[0].id)
            await user.send(Message(CONTROL, "ping"))
            assert "ping" == decode(await second.receive_bytes(timeout=PATIENCE_S)).typ
            await user.close()

    asyncio.run(play())


@pytest.mark.nightly
def test_silent_device(server: DevServer, gadget: Gadget) -> None:
    """A device is pinged after 54 s; one that has pinged by itself and is then silent for 60 s is disconnected."""

    async def play() -> None:
        async with connecting(server, gadget) as (_, device):
            await device.ping(b"60")
            kinds = []
            while (message := await device.receive(PATIENCE_S)).type is not aiohttp.WSMsgType.CLOSE:
                kinds.append((message.type, bytes(message.data)))
            assert [(aiohttp.WSMsgType.PONG, b"60"), (aiohttp.WSMsgType.PING, b"60")] == kinds
            assert (1011, "read tcp: i/o timeout") == (message.data, message.extra)

    asyncio.run(play())
