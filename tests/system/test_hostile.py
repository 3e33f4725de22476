"""Servers that try to stall, exhaust or confuse the client: each attempt ends in bounded time and memory."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import socket
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from mender_client.core.wire.messages import Request
from mender_client.errors import NetworkError

from .conftest import MakeTransport
from .rawserver import RawServer, Script, answer, drip, raw

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LIMITS = {"idle": 0.3, "total": 0.3}
MOST_BYTES = 16 << 20
"""A hundred headers of up to 64 KiB each are allowed, and are copied once or twice."""


def flood(head: bytes, piece: bytes) -> Script:
    """A server that begins a response and then sends the same piece as fast as possible, without end."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(head)
        many = piece * max(1, 65536 // len(piece))
        with contextlib.suppress(OSError):
            while not server.ended.is_set():
                connection.sendall(many)

    return script


def numbered_headers(server: RawServer, connection: socket.socket) -> None:
    """A server that sends an endless number of different headers."""
    server.read_request(connection)
    connection.sendall(OK)
    with contextlib.suppress(OSError):
        for number in itertools.count():
            connection.sendall(f"X-{number}: x\r\n".encode())


REFUSED: dict[str, Script] = {
    "headers without end": numbered_headers,
    "the same header without end": flood(OK, b"A: b\r\n"),
    "a header without end": flood(OK + b"A: ", b"x"),
    "a header that goes on in further lines": flood(OK + b"A: x", b"\r\n x"),
    "a status line without end": flood(b"HTTP/1.1 200 ", b"x"),
    "a status line that drips": drip(b"HTTP/1.1 20", b"0", seconds=0.02),
    "headers that drip": drip(OK + b"A: ", b"x", seconds=0.02),
    "interim answers without end": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers that drip": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", seconds=0.02),
    "no status line": raw(b"what is this\r\n\r\nbody"),
    "HTTP/0.9": raw(b"<html>old</html>\r\n"),
    "a status that is no number": raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a status out of range": raw(b"HTTP/1.1 99999 OK\r\n\r\n"),
    "two lengths": raw(OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
    "a chunk size without end": flood(CHUNKED, b"0"),
    "a chunk size that is no number": raw(CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk size": raw(CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n"),
    "an extension of a chunk without end": flood(CHUNKED + b"1;", b"x"),
    "a chunk that is cut off": raw(CHUNKED + b"ff\r\nabc"),
    "a body that drips": drip(OK + b"Content-Length: 99999\r\n\r\n", b"x", seconds=0.02),
    "chunks that drip": drip(CHUNKED, b"1\r\nx\r\n", seconds=0.02),
    "trailers without end": flood(CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n"),
    "trailers that drip": drip(CHUNKED + b"1\r\nx\r\n0\r\n", b"A: b\r\n", seconds=0.02),
    "a body of the device API without end": flood(OK + b"\r\n", b"x"),
    "chunks without end": flood(CHUNKED, b"1\r\nx\r\n"),
    "a huge length that is kept": flood(OK + b"Content-Length: 9999999999\r\n\r\n", b"x"),
    "a length of five thousand digits": flood(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", b"x"),
}
STREAMED = {"a body that drips", "chunks that drip", "chunks without end"} | {
    name for name in REFUSED if name.startswith(("a body of the device API", "a huge length", "a length of five"))
}
"""The body of a download may be long and slow: minimum speed, disk space and verification limit it elsewhere."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Check that the block needs little memory."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES


def refused(server: RawServer, action: Callable[[], object]) -> None:
    """Check that an action ends with a clear error, and needs little memory."""
    with bounded(), pytest.raises(NetworkError) as caught:
        action()
    text = str(caught.value)
    assert server.url in text
    assert text.isprintable()
    assert len(text) < 400
    assert "secret" not in text


@pytest.mark.parametrize("name", REFUSED)
def test_request(make_transport: MakeTransport, name: str) -> None:
    """A request to the device API with a short time limit ends with an error, whatever the server sends."""
    with RawServer(REFUSED[name]) as server:
        transport = make_transport(**LIMITS)
        refused(server, lambda: transport.send(Request("GET", f"{server.url}/?secret", {})))


@pytest.mark.parametrize("name", sorted(set(REFUSED) - STREAMED))
def test_download(make_transport: MakeTransport, name: str) -> None:
    """A download ends with an error if its response is malformed, or its head or chunk framing is endless."""
    with RawServer(REFUSED[name]) as server:
        transport = make_transport(**LIMITS)

        def fetch() -> None:
            with contextlib.closing(transport.open(f"{server.url}/?secret", {})) as body:
                while body.readinto(memoryview(bytearray(65536))):
                    pass

        refused(server, fetch)


def test_bomb(make_transport: MakeTransport) -> None:
    """A compressed response, which wasn't requested, is not decompressed, whatever its Content-Encoding."""
    bomb = gzip.compress(b"\0" * (10 << 20))
    with RawServer(raw(answer(bomb, "Content-Encoding: gzip"))) as server, bounded():
        assert bomb == make_transport().send(Request("GET", server.url, {})).body
    for coding in ("deflate", "gzip, gzip, gzip", "br", "zstd", "nonsense"):
        with RawServer(raw(answer(bomb, f"Content-Encoding: {coding}"))) as server, bounded():
            assert bomb == make_transport().send(Request("GET", server.url, {})).body


@pytest.mark.parametrize("length", ["-5", "five", ""])
def test_length_that_is_none(make_transport: MakeTransport, length: str) -> None:
    """A Content-Length that is negative or not a number is ignored: the response ends with its connection."""
    with RawServer(raw(OK + f"Content-Length: {length}\r\n\r\nabc".encode())) as server, bounded():
        assert b"abc" == make_transport().send(Request("GET", server.url, {})).body


def test_other_interim_answers(make_transport: MakeTransport) -> None:
    """A request that receives only interim responses, without end, ends with an error."""
    with RawServer(flood(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")) as server:
        transport = make_transport(**LIMITS)
        refused(server, lambda: transport.send(Request("GET", server.url, {})))


def test_smuggled_answer(make_transport: MakeTransport) -> None:
    """Data that follows a response on its connection is never taken for the response to the next request."""
    forged = answer(b"forged", status=200)

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(answer(b"true") + forged)
        server.read_request(connection)
        connection.sendall(answer(b"true"))

    with RawServer(script) as server:
        transport = make_transport()
        for _ in range(2):
            assert b"true" == transport.send(Request("GET", server.url, {})).body
