"""Reading certificates without a library."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.certificate import Certificate, parse_der, parse_pem

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
END = datetime(2051, 6, 7, 8, 9, 10, tzinfo=timezone.utc)
CN, ORGANISATION, COUNTRY = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME


@cache
def make(*name: x509.NameAttribute[str]) -> bytes:
    """A self-signed certificate as DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(name)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(START).not_valid_after(END)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    """DER as PEM."""
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


NAMED = make(x509.NameAttribute(ORGANISATION, "Example"), x509.NameAttribute(CN, "a host"))


def test_fields() -> None:
    """Subject, issuer and both dates are read, in the old time format and in the new one."""
    assert Certificate("a host", "a host", START, END) == parse_der(NAMED)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ((x509.NameAttribute(COUNTRY, "NO"), x509.NameAttribute(ORGANISATION, "Æ")), "NO, Æ"),
        ((x509.NameAttribute(CN, "wide", _ASN1Type.BMPString),), "wide"),
        ((), ""),
    ],
)
def test_names(name: tuple[x509.NameAttribute[str], ...], shown: str) -> None:
    """A name without a common name is shown with all its parts; older string encodings are read too."""
    assert shown == parse_der(make(*name)).subject


def test_pem() -> None:
    """All certificates in a text are found in order; keys and comments between them are skipped."""
    other = make(x509.NameAttribute(CN, "another"))
    text = b"comment\n" + pem(NAMED) + pem(b"key", "PRIVATE KEY") + pem(other, "TRUSTED CERTIFICATE")
    assert ["a host", "another"] == [certificate.subject for certificate in parse_pem(text)]
    assert () == parse_pem(b"")


@pytest.mark.parametrize(
    ("now", "fault"),
    [
        (START - timedelta(seconds=1), "is not valid before 2026-01-02 03:04 UTC"),
        (START, ""),
        (END, ""),
        (END + timedelta(seconds=1), "expired on 2051-06-07 08:09 UTC"),
    ],
)
def test_fault_at(now: datetime, fault: str) -> None:
    """A certificate is valid from its first second to its last."""
    assert fault == parse_der(NAMED).fault_at(now)


@given(st.integers(0, len(NAMED) - 1), st.integers(0, 255), st.integers(0, len(NAMED)))
def test_damaged(at: int, byte: int, length: int) -> None:
    """A damaged or truncated certificate is read or raises ValueError."""
    data = bytearray(NAMED)
    data[at] = byte
    for damaged in (bytes(data), bytes(data[:length])):
        with suppress(ValueError):
            assert isinstance(parse_der(damaged), Certificate)


def test_broken_base64() -> None:
    """Invalid base64 raises the same error as an invalid certificate."""
    with pytest.raises(ValueError, match="it contains a malformed certificate"):
        parse_pem(b"-----BEGIN CERTIFICATE-----\nMIIBA\n-----END CERTIFICATE-----\n")


@given(st.binary(max_size=60))
def test_garbage(data: bytes) -> None:
    """Garbage raises ValueError, also inside PEM."""
    for read in (lambda: parse_der(data), lambda: parse_pem(pem(data))):
        with pytest.raises(ValueError, match="it contains a malformed certificate"):
            read()
