"""Requests of the device API over scripted sockets."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from mender_client.core.wire.messages import MOST_REPLY_BYTES, Request
from mender_client.errors import Interrupted, NetworkError
from waiting import wait_until

from .conftest import MakeTransport
from .rawserver import RawServer, Script, answer, drip, keep_alive, raw, reset, silent


def get(server: RawServer, path: str = "/a?query=secret") -> Request:
    """A request with a token and a query, which must never appear in a message."""
    return Request("GET", server.url + path, {"Authorization": "Bearer secret"})


def put(server: RawServer, body: bytes = b"the body") -> Request:
    """A request with a body."""
    return Request("PUT", server.url + "/b", {"Content-Type": "application/json"}, body)


def refused(make: MakeTransport, script: Script, **limits: float) -> str:
    """The text of the NetworkError that such a server causes."""
    with RawServer(script) as server, pytest.raises(NetworkError) as caught:
        make(**limits).send(get(server))
    text = str(caught.value)
    assert text.startswith(
        tuple(f"cannot {what} {server.url}: " for what in ("reach", "complete the request to", "use the answer of"))
    )
    assert "secret" not in text
    assert text.isprintable()
    return caught.value.text.partition(f"{server.url}: ")[2]


def test_exchange(make_transport: MakeTransport) -> None:
    """A request is sent as given; the reply is returned even if it is an error, with header names in lower case."""
    with RawServer(keep_alive(answer(b"no", "Retry-After: 9", status=429))) as server:
        reply = make_transport().send(put(server))
    assert (429, "9", b"no") == (reply.status, reply.headers["retry-after"], reply.body)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert ("PUT /b HTTP/1.1", b"the body") == (lines[0], body)
    assert {"User-Agent: a-test/1", "Content-Length: 8", "Content-Type: application/json"} <= set(lines)


def test_each_request_in_the_log(make_transport: MakeTransport, caplog: pytest.LogCaptureFixture) -> None:
    """At debug level, each request is logged in one line: method, URL without its query, status, bytes, duration."""
    caplog.set_level(logging.DEBUG, "mender_client")
    with RawServer(keep_alive(answer(b"no", status=429))) as server:
        make_transport().send(get(server))
    (line,) = [record.message for record in caplog.records]
    assert re.fullmatch(rf"GET {server.url}/a: 429, 2 bytes in \d+\.\d\d\d s", line)


def test_failed_request_in_the_log(make_transport: MakeTransport, caplog: pytest.LogCaptureFixture) -> None:
    """A request without a response is logged, too, with the kind of the failure."""
    caplog.set_level(logging.DEBUG, "mender_client")
    with RawServer(raw(b"")) as server, pytest.raises(NetworkError):
        make_transport().send(get(server))
    (line,) = [record.message for record in caplog.records]
    assert re.fullmatch(rf"GET {server.url}/a: failed \([a-z-]+\) in \d+\.\d\d\d s", line)


def test_gzip_is_not_offered(make_transport: MakeTransport) -> None:
    """Requests offer no compression, so that a small response can't expand in memory."""
    with RawServer(keep_alive(answer())) as server:
        make_transport().send(get(server))
    assert b"accept-encoding: identity\r\n" in server.requests[0].lower()
    assert b"gzip" not in server.requests[0]


def test_gzip_is_not_unpacked(make_transport: MakeTransport) -> None:
    """A compressed response, which wasn't requested, is not decompressed."""
    with RawServer(keep_alive(answer(b"\x1f\x8bwhatever", "Content-Encoding: gzip"))) as server:
        assert b"\x1f\x8bwhatever" == make_transport().send(get(server)).body


def test_keep_alive(make_transport: MakeTransport) -> None:
    """One connection serves several requests, and ``rest`` closes it."""
    with RawServer(keep_alive(answer(b"x"))) as server:
        transport = make_transport()
        for _ in range(3):
            transport.send(put(server))
        assert (1, 3) == (server.connections, len(server.requests))
        transport.rest()
        transport.send(get(server))
        assert 2 == server.connections


