"""Links and redirects obey the same rule: they must not lead to a narrower network than that of their server."""

from __future__ import annotations

import logging
import socket

import pytest

from mender_client.core.proxies import read_proxies
from mender_client.core.wire.messages import Request
from mender_client.errors import NetworkError
from mender_client.system.dial import Address
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsSettings

from .authority import Authority
from .conftest import MakeTransport
from .forwardproxy import ForwardProxy
from .rawserver import RawServer, answer, keep_alive
from .test_fetch import read_all
from .test_proxies import INTERNAL

HOST = "updates.example"
"""A server that only the proxy can resolve, and that therefore counts as outside."""
PRIVATE = ["10.0.0.1", "172.16.9.9", "192.168.1.1", "100.100.100.200", "[fd00::1]"]
REFUSED = "it leads from outside to an address of this device or its network"


def outside(make_transport: MakeTransport, proxy: ForwardProxy, resolved: str = "127.0.0.1") -> HttpTransport:
    """A transport that has contacted a server outside; ``inward.example`` is exempt and resolves to this address."""
    family = socket.AF_INET6 if ":" in resolved else socket.AF_INET
    found: list[Address] = [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (resolved, proxy.port))]
    proxies = read_proxies({"all_proxy": proxy.url, "no_proxy": "inward.example"})
    way: list[Address] = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", proxy.port))]
    transport = make_transport(proxies=proxies, resolve=lambda host, _: found if host == "inward.example" else way)
    assert b"x" == transport.send(Request("GET", f"http://{HOST}/")).body
    return transport


@pytest.mark.parametrize("inward", [*INTERNAL, *PRIVATE])
def test_link_to_an_inner_address(make_transport: MakeTransport, inward: str) -> None:
    """A link from a server outside to an address of this device, its link or its network is refused and not fetched."""
    with RawServer(keep_alive(answer(b"secret"))) as inside, RawServer(keep_alive(answer(b"x"))) as server:
        with ForwardProxy(server) as proxy:
            transport = outside(make_transport, proxy)
            with pytest.raises(NetworkError, match=REFUSED) as caught:
                transport.open(f"http://{inward}:{inside.port}/?secret", {})
            transport.rest()
            assert 1 == len(server.requests)
        assert 0 == inside.connections
    assert str(caught.value).startswith(f"cannot follow the link to http://{inward}:{inside.port}: ")
    assert "redirect" == caught.value.kind
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fd00::1"])
@pytest.mark.parametrize("is_redirect", [False, True])
def test_link_to_a_name_of_an_inner_address(make_transport: MakeTransport, address: str, is_redirect: bool) -> None:
    """A link or redirect from outside to a name that resolves to such an address is refused as well."""
    moved = answer(b"", "Location: http://inward.example/", status=302)

    def script(server: RawServer, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            connection.sendall(moved if b"/moved" in request else answer(b"x"))

    with RawServer(script) as server, ForwardProxy(server) as proxy:
        transport = outside(make_transport, proxy, address)
        asked = f"http://{HOST}/moved" if is_redirect else "http://inward.example/"
        with pytest.raises(NetworkError, match=REFUSED):
            transport.open(asked, {})
        transport.rest()
        assert 1 + is_redirect == len(server.requests)


@pytest.mark.parametrize("inward", PRIVATE)
def test_redirect_into_the_network(make_transport: MakeTransport, inward: str) -> None:
    """A redirect from outside to a private network is refused, too."""
    script = keep_alive(answer(b"x", f"Location: http://{inward}/?secret", status=302))
    with RawServer(script) as server, ForwardProxy(server) as proxy:
        transport = outside(make_transport, proxy)
        with pytest.raises(NetworkError, match=REFUSED) as caught:
            transport.open(f"http://{HOST}/a", {})
        transport.rest()
        assert 2 == len(server.requests)
    assert str(caught.value).startswith(f"cannot follow the redirect to http://{inward}: ")


def test_server_inside(make_transport: MakeTransport) -> None:
    """A server on this device may link and redirect to the device."""
    with RawServer(keep_alive(answer(b"x"))) as storage:
        script = keep_alive(answer(b"", f"Location: http://localhost:{storage.port}/", status=302))
        with RawServer(script) as server:
            transport = make_transport()
            transport.send(Request("GET", server.url))
            assert b"x" == read_all(transport.open(storage.url, {}))
            assert b"x" == read_all(transport.open(server.url, {}))


def test_server_inside_by_its_name(make_transport: MakeTransport) -> None:
    """The address at which the server was reached is decisive, not its name."""
    with RawServer(keep_alive(answer(b"x"))) as server:
        here: Address = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", server.port))
        transport = make_transport(resolve=lambda *_: [here])
        transport.send(Request("GET", f"http://{HOST}/"))
        assert b"x" == read_all(transport.open("http://127.0.0.1/", {}))


def test_where_tls_ends(
    make_transport: MakeTransport, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """An http link from an https server is followed; a single warning names the server contacted without TLS."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    tls = authority.issue("localhost").server_context()
    with RawServer(keep_alive(answer(b"x"))) as storage, RawServer(keep_alive(answer(b"x")), tls=tls) as server:
        transport = make_transport(TlsSettings(ca_file=authority.certificate))
        transport.send(Request("GET", f"https://localhost:{server.port}/"))
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert b"x" == read_all(transport.open(f"{storage.url}/?secret", {}))
            assert b"x" == read_all(transport.open(f"https://localhost:{server.port}/", {}))
    (record,) = caplog.records
    assert f"the link of https://localhost:{server.port} leads to {storage.url}, without TLS" in record.getMessage()
    assert "secret" not in record.getMessage()
