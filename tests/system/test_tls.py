"""TLS over real sockets: which servers the client trusts, and how it authenticates itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from mender_client.core.wire.messages import Request
from mender_client.errors import Interrupted, NetworkError
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsSettings, tls_context

from .authority import Authority
from .conftest import MakeTransport
from .rawserver import RawServer, Script, answer, drip, keep_alive, mute, silent
from .test_fetch import read_all
from .test_http import INTERRUPTED_SOON_S, by_signal, when_waiting


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that the operator may or may not trust."""
    return Authority(tmp_path / "authority")


def trusting(authority: Authority) -> TlsSettings:
    """Settings whose ServerCertificate is that of this authority."""
    return TlsSettings(ca_file=authority.certificate)


def test_server_certificate(authority: Authority, make_transport: MakeTransport) -> None:
    """A server certified by the operator's own authority is trusted, and one connection serves several requests."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.good.server_context()) as server:
        transport = make_transport(trusting(authority))
        assert [b"x", b"x"] == [transport.send(Request("GET", server.url)).body for _ in range(2)]
        assert 1 == server.connections


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    """An authority that the system may or may not trust."""
    return Authority(tmp_path / "other")


def of_the_system(monkeypatch: pytest.MonkeyPatch, *, bundle: Path, directory: Path) -> None:
    """Make OpenSSL use these as the system's authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))


