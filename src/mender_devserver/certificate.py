"""The server's certificate: a certificate authority that signs only once, and a certificate for this machine.

The authority's key is discarded after signing, so nobody can issue another certificate that the devices would trust.
Both certificates have the extensions that strict verification requires.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mender_devserver.private import write_private

HOSTS = ("localhost", "127.0.0.1", "::1")
_LIFE = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of the certificate.

    Args:
        authority: the certificate that clients trust (``ServerCertificate``).
        chain: the certificate that the server presents.
        key: the server's key, mode 0600.
    """

    authority: Path
    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """The TLS context of the server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain, self.key)
        return context


def provide_certificate(directory: Path, hosts: Sequence[str] = HOSTS) -> Certificate:
    """Return the certificate in ``directory``; create one unless a valid certificate for these hosts exists.

    Raises:
        ValueError: a host is neither an address nor a possible name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate = Certificate(directory / "authority.pem", directory / "server.pem", directory / "server.key")
    if not _is_good(certificate, hosts):
        _make(certificate, hosts)
    return certificate


def _is_good(certificate: Certificate, hosts: Sequence[str]) -> bool:
    needed = set(_alternative_names(hosts))
    try:
        authority = x509.load_pem_x509_certificate(certificate.authority.read_bytes())
        shown = x509.load_pem_x509_certificate(certificate.chain.read_bytes())
        shown.verify_directly_issued_by(authority)
        certificate.context()
    except (FileNotFoundError, ValueError, InvalidSignature, ssl.SSLError):  # not made yet, or damaged
        return False
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return needed <= set(names) and shown.not_valid_after_utc > datetime.now(timezone.utc)


def _make(certificate: Certificate, hosts: Sequence[str]) -> None:
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, server_name = _name("Mender development authority"), _name("Mender development server")
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _builder(server_name, authority_name, server_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    certificate.chain.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    write_private(certificate.key, _private_pem(server_key))


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host.encode("idna").decode()))
    return names
