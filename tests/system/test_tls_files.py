"""The operator's certificates: files and directories, faults at startup, renewal without a restart."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from mender_client.core.devicekey import KeyType
from mender_client.core.wire.messages import Request
from mender_client.errors import ConfigError, NetworkError
from mender_client.system.cryptolib import CryptographyBackend
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsRules, TlsSettings

from .authority import DAY, NOW, Authority, Pair
from .conftest import MakeTransport
from .rawserver import RawServer, answer, raw
from .test_tls import of_the_system


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The operator's authority."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    """Another authority."""
    return Authority(tmp_path / "other")


def is_trusted(transport: HttpTransport, one: Authority | Pair) -> bool:
    """Whether a server with this certificate, or with one of this authority, is sent a request."""
    pair = one if isinstance(one, Pair) else one.good
    with RawServer(raw(answer(b"x")), tls=pair.server_context()) as server:
        try:
            transport.send(Request("GET", server.url))
        except NetworkError:
            return False
    return True


def test_several_in_a_file(
    authority: Authority, other: Authority, make_transport: MakeTransport, tmp_path: Path
) -> None:
    """All certificates in a file are trusted."""
    file = tmp_path / "both.pem"
    file.write_bytes(b"a comment\n" + authority.certificate.read_bytes() + other.certificate.read_bytes())
    transport = make_transport(TlsSettings(ca_file=file))
    assert [True, True] == [is_trusted(transport, one) for one in (authority, other)]


def test_directory(
    authority: Authority,
    other: Authority,
    make_transport: MakeTransport,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The *.pem, *.CRT and *.cer files in a directory are trusted, without hashed names; other files are ignored."""
    third, old = (Authority(tmp_path / name) for name in ("third", "old"))
    directory = _directory(tmp_path / "directory")
    (directory / "a.pem").write_bytes(authority.certificate.read_bytes())
    (directory / "b.CRT").write_bytes(other.certificate.read_bytes())
    (directory / "c.cer").write_bytes(_der(third))
    (directory / "d.pem.old").write_bytes(old.certificate.read_bytes())
    (directory / "README").write_text("no certificate")
    transport = make_transport(TlsSettings(ca_file=directory))
    assert [True, True, True, False] == [is_trusted(transport, one) for one in (authority, other, third, old)]
    assert [] == caplog.messages


def test_renewed_authority(
    authority: Authority, other: Authority, make_transport: MakeTransport, tmp_path: Path
) -> None:
    """A replaced file takes effect at the next connection; certificates that it no longer contains are not trusted."""
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
    """A file that becomes unusable causes a single warning, and its previous certificates stay trusted."""
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.certificate.read_bytes())
    transport = make_transport(TlsSettings(ca_file=file))
    file.write_text("half a certif")
    assert [True, True] == [is_trusted(transport, authority) for _ in range(2)]
    complaints = [record.getMessage() for record in caplog.records]
    assert 1 == len(complaints)
    assert complaints[0].startswith("the previously loaded certificates stay in effect: ServerCertificate: ")
    assert f"cannot load {file}: it contains no certificate; " in complaints[0]


def test_renewed_client_certificate(authority: Authority, make_transport: MakeTransport, tmp_path: Path) -> None:
    """A replaced client certificate is used for the next connection."""
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
    """An expired certificate."""
    return authority.issue("127.0.0.1", start=NOW - 3 * DAY, end=NOW - 2 * DAY)


def early(authority: Authority) -> Pair:
    """A certificate that is not yet valid."""
    return authority.issue("127.0.0.1", start=NOW + DAY, end=NOW + 2 * DAY)


@pytest.mark.parametrize("make", [expired, early])
def test_out_of_date(
    authority: Authority,
    other: Authority,
    make_transport: MakeTransport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Authority], Pair],
) -> None:
    """An out-of-date ServerCertificate causes a warning with file, subject and date; the system's CAs stay trusted.

    The server with that certificate is refused.
    """
    of_the_system(monkeypatch, bundle=other.certificate, directory=tmp_path)
    pair = make(authority)
    file = pair.certificate
    transport = make_transport(TlsSettings(ca_file=file))
    assert [False, True] == [is_trusted(transport, one) for one in (pair, other.good)]
    assert 1 == len(caplog.messages)
    assert f"ServerCertificate: the certificate '127.0.0.1' in {file} " in caplog.messages[0]
    assert " UTC; renew the certificate, or set this device's clock [TLS18]" in caplog.messages[0]