def test_stale_connection_is_replaced(make_transport: MakeTransport) -> None:
    """A kept connection that the server has closed in the meantime is replaced without an error."""
    with RawServer(raw(answer(b"x"))) as server:
        transport = make_transport()
        for _ in range(3):
            assert b"x" == transport.send(put(server)).body
            time.sleep(0.02)
        assert 3 == server.connections


def test_connection_that_dies_under_the_request_is_replaced(make_transport: MakeTransport) -> None:
    """A kept connection that is reset after the next request was sent over it is replaced, too."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(answer(b"x"))
        server.read_request(connection)
        if server.connections == 1:
            reset(connection)
        else:
            connection.sendall(answer(b"y"))

    with RawServer(script) as server:
        transport = make_transport()
        assert [b"x", b"x"] == [transport.send(get(server)).body for _ in range(2)]
        assert 2 == server.connections


def test_replaced_once(make_transport: MakeTransport) -> None:
    """A request that fails over a kept and then over a new connection is not sent a third time."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        if server.connections == 1:
            connection.sendall(answer(b"x"))
            server.read_request(connection)

    with RawServer(script) as server:
        transport = make_transport()
        transport.send(get(server))
        with pytest.raises(NetworkError, match=r"the connection was reset|the answer is not HTTP, or is incomplete"):
            transport.send(get(server))
        assert 2 == server.connections


def test_first_connection_is_not_retried(make_transport: MakeTransport) -> None:
    """A request that fails over a new connection is not sent again."""
    with RawServer(raw(b"")) as server:
        with pytest.raises(NetworkError):
            make_transport().send(get(server))
        assert 1 == server.connections


def test_chunked(make_transport: MakeTransport) -> None:
    """The chunks of a chunked response are joined, and its connection is reused."""
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n"
    with RawServer(keep_alive(data)) as server:
        transport = make_transport()
        assert [b"abcdefg"] * 2 == [transport.send(get(server)).body for _ in range(2)]
        assert 1 == server.connections


def test_no_length(make_transport: MakeTransport) -> None:
    """A response without a length ends when the connection is closed."""
    with RawServer(raw(b"HTTP/1.0 200 OK\r\n\r\nall of it")) as server:
        assert b"all of it" == make_transport().send(get(server)).body


