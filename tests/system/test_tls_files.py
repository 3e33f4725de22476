"""The operator's certificates: files and directories, faults at the start, renewal without a restart."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mender_client.core.wire import Request
from mender_client.errors import ConfigError, NetworkError
from mender_client.system.tls import TlsSettings, tls_context

from .authority import DAY, NOW, Authority, Pair
from .conftest import MakeTransport
from .rawserver import RawServer, answer, raw


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The operator's authority."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    """Another authority."""
    return Authority(tmp_path / "other")


def is_trusted(transport: object, authority: Authority) -> bool:
    """Whether a server with this authority's certificate gets a request."""
    with RawServer(raw(answer(b"x")), tls=authority.good.server_context()) as server:
        try:
            transport.send(Request("GET", server.url))  # type: ignore[attr-defined]
        except NetworkError:
            return False
    return True


def test_several_in_a_file(
    authority: Authority, other: Authority, make_transport: MakeTransport, tmp_path: Path
) -> None:
    """Every certificate of the file is trusted."""
    file = tmp_path / "both.pem"
    file.write_bytes(b"a comment\n" + authority.certificate.read_bytes() + other.certificate.read_bytes())
    transport = make_transport(TlsSettings(ca_file=file))
    assert [True, True] == [is_trusted(transport, one) for one in (authority, other)]


def test_directory(authority: Authority, other: Authority, make_transport: MakeTransport, tmp_path: Path) -> None:
    """Of a directory every file *.pem, *.crt and *.cer is trusted, without hashed names; others are left alone."""
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "a.pem").write_bytes(authority.certificate.read_bytes())
    (directory / "b.CRT").write_bytes(other.certificate.read_bytes())
    (directory / "README").write_text("no certificate")
    transport = make_transport(TlsSettings(ca_file=directory))
    assert [True, True] == [is_trusted(transport, one) for one in (authority, other)]


def test_renewed_authority(
    authority: Authority, other: Authority, make_transport: MakeTransport, tmp_path: Path
) -> None:
    """A file that was replaced holds for the next connection; what it no longer has is no longer trusted."""
    file = tmp_path / "ca.pem"
    file.write_bytes(other.certificate.read_bytes())
    transport = make_transport(TlsSettings(ca_file=file))
    assert not is_trusted(transport, authority)
    (tmp_path / "new").write_bytes(authority.certificate.read_bytes())
    os.replace(tmp_path / "new", file)
    assert [True, False] == [is_trusted(transport, one) for one in (authority, other)]


def test_renewed_by_something_unusable(
    authority: Authority, make_transport: MakeTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that became unusable is complained about once, and what it held before stays trusted."""
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.certificate.read_bytes())
    transport = make_transport(TlsSettings(ca_file=file))
    file.write_text("half a certif")
    assert [True, True] == [is_trusted(transport, authority) for _ in range(2)]
    complaints = [record.getMessage() for record in caplog.records]
    assert 1 == len(complaints)
    assert complaints[0].startswith("the certificates loaded before stay in force: ServerCertificate: ")
    assert f"cannot load {file}: it holds no certificate; " in complaints[0]


def test_renewed_client_certificate(authority: Authority, make_transport: MakeTransport, tmp_path: Path) -> None:
    """A client certificate that was replaced is shown at the next connection."""
    context = authority.good.server_context(client_ca=authority.certificate)
    mine, stranger = authority.issue("device"), Authority(tmp_path / "stranger").issue("device")
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"

    def install(pair: Pair) -> None:
        key.write_bytes(pair.key.read_bytes())
        certificate.write_bytes(pair.certificate.read_bytes())

    install(stranger)
    transport = make_transport(TlsSettings(ca_file=authority.certificate, certificate=certificate, key=key))
    with RawServer(raw(answer(b"x")), tls=context) as server:
        with pytest.raises(NetworkError, match="client certificate"):
            transport.send(Request("GET", server.url))
        install(mine)
        assert b"x" == transport.send(Request("GET", server.url)).body


def expired(authority: Authority) -> Pair:
    """A certificate whose time is over."""
    return authority.issue("127.0.0.1", start=NOW - 3 * DAY, end=NOW - 2 * DAY)


def early(authority: Authority) -> Pair:
    """A certificate whose time has not come."""
    return authority.issue("127.0.0.1", start=NOW + DAY, end=NOW + 2 * DAY)


def test_all_expired(authority: Authority) -> None:
    """Where every certificate of ServerCertificate has expired, the start fails with file, subject and date."""
    file = expired(authority).certificate
    with pytest.raises(ConfigError) as caught:
        tls_context(TlsSettings(ca_file=file))
    assert (
        f"ServerCertificate: the certificate '127.0.0.1' in {file} expired on "
        f"{NOW - 2 * DAY:%Y-%m-%d %H:%M} UTC; renew the certificate, or set this device's clock [TLS18]"
    ) == str(caught.value)


def test_some_expired(authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where another certificate holds, an expired one is only complained about."""
    file = tmp_path / "both.pem"
    file.write_bytes(expired(authority).certificate.read_bytes() + authority.certificate.read_bytes())
    tls_context(TlsSettings(ca_file=file))
    said = f"the certificate '127.0.0.1' in {file} expired on"
    assert [logging.WARNING] == [record.levelno for record in caplog.records if said in record.getMessage()]


def test_not_valid_yet(authority: Authority) -> None:
    """A certificate that is not valid yet fails the start while the clock seems right."""
    with pytest.raises(ConfigError, match=r"is not valid before .* UTC; renew the certificate, or set this"):
        tls_context(TlsSettings(ca_file=early(authority).certificate))


def test_not_valid_yet_by_a_wrong_clock(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """While the clock is evidently wrong, dates don't end the start: the clock may be set later."""
    tls_context(TlsSettings(ca_file=early(authority).certificate), lambda: "it shows 1970")
    assert "this device's clock is wrong: it shows 1970" in caplog.messages[-1]


def test_expired_client_certificate(authority: Authority) -> None:
    """An expired client certificate fails the start by its own name."""
    pair = expired(authority)
    tls = TlsSettings(certificate=pair.certificate, key=pair.key)
    with pytest.raises(ConfigError, match=r"^HttpsClient\.Certificate: the certificate '127\.0\.0\.1' in .* expired"):
        tls_context(tls)


def _encrypted(pair: Pair) -> Path:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
    path = pair.key.with_suffix(".encrypted")
    scheme = serialization.BestAvailableEncryption(b"a pass phrase")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, scheme))
    return path


