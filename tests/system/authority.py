"""A certificate authority for tests: valid certificates, and one for each common fault."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key as PEM files."""

    certificate: Path
    key: Path

    def server_context(self, *, client_ca: Path | None = None) -> ssl.SSLContext:
        """The TLS context of a server with this certificate; with a client CA, it requires client certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context


class Authority:
    """A root certificate and the certificates that it signs.

    Args:
        directory: the directory for the files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"The test authority {directory.name}")
        self.certificate = directory / "ca.pem"
        self.certificate.write_bytes(self._root())

    def _root(self) -> bytes:
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key, NOW - 9 * DAY, NOW + 9 * DAY)
        certificate = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def self_signed(self, name: str) -> Pair:
        """A self-signed certificate for a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(name), key, NOW - DAY, NOW + DAY, issuer=_name(name))
        return self._write(f"{name}-self", builder.sign(key, hashes.SHA256()), key)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        start: datetime.datetime,
        end: datetime.datetime,
        *,
        issuer: x509.Name | None = None,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )

    def issue(self, name: str, *, start: datetime.datetime = NOW - DAY, end: datetime.datetime = NOW + DAY) -> Pair:
        """Sign a certificate for a host name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            host: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            host = x509.DNSName(name)
        builder = self._builder(_name(name), key, start, end)
        certificate = builder.add_extension(x509.SubjectAlternativeName([host]), critical=False).sign(
            self._key, hashes.SHA256()
        )
        return self._write(f"{name}-{start:%j%H}-{end:%j%H}", certificate, key)

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    @cached_property
    def good(self) -> Pair:
        """A certificate for 127.0.0.1."""
        return self.issue("127.0.0.1")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
