"""Requests and downloads through a proxy over real sockets, and the errors for its refusals."""

from __future__ import annotations

import base64
import contextlib
import socket
import time

import pytest

from mender_client.core.proxies import Proxies, read_proxies
from mender_client.core.wire.messages import Request
from mender_client.errors import NetworkError
from mender_client.system.tls import TlsSettings

from .authority import Authority
from .conftest import MakeTransport
from .forwardproxy import ForwardProxy
from .rawserver import RawServer, answer, drip, keep_alive, silent
from .test_fetch import read_all
from .test_http import INTERRUPTED_SOON_S, when_waiting

HOST = "updates.example"
"""A server that only the proxy can resolve."""
BASIC = "Basic " + base64.b64encode(b"user:secret").decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The operator's authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


def through(proxy: RawServer | str, *, no_proxy: str = "", user: str = "") -> Proxies:
    """The settings of an environment with this proxy for all servers."""
    place = proxy if isinstance(proxy, str) else f"127.0.0.1:{proxy.port}"
    return read_proxies({"all_proxy": f"http://{user}{place}", "no_proxy": no_proxy})


def get(scheme: str) -> Request:
    """A request with secrets to the server that only the proxy can resolve."""
    return Request("PUT", f"{scheme}://{HOST}/a?secret", {"Authorization": "Bearer secret"}, b"body")


def test_https(authority: Authority, make_transport: MakeTransport) -> None:
    """https requests use a tunnel: the proxy sees only host and port, and a certificate for the host is accepted."""
    tls = TlsSettings(ca_file=authority.certificate)
    with RawServer(keep_alive(answer(b"x")), tls=authority.issue(HOST).server_context()) as server:
        with ForwardProxy(server) as proxy:
            transport = make_transport(tls, proxies=through(proxy))
            assert [b"x", b"x"] == [transport.send(get("https")).body for _ in range(2)]
            transport.rest()
        assert [f"CONNECT {HOST}:443 HTTP/1.1"] == proxy.asked
        assert b"secret" not in proxy.requests[0]
        assert server.requests[0].startswith(f"PUT /a?secret HTTP/1.1\r\nHost: {HOST}\r\n".encode())


def test_https_to_another(authority: Authority, make_transport: MakeTransport) -> None:
    """Through a proxy, too, a server with a certificate for another name is sent no request."""
    tls = TlsSettings(ca_file=authority.certificate)
    with RawServer(keep_alive(answer()), tls=authority.issue("other.example").server_context()) as server:
        with ForwardProxy(server) as proxy, pytest.raises(NetworkError) as caught:
            make_transport(tls, proxies=through(proxy)).send(get("https"))
        assert [] == server.requests
    assert "certificate-host" == caught.value.kind


def test_http(make_transport: MakeTransport) -> None:
    """Over one connection, a proxy for http is sent absolute URLs and the server's Host header; no authorization."""
    with RawServer(keep_alive(answer(b"x"))) as proxy:
        transport = make_transport(proxies=through(proxy))
        assert [b"x", b"x"] == [transport.send(get("http")).body for _ in range(2)]
        assert 1 == proxy.connections
    for request in proxy.requests:
        assert request.startswith(f"PUT http://{HOST}/a?secret HTTP/1.1\r\nHost: {HOST}\r\n".encode())
        assert b"Proxy-Authorization" not in request


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_password(authority: Authority, make_transport: MakeTransport, scheme: str) -> None:
    """User and password are sent to the proxy, and for https not to the server."""
    context = authority.issue(HOST).server_context() if scheme == "https" else None
    with RawServer(keep_alive(answer(b"x")), tls=context) as server:
        with ForwardProxy(server, authorization=BASIC) as proxy:
            transport = make_transport(
                TlsSettings(ca_file=authority.certificate), proxies=through(proxy, user="user:s%65cret@")
            )
            assert b"x" == transport.send(get(scheme)).body
            transport.rest()
        assert scheme == "http" or b"Proxy-Authorization" not in server.requests[0]


@pytest.mark.parametrize("size", [1, 1 << 18])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_download(authority: Authority, make_transport: MakeTransport, scheme: str, size: int) -> None:
    """Downloads go through the proxy as well."""
    content = b"z" * size
    context = authority.issue(HOST).server_context() if scheme == "https" else None
    with RawServer(keep_alive(answer(content)), tls=context) as server, ForwardProxy(server) as proxy:
        transport = make_transport(TlsSettings(ca_file=authority.certificate), proxies=through(proxy))
        assert content == read_all(transport.open(f"{scheme}://{HOST}/a", {}), piece=4096)
        transport.rest()


