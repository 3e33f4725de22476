"""TLS over real sockets: whom the client trusts, and how it shows itself."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mender_client.core.wire import Request
from mender_client.errors import ConfigError, NetworkError
from mender_client.system.http import TlsSettings, tls_context

from .authority import DAY, NOW, Authority, Pair
from .conftest import MakeTransport
from .rawserver import RawServer, Script, answer, drip, keep_alive, silent


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that the operator may or may not trust."""
    return Authority(tmp_path / "authority")


def trusting(authority: Authority) -> TlsSettings:
    """The settings of an operator whose ServerCertificate is this authority's."""
    return TlsSettings(ca_file=authority.certificate)


def test_server_certificate(authority: Authority, make_transport: MakeTransport) -> None:
    """A server of the operator's own authority is trusted, and one connection serves several requests."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.good.server_context()) as server:
        transport = make_transport(trusting(authority))
        assert [b"x", b"x"] == [transport.send(Request("GET", server.url)).body for _ in range(2)]
        assert 1 == server.connections


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    """An authority that the system trusts, or not."""
    return Authority(tmp_path / "other")


def of_the_system(monkeypatch: pytest.MonkeyPatch, *, bundle: Path, folder: Path) -> None:
    """Let these be the system's authorities, for OpenSSL."""
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))


def test_system_authority_in_the_bundle(
    authority: Authority,
    other: Authority,
    make_transport: MakeTransport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """An authority that only the system's bundle has is trusted besides the operator's; the bundle is loaded once."""
    of_the_system(monkeypatch, bundle=other.certificate, folder=tmp_path)
    transport = make_transport(trusting(authority))
    with RawServer(keep_alive(answer(b"x")), tls=other.good.server_context()) as server:
        assert b"x" == transport.send(Request("GET", server.url)).body
        assert 2 == server.connections
    for authority_ in (other, authority):
        with RawServer(keep_alive(answer(b"x")), tls=authority_.good.server_context()) as server:
            assert b"x" == transport.send(Request("GET", server.url)).body
            assert 1 == server.connections


def test_system_authority_in_the_folder(
    other: Authority, make_transport: MakeTransport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An authority in the system's folder is found there at once, without the bundle."""
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "other.pem").write_bytes(other.certificate.read_bytes())
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    of_the_system(monkeypatch, bundle=tmp_path / "none", folder=folder)
    with RawServer(keep_alive(answer(b"x")), tls=other.good.server_context()) as server:
        assert b"x" == make_transport(TlsSettings()).send(Request("GET", server.url)).body
        assert 1 == server.connections


def test_the_server_itself_may_be_named(authority: Authority, make_transport: MakeTransport) -> None:
    """The operator may name the server's own certificate instead of its authority's."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.good.server_context()) as server:
        transport = make_transport(TlsSettings(ca_file=authority.good.certificate))
        assert b"x" == transport.send(Request("GET", server.url)).body


def untrusted(make: MakeTransport, tls: TlsSettings, pair: Pair) -> str:
    """What the NetworkError says that a server with this certificate leads to."""
    with RawServer(keep_alive(answer(b"x")), tls=pair.server_context()) as server:
        with pytest.raises(NetworkError) as caught:
            make(tls).send(Request("GET", f"{server.url}/?secret", {"Authorization": "secret"}))
        assert [] == server.requests
    text = str(caught.value)
    assert text.startswith(f"cannot reach {server.url}: its certificate is not trusted (")
    assert text.endswith("check ServerCertificate, the host name and this device's clock")
    assert "secret" not in text
    return text


def test_unknown_authority(authority: Authority, make_transport: MakeTransport) -> None:
    """A server of an unknown authority gets no request."""
    assert "unable to get local issuer certificate" in untrusted(make_transport, TlsSettings(), authority.good)


def test_wrong_host(authority: Authority, make_transport: MakeTransport) -> None:
    """A certificate for another host gets no request."""
    text = untrusted(make_transport, trusting(authority), authority.issue("other.example"))
    assert "IP address mismatch" in text


def test_expired(authority: Authority, make_transport: MakeTransport) -> None:
    """An expired certificate gets no request."""
    pair = authority.issue("127.0.0.1", start=NOW - 3 * DAY, end=NOW - 2 * DAY)
    assert "certificate has expired" in untrusted(make_transport, trusting(authority), pair)


def test_not_yet_valid(authority: Authority, make_transport: MakeTransport) -> None:
    """A certificate that is not valid yet gets no request: a wrong clock never disables the check."""
    pair = authority.issue("127.0.0.1", start=NOW + DAY, end=NOW + 2 * DAY)
    assert "certificate is not yet valid" in untrusted(make_transport, trusting(authority), pair)


@pytest.mark.parametrize("name", ["127.0.0.1", "other.example"])
def test_skip_verify(authority: Authority, make_transport: MakeTransport, name: str) -> None:
    """With SkipVerify any server will do, without a warning for each request."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.issue(name).server_context()) as server:
        transport = make_transport(TlsSettings(verify=False))
        assert [b"x", b"x"] == [transport.send(Request("GET", server.url)).body for _ in range(2)]


def test_client_certificate(authority: Authority, make_transport: MakeTransport) -> None:
    """A server that demands a client certificate gets the configured one."""
    context = authority.good.server_context(client_ca=authority.certificate)
    device = authority.issue("device")
    with RawServer(keep_alive(answer(b"x")), tls=context) as server:
        tls = TlsSettings(ca_file=authority.certificate, certificate=device.certificate, key=device.key)
        assert b"x" == make_transport(tls).send(Request("GET", server.url)).body


def test_client_certificate_missing(authority: Authority, make_transport: MakeTransport) -> None:
    """A server that demands a client certificate and gets none leads to a NetworkError."""
    context = authority.good.server_context(client_ca=authority.certificate)
    with RawServer(keep_alive(answer(b"x")), tls=context) as server:
        with pytest.raises(NetworkError, match=r"TLS failed|the connection was reset"):
            make_transport(trusting(authority)).send(Request("GET", server.url))
        assert [] == server.requests


def test_old_tls_is_refused(authority: Authority, make_transport: MakeTransport) -> None:
    """Nothing older than TLS 1.2 is spoken."""
    assert ssl.TLSVersion.TLSv1_2 == tls_context(TlsSettings()).minimum_version


def _eager(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(answer(b"speak plainly", status=400))
    connection.recv(65536)


def test_https_to_a_plain_port(authority: Authority, make_transport: MakeTransport) -> None:
    """https to a port that speaks plain http is a NetworkError that says that TLS failed."""
    with RawServer(_eager) as server, pytest.raises(NetworkError, match="TLS failed"):
        make_transport().send(Request("GET", f"https://127.0.0.1:{server.port}"))


def _mute(server: RawServer, connection: socket.socket) -> None:
    server.ended.wait(10)


def test_handshake_that_stalls(make_transport: MakeTransport) -> None:
    """A server that accepts the connection and then says nothing is given up in time."""
    began = time.monotonic()
    with RawServer(_mute) as server, pytest.raises(NetworkError, match="it did not answer in time"):
        make_transport(connect=0.4).send(Request("GET", f"https://127.0.0.1:{server.port}"))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "script",
    [silent, drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"", seconds=9)],
    ids=["in the header", "in the body"],
)
def test_interrupt(authority: Authority, make_transport: MakeTransport, script: Script) -> None:
    """An interrupt ends a blocked read over TLS at once."""
    began = time.monotonic()
    transport = make_transport(trusting(authority), idle=20, total=20)
    timer = threading.Timer(0.3, transport.interrupt)
    timer.start()
    with RawServer(script, tls=authority.good.server_context()) as server, pytest.raises(NetworkError):
        transport.send(Request("GET", server.url))
    timer.join()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("first", ["https:", "HTTPS:"])
