"""``mender-devserver port-forward``: forward local ports to ports that a device can reach.

All connections share one session. In each direction of a connection, only one message is in flight; the next one is
sent after its acknowledgement.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, decode_body, text_of
from mender_client.core.wire.msgpack import pack
from mender_client.errors import ConfigError, NetworkError
from mender_devserver.contact import Contact
from mender_devserver.reasons import reason_of
from mender_devserver.remote import RemoteSession

_PIECE_BYTES = 4096
"""The maximum number of bytes in a message; some devices don't accept larger messages."""
_MOST_UNREAD = 4
"""The maximum number of unread messages: a device sends one before it waits, followed at most by an end."""
_MOST_SENDERS = 64
"""The number of connections that a device accepts in one session."""
_MOST_WAITING = 64
"""The number of datagrams that are queued until an acknowledgement arrives; any more are dropped."""
Read = Callable[[], Awaitable[bytes | None]]
Write = Callable[[bytes], Awaitable[None]]

_SILENT_SECONDS = 60.0
"""A connection is closed when the device acknowledges nothing for this long."""
_DATAGRAM_IDLE_SECONDS = 120.0
_FORWARD = re.compile(r"(?:(tcp|udp)/)?(\d{1,5}):(?:(\[[^]]+\]|[^:]+):)?(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Forward:
    """One port forwarding.

    Args:
        protocol: ``tcp`` or ``udp``.
        local_port: the local port; 0 for a free one.
        host: the target host, as resolved by the device.
        port: the target port.
    """

    protocol: str
    local_port: int
    host: str
    port: int


def parse_forward(text: str) -> Forward:
    """Parse ``[udp/]LOCAL:[HOST:]PORT``.

    Raises:
        ConfigError: the text has another form.
    """
    match = _FORWARD.fullmatch(text)
    if match is None or int(match[2]) > 65535 or not 0 < int(match[4]) <= 65535:
        raise ConfigError([f"cannot read '{text}': write it as [udp/]LOCAL_PORT:[HOST:]PORT, for example 8080:80"])
    return Forward(match[1] or "tcp", int(match[2]), (match[3] or "127.0.0.1").strip("[]"), int(match[4]))


def run_forwards(contact: Contact, device_id: str, texts: list[str], bind: str) -> None:
    """Forward ports until SIGINT or SIGTERM.

    Raises:
        ConfigError: one of the texts can't be parsed.
        ServerError: the device isn't connected.
        NetworkError: a local port is not available, or the connection to the server is lost.
    """
    forwards = [parse_forward(one) for one in texts]
    asyncio.run(_run(contact, device_id, forwards, bind))


async def _run(contact: Contact, device_id: str, forwards: list[Forward], bind: str) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    session = await RemoteSession.open(contact, device_id)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    hub = Hub(session, bind)
    try:
        for one in forwards:
            print(f"{one.protocol}/{await hub.listen(one)} -> {one.host}:{one.port}", flush=True)
        works = [asyncio.create_task(hub.run()), asyncio.create_task(stopped.wait())]
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for work in works:
            work.cancel()
        if works[0] in done:
            await works[0]
    finally:
        await hub.close()
        await session.close()


class Link:
    """A forwarded connection, or the datagrams of one sender.

    Args:
        forward: the forwarding that it belongs to.
    """

    def __init__(self, forward: Forward) -> None:
        self.id = str(uuid.uuid4())
        self.forward = forward
        self.is_open = False
        self.acknowledged = asyncio.Event()
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()

    def take(self, data: bytes | None) -> None:
        """Queue data of the device; None ends the link, as does a device that doesn't wait for acknowledgements."""
        self._received.put_nowait(data if self._received.qsize() < _MOST_UNREAD else None)

    async def receive(self) -> bytes | None:
        """The next data from the device; None at the end."""
        return await self._received.get()


class Hub:
    """The local ports, and the connections forwarded over a session.

    Args:
        session: the session, which the caller closes.
        bind: the local address to listen on.
    """

    def __init__(self, session: RemoteSession, bind: str) -> None:
        self._session = session
        self._bind = bind
        self._links: dict[str, Link] = {}
        self._listeners: list[asyncio.Server | asyncio.DatagramTransport] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, forward: Forward) -> int:
        """Listen on the local port of a forwarding, and return the port.

        Raises:
            NetworkError: the port is not available.
        """
        address = (self._bind, forward.local_port)
        try:
            if forward.protocol == "tcp":

                def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                    self._start(self._connection(forward, reader, writer))

                server = await asyncio.start_server(accept, *address)
                self._listeners.append(server)
                return int(server.sockets[0].getsockname()[1])
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: _Senders(self, forward), local_addr=address)
            self._listeners.append(transport)
            return int(transport.get_extra_info("sockname")[1])
        except (OSError, UnicodeError) as error:  # the latter: a name of no host
            where = f"{forward.protocol}/{self._bind}:{forward.local_port}"
            raise NetworkError(f"cannot listen on {where}: {reason_of(error)}; choose another port") from error

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Process the messages of the device.

        Raises:
            NetworkError: the connection to the server is lost.
        """
        while (message := await self._session.receive()) is not None:
            if message.proto == Protocol.CONTROL and message.typ == "ping":
                await self._session.send(Message(Protocol.CONTROL, "pong"))
            elif message.proto == Protocol.PORTS or (message.proto == Protocol.CONTROL and message.typ == "error"):
                self._take(message)
        raise NetworkError("cannot continue: the connection to the dev server is lost; is it still running?")

    def _take(self, message: Message) -> None:
        link = self._links.get(text_of(message.props, "connection_id"))
        if link is None and message.typ == "error":  # mender-connect doesn't say which, but it is a new one
            link = next((one for one in self._links.values() if not one.is_open), None)
        if link is None:
            return
        if message.typ == "new":
            link.is_open = True
        elif message.typ == "forward":
            link.take(message.body or b"")
        elif message.typ == "ack":
            link.acknowledged.set()
        elif message.typ == "error":
            self._complain(link, message)
            link.take(None)
        elif message.typ == "stop":
            link.take(None)

    @staticmethod
    def _complain(link: Link, message: Message) -> None:
        try:
            reason = printable(text_of(decode_body(message), "err"))
        except ValueError:
            reason = "the device gave no reason"
        if "no handler registered" in reason:
            reason = "it allows none: PortForward.Disable in its mender-connect.conf"
        where = f"{link.forward.host}:{link.forward.port}"
        print(f"mender-devserver: cannot connect to {where} from the device: {reason}", file=sys.stderr, flush=True)

    async def _say(self, link: Link, typ: str, body: bytes | None = None) -> None:
        await self._session.send(Message(Protocol.PORTS, typ, "", {"connection_id": link.id}, body))

    async def _connection(self, forward: Forward, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def read() -> bytes | None:
            return await reader.read(_PIECE_BYTES) or None

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            await self.join(forward, read, write)
        finally:
            writer.close()

    def sender(self, forward: Forward, read: Read, write: Write, end: Callable[[], None]) -> None:
        """Forward the datagrams of one sender until it has sent none for a while.

        Args:
            forward: the forwarding.
            read: returns the next datagram, None at the end.
            write: sends a datagram to the sender.
            end: called at the end.
        """

        async def run() -> None:
            try:
                await self.join(forward, read, write)
            finally:
                end()

        self._start(run())

    async def join(self, forward: Forward, read: Read, write: Write) -> None:
        """Forward in both directions until one of them ends.

        Args:
            forward: the forwarding.
            read: returns the next data to send, None at the end.
            write: called with the data received.
        """
        link = Link(forward)
        self._links[link.id] = link
        works: list[asyncio.Task[None]] = []
        try:
            target = {"remote_host": forward.host, "remote_port": forward.port, "protocol": forward.protocol}
            await self._say(link, "new", pack(target))
            works = [asyncio.create_task(self._send(link, read)), asyncio.create_task(self._receive(link, write))]
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            if not works[1].done():
                await self._say(link, "stop")
        except NetworkError:
            pass  # run() reports it
        finally:
            del self._links[link.id]
            for one in works:
                one.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _send(self, link: Link, read: Read) -> None:
        with suppress(ConnectionError, asyncio.TimeoutError):
            while (data := await read()) is not None:
                link.acknowledged.clear()
                await self._say(link, "forward", data)
                await asyncio.wait_for(link.acknowledged.wait(), _SILENT_SECONDS)

    async def _receive(self, link: Link, write: Write) -> None:
        with suppress(ConnectionError):
            while (data := await link.receive()) is not None:
                await write(data)
                await self._say(link, "ack")

    async def close(self) -> None:
        """Close all connections, and stop listening."""
        for one in self._listeners:
            one.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(NetworkError):
            await self._session.send(Message(Protocol.CONTROL, "close"))


class _Senders(asyncio.DatagramProtocol):
    """Distinguishes the senders of datagrams to a local port.

    Args:
        hub: forwards the datagrams.
        forward: the forwarding.
    """

    def __init__(self, hub: Hub, forward: Forward) -> None:
        self._hub = hub
        self._forward = forward
        self._waiting: dict[Any, asyncio.Queue[bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # sendto of asyncio doesn't send empty datagrams
        self._socket: socket.socket = transport.get_extra_info("socket").dup()

    def connection_lost(self, _: Exception | None) -> None:
        self._socket.close()

    def datagram_received(self, data: bytes, address: Any) -> None:
        waiting = self._waiting.get(address)
        if waiting is None and len(self._waiting) < _MOST_SENDERS:
            waiting = self._waiting[address] = asyncio.Queue(_MOST_WAITING)
            self._begin(address, waiting)
        if waiting is not None and not waiting.full():
            waiting.put_nowait(data)

    def _begin(self, address: Any, waiting: asyncio.Queue[bytes]) -> None:
        async def read() -> bytes | None:
            try:
                return await asyncio.wait_for(waiting.get(), _DATAGRAM_IDLE_SECONDS)
            except asyncio.TimeoutError:
                return None

        async def write(data: bytes) -> None:
            with suppress(OSError):  # datagrams may be lost
                self._socket.sendto(data, address)

        self._hub.sender(self._forward, read, write, lambda: self._forget(address))

    def _forget(self, address: Any) -> None:
        del self._waiting[address]