def test_redirect_to_an_exempt_host(make_transport: MakeTransport) -> None:
    """The proxy is chosen for each redirect: one to an exempt host is followed without it."""
    direct = "x" * 64 + ".example"  # too long for a host name, so it isn't looked up
    script = keep_alive(answer(b"", f"Location: http://{direct}/", status=302))
    with RawServer(script) as server, ForwardProxy(server) as proxy:
        transport = make_transport(proxies=through(proxy, no_proxy=direct))
        with pytest.raises(NetworkError, match=rf"http://{direct}: its name cannot be resolved"):
            transport.open(f"http://{HOST}/a", {})
        transport.rest()
    assert [f"GET http://{HOST}/a HTTP/1.1"] == proxy.asked


INTERNAL = ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0", "[::ffff:127.0.0.1]", "[fe80::1]"]
INWARD_BY_NAME = "0x7f000001"
"""Not an address in standard notation, but it resolves to 127.0.0.1."""


@pytest.mark.parametrize("inward", [*INTERNAL, INWARD_BY_NAME])
def test_redirect_into_this_device(make_transport: MakeTransport, inward: str) -> None:
    """A redirect from outside to this device or its link is refused, by address or by a name that resolves to one."""
    with RawServer(keep_alive(answer(b"secret"))) as inside:
        script = keep_alive(answer(b"", f"Location: http://{inward}:{inside.port}/?secret", status=302))
        with RawServer(script) as server, ForwardProxy(server) as proxy:
            transport = make_transport(proxies=through(proxy, no_proxy=INWARD_BY_NAME))
            with pytest.raises(NetworkError, match="it leads from outside to an address of this device") as caught:
                transport.open(f"http://{HOST}/a", {})
            transport.rest()
        assert 0 == inside.connections
    assert "redirect" == caught.value.kind
    assert "secret" not in str(caught.value)


def test_exempt(make_transport: MakeTransport) -> None:
    """This device itself and an exempt server are contacted without the proxy, and without its password."""
    with RawServer(keep_alive(answer(b"x"))) as server, ForwardProxy(None) as proxy:
        for host, no_proxy in (("127.0.0.1", ""), (INWARD_BY_NAME, INWARD_BY_NAME)):
            transport = make_transport(proxies=through(proxy, no_proxy=no_proxy, user="user:secret@"))
            assert b"x" == transport.send(Request("GET", f"http://{host}:{server.port}/")).body
        assert ([], 2) == (proxy.asked, len(server.requests))
        assert [] == [request for request in server.requests if b"Proxy-Authorization" in request]


VARIABLES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]


@pytest.mark.parametrize("variable", VARIABLES)
def test_variables(make_transport: MakeTransport, variable: str) -> None:
    """Each variable, in lower and upper case, selects the proxy: ``https_proxy`` for https, the others for http."""
    scheme = "https" if variable.lower() == "https_proxy" else "http"
    with ForwardProxy(None) as proxy:
        transport = make_transport(proxies=read_proxies({variable: proxy.url}))
        with contextlib.suppress(NetworkError):
            transport.send(get(scheme))
        transport.rest()
    asked = f"CONNECT {HOST}:443 HTTP/1.1" if scheme == "https" else f"PUT http://{HOST}/a?secret HTTP/1.1"
    assert [asked] == proxy.asked


@pytest.mark.parametrize(
    ("host", "no_proxy"),
    [
        ("0x7f000001", "*"),
        ("0x7f000001", "other.example, 0x7f000001"),
        ("0x7f000001", "0x7f000001:{port}"),
        ("127.0x1", ".0x1"),
        ("127.0x1", "0x1"),
        ("0.0.0.0", "0.0.0.0"),
        ("0.0.0.0", "0.0.0.0/8"),
    ],
)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_each_form_of_no_proxy(make_transport: MakeTransport, variable: str, host: str, no_proxy: str) -> None:
    """``no_proxy`` exempts hosts by ``*``, name, port, domain, address or network; without it, the proxy is used.

    The hosts are unusual notations for this device, which the exemption of the device itself doesn't cover.
    """
    with RawServer(keep_alive(answer(b"direct"))) as server, ForwardProxy(None, status=403) as proxy:
        environment = {"http_proxy": proxy.url, variable: no_proxy.format(port=server.port)}
        for variables, said in ((environment, b"direct"), ({"http_proxy": proxy.url}, b"no")):
            transport = make_transport(proxies=read_proxies(variables))
            assert said == transport.send(Request("GET", f"http://{host}:{server.port}/")).body
            transport.rest()