def test_redirect_to_plain_http(authority: Authority, make_transport: MakeTransport, first: str) -> None:
    """A download never goes from https to http."""
    with RawServer(keep_alive(answer(b"x"))) as plain:
        script = keep_alive(answer(b"", f"Location: {plain.url}/", status=302))
        with (
            RawServer(script, tls=authority.good.server_context()) as server,
            pytest.raises(NetworkError, match=r"cannot follow the redirect of .*: it leads from https to http"),
        ):
            make_transport(trusting(authority)).open(server.url.replace("https:", first), {})
        assert 0 == plain.connections


def test_redirect_to_https(authority: Authority, make_transport: MakeTransport) -> None:
    """A download may go from http to https, however the scheme is written."""
    with RawServer(keep_alive(answer(b"x")), tls=authority.good.server_context()) as server:
        target = server.url.replace("https:", "HTTPS:")
        with RawServer(keep_alive(answer(b"", f"Location: {target}/", status=302))) as plain:
            assert 200 == make_transport(trusting(authority)).open(plain.url, {}).status


def test_truncated_over_tls(authority: Authority, make_transport: MakeTransport) -> None:
    """An answer that is cut off without a word is not taken for whole."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    with RawServer(script, tls=authority.good.server_context()) as server, pytest.raises(NetworkError):
        make_transport(trusting(authority)).send(Request("GET", server.url))


def _encrypted(pair: Pair) -> Path:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
    path = pair.key.with_suffix(".encrypted")
    scheme = serialization.BestAvailableEncryption(b"a pass phrase")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, scheme))
    return path


def _garbage(path: Path) -> Path:
    path.write_text("garbage")
    return path


UNUSABLE: dict[str, tuple[str, Callable[[Authority, Path], TlsSettings]]] = {
    "authority missing": ("ServerCertificate", lambda a, p: TlsSettings(ca_file=p / "no.pem")),
    "authority garbage": ("ServerCertificate", lambda a, p: TlsSettings(ca_file=_garbage(p / "x.pem"))),
    "authority empty": ("ServerCertificate", lambda a, p: TlsSettings(ca_file=Path("/dev/null"))),
    "authority is a key": ("ServerCertificate", lambda a, p: TlsSettings(ca_file=a.good.key)),
    "certificate missing": (
        "HttpsClient.Certificate",
        lambda a, p: TlsSettings(certificate=p / "no.pem", key=a.good.key),
    ),
    "certificate garbage": (
        "HttpsClient.Certificate",
        lambda a, p: TlsSettings(certificate=_garbage(p / "x.pem"), key=a.good.key),
    ),
    "key missing": (
        "HttpsClient.Certificate",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=p / "no.pem"),
    ),
    "key garbage": (
        "HttpsClient.Certificate",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=_garbage(p / "x.pem")),
    ),
    "key of another": (
        "HttpsClient.Certificate",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=a.issue("other").key),
    ),
    "key encrypted": (
        "HttpsClient.Certificate",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=_encrypted(a.good)),
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_files(authority: Authority, tmp_path: Path, name: str) -> None:
    """A certificate or key file that can't be used is a ConfigError that names the key of the configuration."""
    key, settings = UNUSABLE[name]
    with pytest.raises(ConfigError, match=rf"^{key}: cannot load .*; it must be a readable file in PEM form$"):
        tls_context(settings(authority, tmp_path))
