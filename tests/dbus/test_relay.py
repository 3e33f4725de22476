"""The relay carries bytes between two connections, one of them with TLS."""

from __future__ import annotations

import hashlib
import os
import resource
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mender_client.connect.loop import Loop
from mender_client.dbus.relay import Relay
from system.authority import Authority
from waiting import PATIENCE_S, wait_until

SIZE = 8 * 1024 * 1024


class Joined:
    """Two endpoints joined by a relay, and what the relay has reported."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self.first: list[bytes] = []
        self.is_ended = threading.Event()


def over_tls(pair: tuple[socket.socket, socket.socket], directory: Path) -> tuple[socket.socket, socket.socket]:
    """The same two endpoints, with TLS between them."""
    authority = Authority(directory / "authority")
    context = ssl.create_default_context(cafile=authority.certificate)
    served: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: served.append(authority.good.server_context().wrap_socket(pair[1], server_side=True))
    )
    thread.start()
    client = context.wrap_socket(pair[0], server_hostname="127.0.0.1")
    thread.join()
    return client, served[0]


@contextmanager
def running(far: tuple[socket.socket, socket.socket], request: bytes = b"") -> Iterator[Joined]:
    """Let a loop carry bytes between a local and a remote endpoint."""
    near, local = socket.socketpair()
    joined = Joined(near, far[1])
    loop, stopped = Loop(), threading.Event()
    for sock in (local, far[0]):
        sock.setblocking(False)
    for sock in (near, far[1]):
        sock.settimeout(PATIENCE_S)
    Relay(loop, local, far[0], request, joined.first.append, joined.is_ended.set)
    thread = threading.Thread(target=lambda: loop.run(stopped.is_set))
    thread.start()
    with ExitStack() as stack:
        for sock in (near, local, *far):
            stack.callback(sock.close)
        stack.callback(loop.close)
        try:
            yield joined
        finally:
            stopped.set()
            loop.wake()
            thread.join()


@pytest.fixture(params=["plain", "tls"])
def joined(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Joined]:
    """Two endpoints, with and without TLS to the second one."""
    pair = socket.socketpair()
    with running(over_tls(pair, tmp_path) if request.param == "tls" else pair, b"HEAD") as found:
        yield found


def receive(sock: socket.socket, size: int) -> bytes:
    """The given number of bytes."""
    seen = bytearray()
    while len(seen) < size and (data := sock.recv(min(65536, size - len(seen)))):
        seen += data
    return bytes(seen)


def send_until_held(sock: socket.socket) -> int:
    """The number of bytes that can be sent while nobody reads."""
    sock.settimeout(0.5)
    sent = 0
    try:
        while sent < SIZE:
            sent += sock.send(bytes(65536))
    except TimeoutError:
        pass
    return sent


def exchange(sock: socket.socket, data: bytes, size: int) -> bytes:
    """Send some bytes and receive as many in the same thread: two threads can't share a connection with TLS."""
    sock.setblocking(False)
    rest, seen = memoryview(data), bytearray()
    while rest or len(seen) < size:
        is_moving = False
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while rest:
                rest, is_moving = rest[sock.send(rest[:16384]) :], True
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while len(seen) < size and (got := sock.recv(65536)):
                seen += got
                is_moving = True
        if not is_moving:
            select.select([sock], [sock] if rest else [], [], PATIENCE_S)
    return bytes(seen)


def test_both_ways_at_once(joined: Joined) -> None:
    """Data arrives unchanged and in order, in both directions at the same time, the request first."""
    there, back = os.urandom(SIZE), os.urandom(SIZE)
    assert b"HEAD" == receive(joined.far, 4)
    seen: dict[str, bytes] = {}
    near = threading.Thread(target=lambda: seen.update(back=exchange(joined.near, there, SIZE)))
    near.start()
    seen["there"] = exchange(joined.far, back, SIZE)
    near.join()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in seen.items()}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in (("there", there), ("back", back))} == digests
    assert back[:64] == joined.first[0][:64]
    assert 1 == len(joined.first)


def test_slow_reader(joined: Joined) -> None:
    """A side that doesn't read slows the other one down; only a small amount is buffered in between."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sent = send_until_held(joined.far)
    assert sent < SIZE
    assert SIZE > 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert bytes(sent // 2) == receive(joined.near, sent // 2)


def test_end_of_the_server(joined: Joined) -> None:
    """The last data that the server has sent arrives before the end of the connection."""
    assert b"HEAD" == receive(joined.far, 4)
    joined.far.sendall(b"x" * 100_000)
    joined.far.close()
    assert b"x" * 100_000 == receive(joined.near, SIZE)
    assert joined.is_ended.wait(PATIENCE_S)


def test_server_that_takes_no_more(joined: Joined) -> None:
    """The response of a server that refuses a request before it has read all of it is delivered."""
    joined.near.settimeout(0.5)
    send_until_held(joined.near)
    joined.far.sendall(b"HTTP/1.1 413 Too much")
    joined.far.shutdown(socket.SHUT_RD)
    joined.near.settimeout(PATIENCE_S)
    assert b"HTTP/1.1 413 Too much" == receive(joined.near, 21)


def test_end_of_the_add_on(joined: Joined) -> None:
    """When an add-on closes its connection, the connection to the server is closed as well."""
    joined.near.close()
    assert b"HEAD" == receive(joined.far, SIZE)
    assert joined.is_ended.wait(PATIENCE_S)
    wait_until(lambda: joined.far.recv(1) == b"")