def test_system_authority_in_the_bundle(
    authority: Authority,
    other: Authority,
    make_transport: MakeTransport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """An authority that is only in the system's bundle is trusted beside the operator's; the bundle is loaded once."""
    of_the_system(monkeypatch, bundle=other.certificate, directory=tmp_path)
    transport = make_transport(trusting(authority))
    with RawServer(keep_alive(answer(b"x")), tls=other.good.server_context()) as server:
        assert b"x" == transport.send(Request("GET", server.url)).body
        assert 2 == server.connections
    for authority_ in (other, authority):
        with RawServer(keep_alive(answer(b"x")), tls=authority_.good.server_context()) as server:
            assert b"x" == transport.send(Request("GET", server.url)).body
            assert 1 == server.connections


def test_system_authority_in_the_directory(
    other: Authority, make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An authority in the system's directory is found with the first connection, without the bundle."""
    directory = tmp_path / "certs"
    directory.mkdir()
    (directory / "other.pem").write_bytes(other.certificate.read_bytes())
    subprocess.run(["openssl", "rehash", str(directory)], check=True)
    of_the_system(monkeypatch, bundle=tmp_path / "none", directory=directory)
    with RawServer(keep_alive(answer(b"x")), tls=other.good.server_context()) as server:
        assert b"x" == make_transport(TlsSettings()).send(Request("GET", server.url)).body
        assert 1 == server.connections


def test_the_server_itself_may_be_named(authority: Authority, make_transport: MakeTransport) -> None:
    """ServerCertificate may be the server's own certificate instead of that of its authority."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.good.server_context()) as server:
        transport = make_transport(TlsSettings(ca_file=authority.good.certificate))
        assert b"x" == transport.send(Request("GET", server.url)).body


@pytest.mark.parametrize("name", ["127.0.0.1", "other.example"])
def test_skip_verify(authority: Authority, make_transport: MakeTransport, name: str) -> None:
    """With SkipVerify, any certificate is accepted, without a Python warning for each request."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.issue(name).server_context()) as server:
        transport = make_transport(TlsSettings(verify=False))
        assert [b"x", b"x"] == [transport.send(Request("GET", server.url)).body for _ in range(2)]


def test_client_certificate(authority: Authority, make_transport: MakeTransport) -> None:
    """A server that requires a client certificate gets the configured one."""
    context = authority.good.server_context(client_ca=authority.certificate)
    device = authority.issue("device")
    with RawServer(keep_alive(answer(b"x")), tls=context) as server:
        tls = TlsSettings(ca_file=authority.certificate, certificate=device.certificate, key=device.key)
        assert b"x" == make_transport(tls).send(Request("GET", server.url)).body


def permissive(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, with all TLS versions and the weak signatures of the old ones."""
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda one: one.name)
def test_old_tls_is_refused(authority: Authority, make_transport: MakeTransport, version: ssl.TLSVersion) -> None:
    """A server that offers no newer TLS version than 1.0 or 1.1 is sent no request, and one that offers 1.2 is."""
    context = permissive(authority.good.server_context())
    with RawServer(keep_alive(answer(b"x")), tls=context) as server:
        context.maximum_version = version
        with pytest.raises(NetworkError) as caught:
            make_transport(trusting(authority)).send(Request("GET", server.url))
        assert ("tls-version", []) == (caught.value.kind, server.requests)
        # a client that allows it gets this version, so only the version was the reason
        anybody = permissive(tls_context(TlsSettings(verify=False)))
        with socket.create_connection(("127.0.0.1", server.port)) as plain, anybody.wrap_socket(plain) as secure:
            assert secure.version() == version.name.replace("_", ".")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert b"x" == make_transport(trusting(authority)).send(Request("GET", server.url)).body


def test_handshake_that_stalls(make_transport: MakeTransport) -> None:
    """If a server accepts the connection but sends nothing, the handshake times out."""
    with RawServer(mute) as server, pytest.raises(NetworkError, match="it did not answer in time"):
        make_transport(connect=0.4).send(Request("GET", f"https://127.0.0.1:{server.port}"))


def seconds_until_stopped(transport: HttpTransport, url: str) -> float:
    """The duration, in seconds, of a request that is interrupted by a stop from a signal handler."""
    began = time.monotonic()
    with by_signal(transport.stop) as stop:
        timer = threading.Timer(0.2, stop)
        timer.start()
        with pytest.raises((NetworkError, Interrupted)):
            transport.send(Request("GET", url))
        timer.join()
    return time.monotonic() - began


def test_stop_in_the_handshake(make_transport: MakeTransport) -> None:
    """A stop ends a handshake with a server that sends nothing."""
    with RawServer(mute) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert seconds_until_stopped(make_transport(), url) < INTERRUPTED_SOON_S


def test_stop_while_connecting(make_transport: MakeTransport) -> None:
    """A stop ends the wait for a connection that is never established."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        for _ in range(2):  # nobody accepts, so the queue is full now
            queued = waiting.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        assert seconds_until_stopped(make_transport(), url) < INTERRUPTED_SOON_S


@pytest.mark.parametrize(
    "script",
    [silent, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"", seconds=9)],
    ids=["in the header", "in the body"],
)
def test_stop(authority: Authority, make_transport: MakeTransport, script: Script) -> None:
    """A stop ends a blocked read over TLS."""
    transport = make_transport(trusting(authority))
    with RawServer(script, tls=authority.good.server_context()) as server:
        began = time.monotonic()
        with when_waiting(server, transport.stop), pytest.raises((NetworkError, Interrupted)):
            transport.send(Request("GET", server.url))
        assert time.monotonic() - began < INTERRUPTED_SOON_S


@pytest.mark.parametrize("first", ["https:", "HTTPS:"])
def test_redirect_to_plain_http(authority: Authority, make_transport: MakeTransport, first: str) -> None:
    """A download doesn't follow a redirect from https to http."""
    with RawServer(keep_alive(answer(b"x"))) as plain:
        script = keep_alive(answer(b"", f"Location: {plain.url}/", status=302))
        with (
            RawServer(script, tls=authority.good.server_context()) as server,
            pytest.raises(NetworkError, match=r"cannot follow the redirect of .*: it leads from https to http"),
        ):
            make_transport(trusting(authority)).open(server.url.replace("https:", first), {})
        assert 0 == plain.connections


def test_redirect_to_https(authority: Authority, make_transport: MakeTransport) -> None:
    """A download follows a redirect from http to https, even if the scheme is in upper case."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.good.server_context()) as server:
        target = server.url.replace("https:", "HTTPS:")
        with RawServer(keep_alive(answer(b"", f"Location: {target}/", status=302))) as plain:
            assert b"x" == read_all(make_transport(trusting(authority)).open(plain.url, {}))


def test_truncated_over_tls(authority: Authority, make_transport: MakeTransport) -> None:
    """A response over TLS that is cut off without a close_notify alert is not accepted as complete."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    with RawServer(script, tls=authority.good.server_context()) as server, pytest.raises(NetworkError):
        make_transport(trusting(authority)).send(Request("GET", server.url))