def _garbage(path: Path) -> Path:
    path.write_text("garbage")
    return path


def _damaged(authority: Authority, path: Path) -> Path:
    lines = authority.certificate.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]))
    return path


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


_PEM = "name a readable file in PEM form"
UNUSABLE: dict[str, tuple[str, str, Callable[[Authority, Path], TlsSettings]]] = {
    "authority missing": ("ServerCertificate", _PEM, lambda a, p: TlsSettings(ca_file=p / "no.pem")),
    "authority garbage": ("ServerCertificate", _PEM, lambda a, p: TlsSettings(ca_file=_garbage(p / "x.pem"))),
    "authority damaged": ("ServerCertificate", _PEM, lambda a, p: TlsSettings(ca_file=_damaged(a, p / "x.pem"))),
    "authority empty": ("ServerCertificate", _PEM, lambda a, p: TlsSettings(ca_file=Path("/dev/null"))),
    "authority is a key": ("ServerCertificate", _PEM, lambda a, p: TlsSettings(ca_file=a.good.key)),
    "directory empty": (
        "ServerCertificate",
        "the directory holds no file named",
        lambda a, p: TlsSettings(ca_file=_directory(p / "directory")),
    ),
    "certificate missing": (
        "HttpsClient.Certificate",
        _PEM,
        lambda a, p: TlsSettings(certificate=p / "no.pem", key=a.good.key),
    ),
    "certificate garbage": (
        "HttpsClient.Certificate",
        _PEM,
        lambda a, p: TlsSettings(certificate=_garbage(p / "x.pem"), key=a.good.key),
    ),
    "key missing": (
        "HttpsClient.Key",
        _PEM,
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=p / "no.pem"),
    ),
    "key garbage": (
        "HttpsClient.Key",
        _PEM,
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=_garbage(p / "x.pem")),
    ),
    "key of another": (
        "HttpsClient.Key",
        "it is not the key of the certificate",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=a.issue("other").key),
    ),
    "key encrypted": (
        "HttpsClient.Key",
        "it is encrypted with a passphrase; store the key without one",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=_encrypted(a.good)),
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_files(authority: Authority, tmp_path: Path, name: str) -> None:
    """A certificate or key file that can't be used is a ConfigError that names the key of the configuration."""
    key, remedy, settings = UNUSABLE[name]
    with pytest.raises(ConfigError) as caught:
        tls_context(settings(authority, tmp_path))
    assert str(caught.value).startswith(f"{key}: cannot ")
    assert remedy in str(caught.value)
