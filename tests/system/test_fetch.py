"""Downloads over scripted sockets: streamed bodies and limited redirects."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable

import pytest

from mender_client.core.wire.messages import Request
from mender_client.errors import Interrupted, NetworkError
from mender_client.system.exchange import HttpBody
from mender_client.system.http import MAXIMUM_REDIRECTS

from .conftest import MakeTransport
from .rawserver import RawServer, Script, answer, drip, keep_alive, raw, reset, silent
from .test_http import INTERRUPTED_SOON_S, when_waiting


def read_all(body: HttpBody, *, piece: int = 4) -> bytes:
    """Read a body to its end, with a small buffer."""
    data = bytearray()
    buffer = memoryview(bytearray(piece))
    try:
        while count := body.readinto(buffer):
            data += buffer[:count]
    finally:
        body.close()
    return bytes(data)


def test_download(make_transport: MakeTransport) -> None:
    """A download returns status, headers and bytes; its request has the given Range, no compression and no token."""
    with RawServer(raw(answer(b"the bytes", 'ETag: "a"', status=206))) as server:
        body = make_transport().open(f"{server.url}/a?query", {"Range": "bytes=5-"})
        assert (206, '"a"', b"the bytes") == (body.status, body.headers["etag"], read_all(body))
    lines = server.requests[0].decode().split("\r\n")
    assert "GET /a?query HTTP/1.1" == lines[0]
    assert {"Range: bytes=5-", "Accept-Encoding: identity", "User-Agent: a-test/1"} <= set(lines)
    assert not [line for line in lines if line.lower().startswith("authorization")]


def test_download_in_the_log(make_transport: MakeTransport, caplog: pytest.LogCaptureFixture) -> None:
    """At debug level, two lines are logged for a download: after the head of the response and at its end."""
    caplog.set_level(logging.DEBUG, "mender_client")
    with RawServer(raw(answer(b"the bytes", status=206))) as server:
        read_all(make_transport().open(f"{server.url}/a?query", {}))
    head, end = [record.message for record in caplog.records]
    assert re.fullmatch(rf"GET {server.url}/a: 206 in \d+\.\d\d\d s", head)
    assert re.fullmatch(rf"GET {server.url}/a: 9 bytes in \d+\.\d\d\d s", end)


INTERIM = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"


def test_interim_answers(make_transport: MakeTransport) -> None:
    """An interim response (100, 102, 103) is never taken for the final one, for requests and downloads."""
    with RawServer(keep_alive(INTERIM + answer(b"x", status=201))) as server:
        transport = make_transport()
        for _ in range(2):
            reply = transport.send(Request("GET", server.url))
            assert (201, b"x") == (reply.status, reply.body)
        assert b"x" == read_all(transport.open(server.url, {}))


@pytest.mark.parametrize("piece", [1, 3, 100_000])
def test_any_buffer(make_transport: MakeTransport, piece: int) -> None:
    """The bytes are the same whatever the size of the buffer, and reading after the end returns nothing."""
    content = bytes(range(256)) * 4
    with RawServer(raw(answer(content))) as server:
        body = make_transport().open(server.url, {})
        assert content == read_all(body, piece=piece)
        assert 0 == body.readinto(memoryview(bytearray(4)))


def test_chunked_download(make_transport: MakeTransport) -> None:
    """The chunks of a chunked download are joined."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    with RawServer(raw(data)) as server:
        assert b"abcdefg" == read_all(make_transport().open(server.url, {}))


def test_packed_download_stays_packed(make_transport: MakeTransport) -> None:
    """A body with a Content-Encoding, which wasn't requested, is not decompressed."""
    with RawServer(raw(answer(b"\x1f\x8bpacked", "Content-Encoding: gzip"))) as server:
        assert b"\x1f\x8bpacked" == read_all(make_transport().open(server.url, {}))


def test_requests_after_a_download(make_transport: MakeTransport) -> None:
    """Requests and further downloads work after a download."""
    with RawServer(keep_alive(answer(b"x"))) as server:
        transport = make_transport()
        for _ in range(3):
            assert b"x" == read_all(transport.open(server.url, {}))
            assert b"x" == transport.send(Request("GET", server.url)).body


def test_download_over_a_stale_connection(make_transport: MakeTransport) -> None:
    """If the server has closed the kept connection in the meantime, a download uses a new one."""
    with RawServer(raw(answer(b"x"))) as server:
        transport = make_transport()
        for _ in range(2):
            assert b"x" == transport.send(Request("GET", server.url)).body
            assert b"x" == read_all(transport.open(server.url, {}))


