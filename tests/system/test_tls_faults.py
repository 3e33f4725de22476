"""Common TLS faults over real sockets: the error names the cause and the remedy, and no server gets the request."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from mender_client.core.wire.messages import Request
from mender_client.errors import NetworkError
from mender_client.system.clockevidence import ClockCheck
from mender_client.system.tls import TlsSettings

from .authority import DAY, NOW, Authority
from .conftest import MakeTransport
from .rawserver import RawServer, answer, keep_alive, raw


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that the operator may or may not trust."""
    return Authority(tmp_path / "authority")


def refused(
    make: MakeTransport, tls: TlsSettings, context: ssl.SSLContext, *, clock_check: ClockCheck | None = None
) -> tuple[str, str]:
    """Kind and text of the NetworkError that a server with this context causes; it may only be asked for its time."""
    with RawServer(keep_alive(answer(b"x")), tls=context) as server:
        with pytest.raises(NetworkError) as caught:
            make(tls, clock_check=clock_check).send(
                Request("GET", f"{server.url}/?secret", {"Authorization": "secret"})
            )
        assert not [request for request in server.requests if not request.startswith(b"HEAD / ")]
    text = str(caught.value)
    assert text.startswith(f"cannot reach {server.url}: ")
    assert "secret" not in text
    return caught.value.kind, text.partition(f"{server.url}: ")[2]


def trusting(authority: Authority) -> TlsSettings:
    """Settings whose ServerCertificate is that of this authority."""
    return TlsSettings(ca_file=authority.certificate)


def test_unknown_authority(authority: Authority, make_transport: MakeTransport) -> None:
    """For a certificate of an unknown authority, the error recommends ServerCertificate."""
    assert (
        "certificate-unknown",
        "its certificate is not trusted (unable to get local issuer certificate): its issuer is unknown; set "
        "ServerCertificate to the certificate of the CA that issued it [TLS02]",
    ) == refused(make_transport, TlsSettings(), authority.good.server_context())


def test_self_signed(authority: Authority, make_transport: MakeTransport) -> None:
    """A self-signed certificate is reported as such."""
    kind, text = refused(make_transport, TlsSettings(), authority.self_signed("127.0.0.1").server_context())
    assert "certificate-self-signed" == kind
    assert text.endswith("it is self-signed; if you trust it, add it to ServerCertificate [TLS01]")


def test_wrong_host(authority: Authority, make_transport: MakeTransport) -> None:
    """For a certificate for another host, the error recommends checking the host name."""
    kind, text = refused(make_transport, trusting(authority), authority.issue("other.example").server_context())
    assert "certificate-host" == kind
    assert "certificate is not valid for '127.0.0.1'): it is for another host" in text
    assert text.endswith("check the host name in the address, or issue a certificate for that host [TLS03]")


def test_expired(authority: Authority, make_transport: MakeTransport) -> None:
    """For an expired certificate, the error recommends renewing it."""
    pair = authority.issue("127.0.0.1", start=NOW - 3 * DAY, end=NOW - 2 * DAY)
    kind, text = refused(make_transport, trusting(authority), pair.server_context())
    assert "certificate-expired" == kind
    assert "(certificate has expired); renew the server's certificate, or the CA certificate" in text


def test_not_yet_valid(authority: Authority, make_transport: MakeTransport) -> None:
    """For a certificate that is not yet valid, which is refused, the error recommends checking the clock."""
    pair = authority.issue("127.0.0.1", start=NOW + DAY, end=NOW + 2 * DAY)
    kind, text = refused(make_transport, trusting(authority), pair.server_context())
    assert "certificate-early" == kind
    assert "(certificate is not yet valid); check this device's clock, then the server's certificate" in text


def test_wrong_clock_by_a_file(authority: Authority, make_transport: MakeTransport, tmp_path: Path) -> None:
    """If a file of the client has a time in the future, the clock is blamed, and the certificate is still refused."""
    pair = authority.issue("127.0.0.1", start=NOW + DAY, end=NOW + 2 * DAY)
    journal = tmp_path / "journal.json"
    journal.touch()
    moment = (NOW + DAY).timestamp()
    os.utime(journal, (moment, moment))
    kind, text = refused(
        make_transport, trusting(authority), pair.server_context(), clock_check=ClockCheck([tmp_path / "none", journal])
    )
    assert "clock" == kind
    assert f"the client wrote a file at {NOW + DAY:%Y-%m-%d %H:%M} UTC; set the clock" in text


def test_wrong_clock_by_the_server(authority: Authority, make_transport: MakeTransport) -> None:
    """If a verified server has reported another time, the clock is blamed for a certificate that seems expired."""
    said = datetime.now(timezone.utc) - timedelta(days=3)
    clock_check = ClockCheck()
    date = f"Date: {format_datetime(said, usegmt=True)}"
    with RawServer(raw(answer(b"x", date)), tls=authority.good.server_context()) as server:
        make_transport(trusting(authority), clock_check=clock_check).send(Request("GET", server.url))
    pair = authority.issue("127.0.0.1", start=NOW - 3 * DAY, end=NOW - 2 * DAY)
    kind, text = refused(make_transport, trusting(authority), pair.server_context(), clock_check=clock_check)
    assert "clock" == kind
    assert f"but the server says that it is {said:%Y-%m-%d %H:%M} UTC; set the clock" in text