def test_no_content_keeps_the_connection(make_transport: MakeTransport) -> None:
    """A 204 has no body, and its connection is reused."""
    with RawServer(keep_alive(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        transport = make_transport()
        assert [204, 204] == [transport.send(get(server)).status for _ in range(2)]
        assert 1 == server.connections


def test_redirects_are_not_followed(make_transport: MakeTransport) -> None:
    """Redirects of the device API are not followed, so that the token is sent only to its server."""
    with RawServer(keep_alive(answer())) as other:
        with RawServer(keep_alive(answer(b"", f"Location: {other.url}/", status=307))) as server:
            assert 307 == make_transport().send(get(server)).status
        assert 0 == other.connections


def _reset_in_header(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConte")
    reset(connection)


def _reset_in_body(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    time.sleep(0.1)
    reset(connection)


OK = b"HTTP/1.1 200 OK\r\n"
NO_HTTP = "the answer is not HTTP, or is incomplete"
TOO_LARGE = f"it is larger than {MOST_REPLY_BYTES} bytes"
BROKEN: dict[str, tuple[Script, str]] = {
    "cut in its headers": (raw(b"HTTP/1.1 200 OK\r\nContent-Le"), "the answer is incomplete"),
    "cut after its headers": (raw(b"HTTP/1.1 204 No Content\r\nX: y\r\n"), "the answer is incomplete"),
    "two lengths": (raw(OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"), NO_HTTP),
    "closes at once": (raw(b""), f"the connection was reset|{NO_HTTP}"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9\r\n"), NO_HTTP),
    "binary": (raw(bytes(range(256)) * 4), NO_HTTP),
    "TLS record": (raw(b"\x15\x03\x01\x00\x02\x02\x46"), "it speaks TLS on this port"),
    "status line only": (raw(b"HTTP/1.1"), NO_HTTP),
    "odd status": (raw(b"HTTP/1.1 abc OK\r\n\r\n"), NO_HTTP),
    "reset in the header": (_reset_in_header, "the connection was reset"),
    "reset in the body": (_reset_in_body, "the connection was reset"),
    "truncated": (raw(OK + b"Content-Length: 10\r\n\r\nabc"), "the answer is incomplete"),
    "empty instead of long": (raw(OK + b"Content-Length: 10\r\n\r\n"), "the answer is incomplete"),
    "chunked, cut in a chunk": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc"), "the answer is incomplete"),
    "chunked, no end": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), "is incomplete"),
    "chunked, no number": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"), "is incomplete"),
    "one endless header": (raw(OK + b"X: " + b"x" * 200_000), NO_HTTP),
    "a thousand headers": (raw(OK + b"X: y\r\n" * 1000 + b"\r\n"), NO_HTTP),
    "endless headers": (drip(OK, b"X: y\r\n" * 50, seconds=0), NO_HTTP),
    "endless body": (drip(OK + b"\r\n", b"x" * 65536, seconds=0), TOO_LARGE),
    "promises too much": (
        drip(OK + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65536, seconds=0),
        TOO_LARGE,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers(make_transport: MakeTransport, name: str) -> None:
    """A malformed response causes a NetworkError that names the server and the fault, but not the query or token."""
    script, reason = BROKEN[name]
    text = refused(make_transport, script)
    assert any(part in text for part in reason.split("|")), text


@pytest.mark.parametrize("script", [_reset_in_header, raw(OK + b"Content-Length: 10\r\n\r\nabc"), silent])
def test_remedies_of_broken_answers(make_transport: MakeTransport, script: Script) -> None:
    """A connection that breaks off has a remedy; after a reset, it is also to check http and https."""
    with RawServer(script) as server, pytest.raises(NetworkError) as caught:
        make_transport(idle=0.5, total=0.6).send(get(server))
    assert caught.value.remedy.endswith("see the server's log, and check firewalls and proxies in between")
    assert ("http or https" in caught.value.remedy) == (caught.value.kind == "reset")


SLOW: dict[str, Script] = {
    "silent": silent,
    "drips its header": drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "drips its body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
    "drips chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "drips trailers": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "continues for ever": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_answers(make_transport: MakeTransport, name: str) -> None:
    """The total time limit applies to the whole response, however steadily its bytes arrive."""
    began = time.monotonic()
    assert "it did not answer in time" == refused(make_transport, SLOW[name], idle=0.5, total=0.6)
    assert time.monotonic() - began >= 0.5


def test_time_limits_start_anew(make_transport: MakeTransport) -> None:
    """A time limit that has expired for one request doesn't affect the next one."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        if server.connections > 1:
            connection.sendall(answer(b"x"))
        else:
            server.ended.wait()

    with RawServer(script) as server:
        transport = make_transport(idle=0.3, total=0.3)
        with pytest.raises(NetworkError, match="it did not answer in time"):
            transport.send(get(server))

        def is_answered() -> bool:  # a busy machine may need more than one try of 0.3 s
            try:
                return b"x" == transport.send(get(server)).body
            except NetworkError:
                return False

        wait_until(is_answered)


def test_connection_refused(make_transport: MakeTransport, closed_port: int) -> None:
    """The error for a closed port says that the connection was refused, with a remedy."""
    with pytest.raises(NetworkError) as caught:
        make_transport().send(Request("GET", f"http://127.0.0.1:{closed_port}/?secret"))
    assert (f"cannot reach http://127.0.0.1:{closed_port}: the connection was refused", "refused") == (
        caught.value.text,
        caught.value.kind,
    )
    assert "check the port, and that the server is running" == caught.value.remedy


@pytest.mark.parametrize("name", ["truncated", "no HTTP"])
def test_answer_that_cannot_be_used(make_transport: MakeTransport, name: str) -> None:
    """The error for a broken answer doesn't say that the server can't be reached."""
    with RawServer(BROKEN[name][0]) as server, pytest.raises(NetworkError) as caught:
        make_transport().send(get(server))
    assert caught.value.text.startswith(f"cannot complete the request to {server.url}: the answer is ")


@pytest.mark.parametrize("host", ["[::1%25no-such-interface]", "a" * 64 + ".example", "a..example"])
def test_name_that_is_none(make_transport: MakeTransport, host: str) -> None:
    """The error for a name that can't be resolved says so, with a remedy."""
    with pytest.raises(NetworkError, match="its name cannot be resolved; check the name and the DNS settings"):
        make_transport().send(Request("GET", f"http://{host}/?secret"))


def test_address_that_is_none(make_transport: MakeTransport) -> None:
    """A URL with another scheme causes a NetworkError, too."""
    with pytest.raises(NetworkError, match=r"cannot reach ftp://127\.0\.0\.1: "):
        make_transport().send(Request("GET", "ftp://127.0.0.1/"))


def test_user_in_the_address_stays_secret(make_transport: MakeTransport) -> None:
    """The user and password in a URL don't appear in messages."""
    with RawServer(raw(b"")) as server, pytest.raises(NetworkError) as caught:
        make_transport().send(Request("GET", f"http://user:secret@127.0.0.1:{server.port}/"))
    assert f"cannot reach http://127.0.0.1:{server.port}: " in str(caught.value)
    assert "secret" not in str(caught.value)


def by_thread(interrupt: Callable[[], None]) -> AbstractContextManager[Callable[[], None]]:
    """Interrupt from another thread."""
    return contextlib.nullcontext(interrupt)


@contextlib.contextmanager
def by_signal(interrupt: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Interrupt from a signal handler in the main thread, whichever thread calls the returned function."""
    previous = signal.signal(signal.SIGALRM, lambda *_: interrupt())
    try:
        yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def when_waiting(server: RawServer, action: Callable[[], None]) -> Iterator[None]:
    """Perform an action shortly after a client has begun to wait for the server."""

    def watch() -> None:
        wait_until(lambda: server.is_waited_for)
        time.sleep(0.2)  # the client has usually read all data by then; before that, it works as well
        action()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()


INTERRUPTED_SOON_S = 60.0
"""Long even for a busy machine, but shorter than the time limits: a wait that ends earlier was interrupted."""


@pytest.mark.parametrize("by", [by_thread, by_signal])
@pytest.mark.parametrize(
    "script",
    [silent, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"", seconds=9)],
    ids=["in the header", "in the body"],
)
def test_stop(
    make_transport: MakeTransport,
    script: Script,
    by: Callable[[Callable[[], None]], AbstractContextManager[Callable[[], None]]],
) -> None:
    """A stop from a signal handler or another thread ends a blocked read, and further requests are refused."""
    transport = make_transport()
    with RawServer(script) as server, by(transport.stop) as stop, when_waiting(server, stop):
        began = time.monotonic()
        with pytest.raises((NetworkError, Interrupted)):
            transport.send(get(server))
        assert time.monotonic() - began < INTERRUPTED_SOON_S
        with pytest.raises(Interrupted):
            transport.send(get(server))


def test_stop_without_a_connection(make_transport: MakeTransport) -> None:
    """After a stop without a connection, requests are refused."""
    transport = make_transport()
    transport.stop()
    with RawServer(raw(answer(b"x"))) as server, pytest.raises(Interrupted):
        transport.send(get(server))