REFUSALS = [
    (407, "", "it requires a user and password (407)", "set all_proxy to http://USER:PASSWORD@HOST:PORT"),
    (407, "user:secret@", "it rejects the user and password (407)", "check them in all_proxy"),
    (403, "", "it denies this device access (403)", "ask the administrator of the proxy"),
    (502, "", "it cannot reach the server (502)", "check the server's name and port"),
    (500, "", "it answered 500", "check the address in all_proxy"),
]


@pytest.mark.parametrize(("status", "user", "said", "remedy"), REFUSALS)
def test_refusals(make_transport: MakeTransport, status: int, user: str, said: str, remedy: str) -> None:
    """The error for a refusal names the reason and the proxy, but not the password, and has a remedy."""
    with ForwardProxy(None, status=status) as proxy, pytest.raises(NetworkError) as caught:
        make_transport(proxies=through(proxy, user=user)).send(get("https"))
    place = f"http://127.0.0.1:{proxy.port} (all_proxy)"
    assert f"cannot reach https://{HOST}:443 through the proxy {place}: {said}" == caught.value.text
    assert remedy == caught.value.remedy
    assert "proxy" == caught.value.kind


def test_password_wanted_for_http(make_transport: MakeTransport) -> None:
    """A proxy for http that requires a password is named in the error, too, for requests and downloads."""
    with ForwardProxy(None, authorization=BASIC) as proxy:
        transport = make_transport(proxies=through(proxy))
        for ask in (lambda: transport.send(get("http")), lambda: transport.open(f"http://{HOST}/?secret", {})):
            with pytest.raises(NetworkError) as caught:
                ask()
            assert "proxy" == caught.value.kind
            assert f"through the proxy http://127.0.0.1:{proxy.port} (all_proxy): it requires a user" in str(
                caught.value
            )
            assert "secret" not in str(caught.value)
        transport.rest()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_proxy_there(make_transport: MakeTransport, closed_port: int, scheme: str) -> None:
    """If the proxy can't be reached, the error names the proxy."""
    place = f"127.0.0.1:{closed_port}"
    with pytest.raises(NetworkError) as caught:
        make_transport(proxies=through(place)).send(get(scheme))
    assert f"through the proxy http://{place} (all_proxy): the connection was refused" in str(caught.value)
    assert "check the address in all_proxy, and that the proxy works" == caught.value.remedy
    assert "proxy" == caught.value.kind


SLOW = {"silent": silent, "drips": drip(b"HTTP/1.1 200 OK\r\nX: ", b"x")}
BROKEN = {"closes": b"", "no HTTP": b"SSH-2.0-OpenSSH_9\r\n", "endless": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000}


@pytest.mark.parametrize("limit", ["connect", "total"])
@pytest.mark.parametrize("name", SLOW)
def test_slow(make_transport: MakeTransport, name: str, limit: str) -> None:
    """The time limits for a connection and for a request end the wait for a proxy, even if bytes arrive steadily."""
    with RawServer(SLOW[name]) as proxy, pytest.raises(NetworkError, match="it did not answer in time") as caught:
        make_transport(proxies=through(proxy), **{limit: 0.5}).send(get("https"))
    assert "proxy" == caught.value.kind


@pytest.mark.parametrize("name", BROKEN)
def test_broken(make_transport: MakeTransport, name: str) -> None:
    """A missing or invalid response of a proxy causes a NetworkError of the kind "proxy"."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(BROKEN[name])

    with RawServer(script) as proxy, pytest.raises(NetworkError) as caught:
        make_transport(proxies=through(proxy)).send(get("https"))
    assert "proxy" == caught.value.kind


def test_stop(make_transport: MakeTransport) -> None:
    """A stop ends the wait for a proxy."""
    with RawServer(silent) as proxy:
        transport = make_transport(proxies=through(proxy))
        began = time.monotonic()
        with when_waiting(proxy, transport.stop), pytest.raises(NetworkError):
            transport.send(get("https"))
        assert time.monotonic() - began < INTERRUPTED_SOON_S
