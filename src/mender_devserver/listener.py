"""Reads requests from sockets and sends the replies, with injected faults.

All bodies of these replies pass through ``Sender``, which counts the bytes and can cut, stall or slow the stream. The
rules of the device API are in modules that don't use aiohttp.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from email.utils import format_datetime
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from aiohttp import web

from mender_devserver.activity import Exchange
from mender_devserver.faults import Fault
from mender_devserver.messages import BODY_LIMIT_BYTES, FileSlice, Reply, Request, error_reply
from mender_devserver.state import ServerState

CHUNK_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PLAIN = Fault()


class Connections:
    """Numbers connections in the order of their first request."""

    def __init__(self) -> None:
        self._numbers: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        self._next = itertools.count(1)

    def number(self, transport: asyncio.BaseTransport | None) -> int:
        """The number of this connection; 0 if it is already closed."""
        if transport is None:
            return 0
        if transport not in self._numbers:
            self._numbers[transport] = next(self._next)
        return self._numbers[transport]


class RequestHandler:
    """Answers the requests of one listener.

    Args:
        state: the server's state.
        connections: the numbering of connections, shared by all listeners.
        kind_of: returns the kind of request for a path.
        answer: returns the reply to a request.
        device_of: returns the id of the device that sent a request.
    """

    def __init__(
        self,
        state: ServerState,
        connections: Connections,
        *,
        kind_of: Callable[[str], str],
        answer: Callable[[Request], Reply],
        device_of: Callable[[Request], str],
    ) -> None:
        self._state = state
        self._connections = connections
        self._kind_of = kind_of
        self._answer = answer
        self._device_of = device_of

    async def __call__(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = raw.raw_path.partition("?")
        headers = {name.lower(): value.strip(" \t") for name, value in raw.headers.items()}
        with self._state.lock:
            exchange = self._open(raw, unquote(path), headers)
            fault = self._state.faults.take(exchange.kind) or _PLAIN
            exchange.fault = fault is not _PLAIN
        body = await read_body(raw, BODY_LIMIT_BYTES)
        await asyncio.sleep(fault.delay_seconds)
        request = Request(raw.method, unquote(path), query, headers, body or b"")
        with self._state.lock:
            exchange.bytes_received = len(request.body)
            exchange.device_id = self._device_of(request)
            reply = error_reply(413, "http: request body too large") if body is None else self._reply(request, fault)
            date = format_datetime(self._state.now(), usegmt=True)
        reply = Reply(reply.status, reply.body, {**reply.headers, "Date": date})
        return await self._send(raw, reply, exchange, fault)

    def _open(self, raw: web.BaseRequest, path: str, headers: dict[str, str]) -> Exchange:
        number = self._connections.number(raw.transport)
        return self._state.activity.open(number, raw.method, path, self._kind_of(path), headers)

    def _reply(self, request: Request, fault: Fault) -> Reply:
        if fault.status is not None:
            return spoil(Reply(fault.status), fault)
        if fault.expired:
            return self._state.storage.expired(request)
        if fault.ignore_range:
            headers = {name: value for name, value in request.headers.items() if name != "range"}
            request = Request(request.method, request.path, request.query, headers, request.body)
        return spoil(self._answer(request), fault)

    async def _send(self, raw: web.BaseRequest, reply: Reply, exchange: Exchange, fault: Fault) -> web.StreamResponse:
        download, is_part = isinstance(reply.body, FileSlice), False
        if isinstance(reply.body, FileSlice):
            with self._state.lock:
                self._state.deployments.note_download(reply.body.start, exchange)
            if not (is_part := _is_further_part(exchange, reply.body)):
                self._tell("download", exchange, reply)
        try:
            return await Sender(raw, exchange, fault).send(reply)
        finally:
            if download and not is_part:
                self._tell("download-end", exchange, reply)

    def _tell(self, name: str, exchange: Exchange, reply: Reply) -> None:
        start = reply.body.start if isinstance(reply.body, FileSlice) else 0
        with self._state.lock:
            self._state.activity.emit(
                name,
                device_id=exchange.device_id,
                path=exchange.path,
                first_byte=start,
                bytes_sent=exchange.bytes_sent,
                bytes_promised=reply.length,
            )


def _is_further_part(exchange: Exchange, part: FileSlice) -> bool:
    """Whether a request is one of the many of an adaptive download, which would fill the timeline."""
    return part.start > 0 and exchange.headers.get("range", "-")[-1:].isdigit()


async def read_body(raw: web.BaseRequest, limit_bytes: int) -> bytes | None:
    """The body of a request, or ``None`` if it is longer than the limit."""
    body = bytearray()
    async for chunk in raw.content.iter_any():
        body += chunk
        if len(body) > limit_bytes:
            return None
    return bytes(body)


def spoil(reply: Reply, fault: Fault) -> Reply:
    """Apply a fault to a reply before it is sent."""
    changed = dict(fault.headers)
    if fault.etag is not None:
        changed["Etag"] = fault.etag
    if fault.content_range is not None and reply.status == 206:
        changed["Content-Range"] = fault.content_range
    replaced = {name.lower() for name in changed}
    headers = {name: value for name, value in reply.headers.items() if name.lower() not in replaced}
    body, status = fault.body_bytes, reply.status
    if body is not None and status == 204 and fault.status is None:
        status = 200
    return Reply(status, reply.body if body is None else body, {**headers, **changed})


class Sender:
    """Sends one reply, with an injected fault.

    Args:
        raw: the request.
        exchange: where the bytes are counted before they are sent, so that the count is never behind the client.
        fault: the fault to apply.
    """

    def __init__(self, raw: web.BaseRequest, exchange: Exchange, fault: Fault) -> None:
        self._raw = raw
        self._exchange = exchange
        self._fault = fault

    async def send(self, reply: Reply) -> web.StreamResponse:
        """Send the reply, as far as the fault allows."""
        response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
        fault = self._fault
        if fault.drop_after_bytes == 0 or (fault.reset and fault.drop_after_bytes is None):
            self._cut()
            return response
        self._exchange.status = reply.status
        if reply.status not in (204, 304):
            response.content_length = reply.length
        if reply.status == 413:
            response.force_close()
        try:
            await response.prepare(self._raw)
            if self._raw.method != "HEAD":
                await self._send_body(response, reply)
        except ConnectionError:
            pass  # the client closed the connection
        return response

    async def _send_body(self, response: web.StreamResponse, reply: Reply) -> None:
        rate = self._fault.bytes_per_second
        async for piece in self._pieces(reply):
            self._exchange.bytes_sent += len(piece)
            await response.write(piece)
            if rate:
                await asyncio.sleep(len(piece) / rate)

    async def _pieces(self, reply: Reply) -> AsyncIterator[bytes]:
        """The body, split so that a piece ends exactly where the fault applies."""
        fault = self._fault
        piece_bytes = CHUNK_BYTES
        if fault.bytes_per_second:
            piece_bytes = max(1, min(CHUNK_BYTES, int(fault.bytes_per_second / 10)))
        stops = {fault.drop_after_bytes, fault.stall_after_bytes} - {None}
        sent = 0
        if sent == fault.stall_after_bytes:
            await self._stall()
        for piece in read_pieces(reply.body, piece_bytes, sorted(stop for stop in stops if stop)):
            yield piece
            sent += len(piece)
            if sent == fault.stall_after_bytes:
                await self._stall()
            if sent == fault.drop_after_bytes:
                self._cut()
                return

    async def _stall(self) -> None:
        """Send nothing for a while, but stop when the client closes the connection."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._fault.stall_seconds
        while loop.time() < end and self._raw.transport is not None and not self._raw.transport.is_closing():
            await asyncio.sleep(min(0.05, self._fault.stall_seconds))

    def _cut(self) -> None:
        transport = self._raw.transport
        if transport is None:
            return
        if not self._fault.reset:
            transport.close()
            return
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()


def read_pieces(body: bytes | FileSlice, piece_bytes: int, stops: list[int]) -> Iterator[bytes]:
    """Split a body into pieces of at most ``piece_bytes`` that don't cross a stop.

    Args:
        body: bytes, or a part of a file, which is read in pieces.
        piece_bytes: the maximum length.
        stops: positions in the body, ascending.
    """
    total = body.length if isinstance(body, FileSlice) else len(body)
    sent = 0
    while sent < total:
        stop = next((one for one in stops if one > sent), total)
        size = min(piece_bytes, stop - sent, total - sent)
        if isinstance(body, FileSlice):
            with body.path.open("rb") as file:
                file.seek(body.start + sent)
                piece = file.read(size)
        else:
            piece = body[sent : sent + size]
        if not piece:
            return
        yield piece
        sent += len(piece)