def test_wrong_clock_by_an_unproven_server(authority: Authority, make_transport: MakeTransport) -> None:
    """Without other evidence, a server whose certificate seems expired is asked for the time, and sent nothing else."""
    said = datetime.now(timezone.utc) - timedelta(days=3)
    script = keep_alive(answer(b"", f"Date: {format_datetime(said, usegmt=True)}"))
    pair = authority.issue("127.0.0.1", start=NOW - 4 * DAY, end=NOW - 2 * DAY)
    tls = TlsSettings(ca_file=authority.certificate)
    with RawServer(script, tls=pair.server_context()) as server, pytest.raises(NetworkError) as caught:
        make_transport(tls).send(Request("GET", f"{server.url}/?secret", {"Authorization": "secret"}))
    assert "clock" == caught.value.kind
    assert f"but the server says that it is {said:%Y-%m-%d %H:%M} UTC; set the clock" in str(caught.value)
    head = f"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
    assert [head.encode()] == server.requests


def test_look(authority: Authority, make_transport: MakeTransport) -> None:
    """A server's certificates can be retrieved even if expired and for another host; an invalid date becomes None."""
    pair = authority.issue("other.example", start=NOW - 3 * DAY, end=NOW - 2 * DAY)
    pair.certificate.write_bytes(pair.certificate.read_bytes() + authority.certificate.read_bytes())
    with RawServer(keep_alive(answer(b"", "Date: never")), tls=pair.server_context()) as server:
        peer = make_transport().look(f"{server.url}/?secret")
    assert ["other.example", "The test authority authority"] == [one.subject for one in peer.certificates]
    assert [int((NOW - 2 * DAY).timestamp()), None] == [
        int(peer.certificates[0].not_after.timestamp()),
        peer.date,
    ]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_refused(
    authority: Authority, make_transport: MakeTransport, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """If the server doesn't trust the device's certificate, the error says so."""
    context = authority.good.server_context(client_ca=authority.certificate)
    context.maximum_version = version
    stranger = Authority(tmp_path / "stranger").issue("device")
    tls = TlsSettings(ca_file=authority.certificate, certificate=stranger.certificate, key=stranger.key)
    kind, text = refused(make_transport, tls, context)
    assert "client-certificate" == kind
    assert text.startswith("the server refuses this device's client certificate, or asks for one (")
    assert "UNKNOWN_CA" in text


def test_client_certificate_missing(authority: Authority, make_transport: MakeTransport) -> None:
    """If the server requires a client certificate and gets none, the error recommends HttpsClient.Certificate."""
    context = authority.good.server_context(client_ca=authority.certificate)
    kind, text = refused(make_transport, trusting(authority), context)
    assert "client-certificate" == kind
    assert "check HttpsClient.Certificate" in text


def test_client_certificate_missing_before_tls_1_3(authority: Authority, make_transport: MakeTransport) -> None:
    """TLS 1.2 has no alert for a missing client certificate, so the error names it as a possible cause."""
    context = authority.good.server_context(client_ca=authority.certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    kind, text = refused(make_transport, trusting(authority), context)
    assert "tls" == kind
    assert "set HttpsClient.Certificate if the server asks for one" in text


def _eager(server: RawServer, connection: socket.socket) -> None:
    connection.sendall(answer(b"speak plainly", status=400))
    connection.recv(65536)


def _alert(code: int) -> Callable[[RawServer, socket.socket], None]:
    def script(server: RawServer, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(bytes([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, code]))
        connection.recv(65536)

    return script


def _closing(server: RawServer, connection: socket.socket) -> None:
    connection.recv(65536)


HANDSHAKES = {
    "plain http": (_eager, "no-tls", "check scheme and port: it may speak plain http on this port"),
    "no common version": (
        _alert(70),
        "tls-version",
        "enable TLS 1.2 or newer on the server",
    ),
    "no common cipher": (_alert(40), "tls", "set HttpsClient.Certificate"),
    "some other alert": (_alert(80), "tls", "TLS failed ("),
    "closes": (_closing, "reset", "connection was"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_handshakes(make_transport: MakeTransport, name: str) -> None:
    """The error for a failed handshake names the cause."""
    script, kind, said = HANDSHAKES[name]
    with RawServer(script) as server, pytest.raises(NetworkError) as caught:
        make_transport().send(Request("GET", f"https://127.0.0.1:{server.port}"))
    assert kind == caught.value.kind
    assert said in str(caught.value)


def test_http_to_a_tls_port(authority: Authority, make_transport: MakeTransport) -> None:
    """For plain http to a TLS port, the error recommends https."""
    with (
        RawServer(raw(b"\x15\x03\x01\x00\x02\x02\x46")) as server,
        pytest.raises(NetworkError, match="it speaks TLS on this port; write https instead of http") as caught,
    ):
        make_transport().send(Request("GET", server.url))
    assert "no-tls" == caught.value.kind