def test_some_expired(authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """If a file contains a valid and an expired certificate, only the expired one causes a warning."""
    file = tmp_path / "both.pem"
    file.write_bytes(expired(authority).certificate.read_bytes() + authority.certificate.read_bytes())
    TlsRules(TlsSettings(ca_file=file))
    said = f"the certificate '127.0.0.1' in {file} expired on {NOW - 2 * DAY:%Y-%m-%d %H:%M} UTC; "
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert said in caplog.messages[0]


def test_expired_client_certificate(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """An expired client certificate only causes a warning that names its setting: the server may still accept it."""
    pair = expired(authority)
    TlsRules(TlsSettings(certificate=pair.certificate, key=pair.key))
    assert 1 == len(caplog.messages)
    assert caplog.messages[0].startswith("HttpsClient.Certificate: the certificate '127.0.0.1' in ")


def _der(authority: Authority) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.certificate.read_text())


def test_binary_form(
    authority: Authority, make_transport: MakeTransport, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate in DER form, as in many *.cer files, is trusted like one in PEM form."""
    file = tmp_path / "ca.cer"
    file.write_bytes(_der(authority))
    assert is_trusted(make_transport(TlsSettings(ca_file=file)), authority)
    assert [] == caplog.messages


BAD_NEIGHBOURS: dict[str, Callable[[Authority], bytes]] = {
    "empty": lambda a: b"",
    "text": lambda a: b"no certificate",
    "damaged": lambda a: a.certificate.read_bytes().replace(b"M", b"*", 1),
    "truncated": lambda a: a.certificate.read_bytes()[:200],
    "truncated DER": lambda a: _der(a)[:200],
    "a key": lambda a: a.good.key.read_bytes(),
}


@pytest.mark.parametrize("name", BAD_NEIGHBOURS)
def test_one_bad_file_in_a_directory(
    authority: Authority,
    other: Authority,
    make_transport: MakeTransport,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """The usable files in a directory are trusted; each unusable one is named in a warning."""
    directory = _directory(tmp_path / "directory")
    (directory / "a.pem").write_bytes(BAD_NEIGHBOURS[name](other))
    (directory / "b.pem").write_bytes(authority.certificate.read_bytes())
    (directory / "c.pem").mkdir()
    transport = make_transport(TlsSettings(ca_file=directory))
    said = caplog.messages[:]
    assert [True, False] == [is_trusted(transport, one) for one in (authority, other)]
    assert 2 == len(said)
    assert f"ServerCertificate: cannot load {directory / 'a.pem'}: " in said[0]
    assert f"ServerCertificate: cannot load {directory / 'c.pem'}: " in said[1]


@pytest.mark.parametrize("name", ["damaged", "truncated"])
def test_one_bad_certificate_in_a_file(
    authority: Authority,
    other: Authority,
    make_transport: MakeTransport,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """If a file contains a malformed certificate, the other ones are trusted, and a warning names the file."""
    file = tmp_path / "bundle.pem"
    good = authority.certificate.read_bytes()
    file.write_bytes(BAD_NEIGHBOURS[name](other) + b"\n" + good if name == "damaged" else good + good[:200])
    assert is_trusted(make_transport(TlsSettings(ca_file=file)), authority)
    assert [
        f"ServerCertificate: cannot load all of {file}: it contains a malformed certificate; "
        "remove or replace that certificate [TLS20]"
    ] == caplog.messages


def test_renewed_beside_a_bad_file(
    authority: Authority, other: Authority, make_transport: MakeTransport, tmp_path: Path
) -> None:
    """A file that is added to a directory later is loaded, even if another one was unusable from the start."""
    directory = _directory(tmp_path / "directory")
    (directory / "bad.pem").write_text("garbage")
    transport = make_transport(TlsSettings(ca_file=directory))
    (directory / "new.pem").write_bytes(authority.certificate.read_bytes())
    assert [True, False] == [is_trusted(transport, one) for one in (authority, other)]


def test_client_certificate_renewed_without_authority(
    authority: Authority, make_transport: MakeTransport, tmp_path: Path
) -> None:
    """A renewed client certificate is used even if ServerCertificate was never usable."""
    pair = authority.issue("device")
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    stranger = Authority(tmp_path / "stranger").issue("device")
    certificate.write_bytes(stranger.certificate.read_bytes())
    key.write_bytes(stranger.key.read_bytes())
    settings = TlsSettings(ca_file=tmp_path / "missing.pem", verify=False, certificate=certificate, key=key)
    transport = make_transport(settings)
    context = authority.good.server_context(client_ca=authority.certificate)
    with RawServer(raw(answer(b"x")), tls=context) as server:
        with pytest.raises(NetworkError, match="client certificate"):
            transport.send(Request("GET", server.url))
        key.write_bytes(pair.key.read_bytes())
        certificate.write_bytes(pair.certificate.read_bytes())
        assert b"x" == transport.send(Request("GET", server.url)).body


def _encrypted(pair: Pair) -> Path:
    key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
    path = pair.key.with_suffix(".encrypted")
    scheme = serialization.BestAvailableEncryption(b"a pass phrase")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, scheme))
    return path


def _rsa_key(path: Path) -> Path:
    path.write_bytes(CryptographyBackend().generate(KeyType.RSA))
    return path


def _garbage(path: Path, content: str = "garbage") -> Path:
    path.write_text(content)
    return path


def _damaged(authority: Authority, path: Path) -> Path:
    lines = authority.certificate.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]))
    return path


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


USELESS: dict[str, Callable[[Authority, Path], Path]] = {
    "missing": lambda a, p: p / "no.pem",
    "garbage": lambda a, p: _garbage(p / "x.pem"),
    "damaged": lambda a, p: _damaged(a, p / "x.pem"),
    "empty": lambda a, p: _garbage(p / "x.pem", ""),
    "device": lambda a, p: Path("/dev/null"),
    "a key": lambda a, p: a.good.key,
    "empty directory": lambda a, p: _directory(p / "directory"),
}


@pytest.mark.parametrize("name", USELESS)
def test_useless_authorities(
    authority: Authority,
    other: Authority,
    make_transport: MakeTransport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    """An unusable ServerCertificate causes a warning, and only servers certified by the system's CAs are trusted."""
    of_the_system(monkeypatch, bundle=other.certificate, directory=tmp_path)
    path = USELESS[name](authority, tmp_path)
    transport = make_transport(TlsSettings(ca_file=path))
    assert [False, True] == [is_trusted(transport, one) for one in (authority, other)]
    assert 1 == len(caplog.messages)
    assert caplog.messages[0].startswith(f"ServerCertificate: cannot load {path}: ")


_PEM = "specify a readable file in PEM form"
UNUSABLE: dict[str, tuple[str, str, Callable[[Authority, Path], TlsSettings]]] = {
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
    "key empty": (
        "HttpsClient.Key",
        "it is empty",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=_garbage(p / "x.pem", "")),
    ),
    "key of another": (
        "HttpsClient.Key",
        "it is not the key of the certificate",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=a.issue("other").key),
    ),
    "key of another type": (
        "HttpsClient.Key",
        "it is not the key of the certificate",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=_rsa_key(p / "rsa.key")),
    ),
    "key encrypted": (
        "HttpsClient.Key",
        "it is encrypted with a passphrase; store the key without one",
        lambda a, p: TlsSettings(certificate=a.good.certificate, key=_encrypted(a.good)),
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_files(authority: Authority, tmp_path: Path, name: str) -> None:
    """An unusable client certificate or key causes a ConfigError that names the setting."""
    key, remedy, settings = UNUSABLE[name]
    with pytest.raises(ConfigError) as caught:
        TlsRules(settings(authority, tmp_path))
    assert str(caught.value).startswith(f"{key}: cannot ")
    assert remedy in str(caught.value)
