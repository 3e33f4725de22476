"""The proxy of ``dbus``, as add-ons and other users of the device see it."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

import pytest

from dbus.bus import SystemBus
from dbus.conftest import Serve, Served, needed
from dbus.through import ask
from mender_devserver import DevServer
from program.stage import Device
from system.forwardproxy import ForwardProxy
from system.rawserver import RawServer, answer, keep_alive
from waiting import PATIENCE_S, wait_until

pytestmark = needed


@pytest.fixture
def known(device: Device, bus: SystemBus, serve: Serve) -> tuple[str, str]:
    """The token and the address that an add-on of the device has."""
    serve(device)
    with bus.caller() as caller:
        return caller.wait_for_token()


@pytest.fixture
def shared(served: Served) -> tuple[str, str]:
    """The same for a device that isn't changed by the test."""
    with served.bus.caller() as caller:
        return caller.wait_for_token()


def send(url: str, data: bytes) -> bytes:
    """The complete response to some bytes."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), PATIENCE_S) as sock:
        sock.sendall(data)
        seen = b""
        try:
            while data := sock.recv(65536):
                seen += data
        except ConnectionError:
            pass
        return seen


def test_request(served: Served, shared: tuple[str, str]) -> None:
    """A request with a body reaches the server over TLS; the add-on needn't know the server's certificate."""
    token, url = shared
    assert (204, None) == ask(url, token, "PUT", body=b'{"colour": "blue"}')
    (known_device,) = served.device.server.devices()
    assert {"colour": "blue"} == known_device.reported


@pytest.mark.parametrize("token", ["", "x.y.z", "other"])
def test_without_the_token(served: Served, shared: tuple[str, str], token: str) -> None:
    """A request without the token is refused, and nothing is sent to the server."""
    before = len(served.device.server.requests)
    status, said = ask(shared[1], shared[0][:-1] if token == "other" else token)
    assert (401, "this needs the device's token, as on the bus") == (status, said["error"])
    assert before == len(served.device.server.requests)


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://other/ HTTP/1.1",
        b"CONNECT other:443 HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET /\xff HTTP/1.1",
        b"GET / HTTP/1.1\r\nX: a\r\n folded",
        b"GET / HTTP/1.1\r\nX : a",
        b"GET / HTTP/1.1\r\nX: a\nHost: b",
        b"\x16\x03\x01",
    ],
)
def test_what_is_no_request(shared: tuple[str, str], head: bytes) -> None:
    """A request that isn't for a path of the server is refused."""
    token, url = shared
    answer = send(url, head + b"\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 "), answer


def test_second_request_of_a_connection(shared: tuple[str, str]) -> None:
    """A connection carries one request: the token of a second one wouldn't be checked."""
    token, url = shared
    head = b"GET /api/devices/v1/deviceconfig/configuration HTTP/1.1\r\nAuthorization: Bearer %b\r\n"
    answer = send(url, 2 * (head % token.encode() + b"Connection: keep-alive\r\n\r\n"))
    assert answer.count(b" 200 OK") < 2


def test_endless_head(shared: tuple[str, str]) -> None:
    """An endless request head is cut off, and the answer says why."""
    answer = send(shared[1], b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
    assert answer.startswith(b"HTTP/1.1 431 "), answer


def test_many_silent_connections(shared: tuple[str, str]) -> None:
    """Idle connections don't keep others out."""
    token, url = shared
    address = ("127.0.0.1", urlsplit(url).port or 0)
    silent = [socket.create_connection(address, PATIENCE_S) for _ in range(200)]
    try:
        assert (200, {}) == ask(url, token)
    finally:
        for sock in silent:
            sock.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="others may not take these ports")
def test_port(shared: tuple[str, str]) -> None:
    """The port is one that only root can bind, and the proxy listens on the loopback interface only."""
    parts = urlsplit(shared[1])
    assert "127.0.0.1" == parts.hostname
    assert 0 < (parts.port or 0) < 1024
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", parts.port or 0))


def test_old_token(device: Device, bus: SystemBus, known: tuple[str, str]) -> None:
    """A replaced token is no longer accepted, and its port is closed."""
    with bus.caller() as caller:
        caller.call("FetchJwtToken")
        token, url = caller.wait_for_token(known[0])
    assert 401 == ask(url, known[0])[0]
    assert 200 == ask(url, token)[0]
    with pytest.raises(ConnectionRefusedError):
        ask(known[1], known[0])


def test_token_that_the_server_refuses(device: Device, bus: SystemBus, known: tuple[str, str]) -> None:
    """If the server refuses an add-on's token, the add-on gets that response, and a new token by the signal."""
    token, url = known
    with bus.caller() as caller:
        caller.subscribe()
        device.server.revoke_tokens(device.id)
        assert 401 == ask(url, token)[0]
        other, url = caller.signal()
        assert token != other != ""
        assert 200 == ask(url, other)[0]


def test_server_that_is_gone(device: Device, known: tuple[str, str]) -> None:
    """While the server can't be reached, the response is 502; the token stays valid."""
    token, url = known
    device.server.stop()
    assert 502 == ask(url, token)[0]
    device.server.start()
    assert 200 == ask(url, token)[0]


def test_through_an_http_proxy(device: Device, bus: SystemBus) -> None:
    """On the way to a server without TLS, an HTTP proxy gets the absolute URL and the credentials."""
    token = '"x.y.z"'  # which is JSON as well: this server sends it in response to everything
    with (
        RawServer(keep_alive(answer(token.encode()))) as server,
        ForwardProxy(server, authorization="Basic dTpw") as proxy,
    ):
        device.configure(ServerURL="http://mender.test")
        variables = {"http_proxy": proxy.url.replace("://", "://u:p@"), "DBUS_SYSTEM_BUS_ADDRESS": bus.address}
        device.start("dbus", environment=variables).wait_for("add-ons reach")
        with bus.caller() as caller:
            assert token == caller.token()[0]
            assert (200, "x.y.z") == ask(caller.token()[1], token)
        assert "GET http://mender.test/api/devices/v1/deviceconfig/configuration HTTP/1.1" == proxy.asked[-1]
        assert b"\r\nHost: mender.test\r\n" in proxy.requests[-1]


def test_another_server(device: Device, bus: SystemBus, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With several servers, add-ons are directed to another one when theirs is unavailable."""
    with DevServer(tmp_path_factory.mktemp("second"), tls=False) as second:
        device.configure(ServerURL=None, Servers=[{"ServerURL": device.server.url}, {"ServerURL": second.url}])
        serve(device)
        with bus.caller() as caller:
            token, url = caller.wait_for_token()
            device.server.stop()
            assert 502 == ask(url, token)[0]
            wait_until(second.devices)
            (known,) = second.devices()
            second.accept(known.id)
            token, url = caller.wait_for_token(token)
        assert (200, {}) == ask(url, token)