@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["reset", "closed"])
def test_download_over_a_connection_that_dies(
    make_transport: MakeTransport, end: Callable[[socket.socket], None]
) -> None:
    """If the server ends the kept connection when it is asked for a download, the download uses a new connection."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(answer(b"x"))
        server.read_request(connection)
        end(connection)

    with RawServer(script) as server:
        transport = make_transport()
        transport.send(Request("GET", f"{server.url}/api"))
        assert [b"x"] * 2 == [read_all(transport.open(f"{server.url}/artifact", {})) for _ in range(2)]
        asked = [request.split()[1] for request in server.requests]
    assert ([b"/api", *[b"/artifact"] * 4], 3) == (asked, server.connections)


def test_closed_early(make_transport: MakeTransport) -> None:
    """Closing a download early doesn't wait for the rest, and the next download uses a new connection."""

    def script(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabcdef")

    with RawServer(script) as server:
        transport = make_transport()
        for _ in range(2):
            body = transport.open(server.url, {})
            assert 4 == body.readinto(memoryview(bytearray(4)))
            body.close()
        assert 2 == server.connections


def failure(make: MakeTransport, script: Script, **limits: float) -> str:
    """The text of the NetworkError with which a download from this server ends, in its head or its body."""
    with RawServer(script) as server, pytest.raises(NetworkError) as caught:
        read_all(make(**limits).open(f"{server.url}/?secret", {}))
    text = str(caught.value)
    assert text.startswith((f"cannot reach {server.url}: ", f"cannot complete the request to {server.url}: "))
    assert "secret" not in text
    return caught.value.text.partition(f"{server.url}: ")[2]


def _reset_in_body(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcd")
    time.sleep(0.1)
    reset(connection)


def test_broken_off(make_transport: MakeTransport) -> None:
    """A connection that is reset during the body causes a NetworkError."""
    assert "the connection was reset" == failure(make_transport, _reset_in_body)


def test_truncated(make_transport: MakeTransport) -> None:
    """A body that is shorter than its Content-Length is never accepted as complete."""
    script = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdef")
    assert "the answer is incomplete" == failure(make_transport, script)


def test_truncated_chunks(make_transport: MakeTransport) -> None:
    """A chunked body that ends within a chunk is never accepted as complete."""
    script = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n9\r\nab")
    assert "incomplete" in failure(make_transport, script)


@pytest.mark.parametrize(
    "script",
    [silent, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcd", b"", seconds=9)],
    ids=["before its header", "in its body"],
)
def test_stalled(make_transport: MakeTransport, script: Script) -> None:
    """A download that receives nothing for the idle time limit ends with a NetworkError."""
    assert "it did not answer in time" == failure(make_transport, script, idle=0.3)


@pytest.mark.parametrize(
    "script",
    [drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"), drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["drips its header", "continues for ever"],
)
def test_header_within_the_total_time(make_transport: MakeTransport, script: Script) -> None:
    """The total time limit applies to the head of a download's response, however steadily its bytes arrive."""
    assert "it did not answer in time" == failure(make_transport, script, idle=0.5, total=0.6)


def test_body_may_take_longer_than_the_total_time(make_transport: MakeTransport) -> None:
    """The total time limit doesn't apply to a body that makes progress, so that slow downloads can succeed."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(total / 5)
            connection.sendall(b"x")

    for total in (0.4, 4.0, 40.0):  # the longer limits are for a machine that is too busy for the shortest
        with RawServer(script) as server:
            try:
                body = make_transport(total=total).open(server.url, {})
            except NetworkError:
                continue
            assert b"x" * 8 == read_all(body, piece=1)
            return
    raise AssertionError("no header within 40 s")


def test_stopped_download(make_transport: MakeTransport) -> None:
    """A stop ends a download that is waiting for data."""
    transport = make_transport()
    with RawServer(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcd", b"", seconds=9)) as server:
        body = transport.open(server.url, {})
        began = time.monotonic()
        with when_waiting(server, transport.stop), pytest.raises((NetworkError, Interrupted)):
            read_all(body)
        assert time.monotonic() - began < INTERRUPTED_SOON_S
        body.close()


# -- redirects ---------------------------------------------------------------------------------------------


def redirect(location: str, status: int = 302) -> Script:
    """A server that answers every request with a redirect."""
    return keep_alive(answer(b"elsewhere", f"Location: {location}", status=status))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(make_transport: MakeTransport, status: int) -> None:
    """A redirect to another server is followed, with the Range header of the request."""
    with RawServer(raw(answer(b"there"))) as there, RawServer(redirect(there.url + "/b?c", status)) as server:
        assert b"there" == read_all(make_transport().open(server.url, {"Range": "bytes=5-"}))
    assert there.requests[0].startswith(b"GET /b?c HTTP/1.1\r\n")
    assert b"Range: bytes=5-\r\n" in there.requests[0]


@pytest.mark.parametrize(
    ("location", "path"), [("/b", "/b"), ("b?c", "/x/b?c"), ("../b", "/b"), ("//127.0.0.1:{port}/b", "/b")]
)
def test_relative_redirect(make_transport: MakeTransport, location: str, path: str) -> None:
    """A relative redirect is resolved against the URL of the request."""

    def script(server: RawServer, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            is_first = request.startswith(b"GET /x/a ")
            there = location.replace("{port}", str(server.port))
            connection.sendall(answer(b"", f"Location: {there}", status=302) if is_first else answer(b"there"))

    with RawServer(script) as server:
        assert b"there" == read_all(make_transport().open(f"{server.url}/x/a", {}))
    assert server.requests[-1].startswith(f"GET {path} HTTP/1.1\r\n".encode())


def test_redirects_in_a_circle(make_transport: MakeTransport) -> None:
    """A redirect loop ends with an error after the maximum number of redirects."""
    with RawServer(redirect("/again?secret")) as server:
        with pytest.raises(NetworkError) as caught:
            make_transport().open(f"{server.url}/?secret", {})
        assert f"cannot fetch from {server.url}: more than {MAXIMUM_REDIRECTS} redirects" == caught.value.text
        assert MAXIMUM_REDIRECTS + 1 == len(server.requests)


FORBIDDEN = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/a",
    "gopher://127.0.0.1/",
    "data:,secret",
    "http://user:secret@127.0.0.1/",
    "http://127.0.0.1:99999/",
    "http://[::1/secret",
    "http://127.0.0.1/a b",
    "http://h\u00f6st/",
]


@pytest.mark.parametrize("location", FORBIDDEN)
def test_redirects_that_are_not_followed(make_transport: MakeTransport, location: str) -> None:
    """A redirect to anything but a plain http or https URL is refused, and the error doesn't contain its secrets."""
    with RawServer(redirect(location)) as server, pytest.raises(NetworkError) as caught:
        make_transport().open(f"{server.url}/?secret", {})
    assert str(caught.value).startswith(f"cannot follow the redirect of {server.url}: ")
    assert "secret" not in str(caught.value)


def test_redirect_without_a_target(make_transport: MakeTransport) -> None:
    """A redirect without a Location header is refused."""
    with RawServer(keep_alive(answer(b"", status=302))) as server, pytest.raises(NetworkError) as caught:
        make_transport().open(server.url, {})
    assert f"cannot follow the redirect of {server.url}: it names no address" == caught.value.text


@pytest.mark.parametrize("status", [300, 304, 305])
def test_what_is_no_redirect(make_transport: MakeTransport, status: int) -> None:
    """Other statuses from 300 on (300, 304, 305) are returned and not followed, even with a Location header."""
    data = f"HTTP/1.1 {status} Whatever\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode()
    with RawServer(keep_alive(data)) as server:
        body = make_transport().open(server.url, {})
        assert (status, b"", 1) == (body.status, read_all(body), len(server.requests))


MOVED = b"the object has moved"


def mixed(server: RawServer, connection: socket.socket) -> None:
    """A server of both the device API and the Artifacts, whose response depends on the path."""
    while request := server.read_request(connection):
        path = request.split(b" ")[1]
        if path == b"/moved":
            connection.sendall(answer(MOVED, "Location: /artifact", status=302))
        elif path == b"/chunks":
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        else:
            connection.sendall(
                answer(b"gone" if path == b"/gone" else b"z" * 50_000, status=404 if path == b"/gone" else 200)
            )


@pytest.mark.parametrize("path", ["artifact", "moved", "chunks"])
def test_download_over_the_connection_of_the_api(make_transport: MakeTransport, path: str) -> None:
    """A download from the server of the device API uses the connection of the requests and leaves it open."""
    with RawServer(mixed) as server:
        transport = make_transport()
        for _ in range(3):
            transport.send(Request("GET", f"{server.url}/api"))
            assert read_all(transport.open(f"{server.url}/{path}", {}), piece=4096)
            body = transport.open(f"{server.url}/gone", {})  # its body is not read
            assert 404 == body.status
            body.close()
        transport.send(Request("GET", f"{server.url}/api"))
        assert 1 == server.connections


def test_connection_of_the_api_beside_a_download(make_transport: MakeTransport) -> None:
    """A download from another server leaves the connection to the API open, and its own is not kept."""
    with RawServer(mixed) as server, RawServer(mixed) as storage:
        transport = make_transport()
        for _ in range(3):
            transport.send(Request("GET", f"{server.url}/api"))
            read_all(transport.open(f"{storage.url}/artifact", {}), piece=4096)
        assert [1, 3] == [server.connections, storage.connections]


def test_unread_download(make_transport: MakeTransport) -> None:
    """The connection of an abandoned download is closed, and the rest of it is never taken for a response."""
    with RawServer(mixed) as server:
        transport = make_transport()
        transport.send(Request("GET", f"{server.url}/api"))
        body = transport.open(f"{server.url}/artifact", {})
        assert body.readinto(memoryview(bytearray(10)))
        body.close()
        assert b"z" * 50_000 == transport.send(Request("GET", f"{server.url}/api")).body
        assert 2 == server.connections


def test_cut_download(make_transport: MakeTransport) -> None:
    """The connection of a download that was cut off is not used again."""

    def script(server: RawServer, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            whole = answer(b"some bytes")
            connection.sendall(whole if b"/api" in request else whole[:-3])
            if b"/api" not in request:
                return

    with RawServer(script) as server:
        transport = make_transport()
        transport.send(Request("GET", f"{server.url}/api"))
        with pytest.raises(NetworkError):
            read_all(transport.open(f"{server.url}/artifact", {}))
        assert b"some bytes" == transport.send(Request("GET", f"{server.url}/api")).body
        assert 2 == server.connections
