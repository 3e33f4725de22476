"""Public keys and ECDSA signatures as bytes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from mender_client.core.signature import KeyKind, der_forms, parse_public_key, raw_form

DATA = Path(__file__).parents[1] / "data" / "artifacts"
RSA = (DATA / "rsa3072.pub").read_bytes()
P256 = (DATA / "ecdsa.pub").read_bytes()
NUMBERS = [1, 0x7F, 0x80, 0xFF, 2**248, 2**255 - 1, 2**255, 2**256 - 1]


def block(label: str, der: bytes = b"\x30\x00") -> bytes:
    """Wrap bytes in PEM."""
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n".encode()


@pytest.mark.parametrize(("text", "kind"), [(RSA, KeyKind.RSA), (P256, KeyKind.ECDSA_P256)])
@pytest.mark.parametrize("form", ["as it is", "CRLF", "text around it"])
def test_public_keys(text: bytes, kind: KeyKind, form: str) -> None:
    """The key is found in its file despite other line endings and surrounding text, and is normalised."""
    given = {"as it is": text, "CRLF": text.replace(b"\n", b"\r\n"), "text around it": b"A key\n" + text + b"!\n"}[form]
    key = parse_public_key(given)
    assert (kind, b"".join(text.split())) == (key.kind, b"".join(key.pem.split()))


SPKI = base64.b64decode(b"".join(P256.splitlines()[1:-1]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "it contains no PEM block"),
        (b"\xff\x00 garbage", "it contains no PEM block"),
        (RSA[:200], "it contains no PEM block"),
        (RSA + P256, "it contains several PEM blocks"),
        (block("PRIVATE KEY"), "it contains a private key"),
        (block("CERTIFICATE"), "it contains a certificate"),
        (RSA.replace(b"END PUBLIC", b"END PRIVATE"), "it contains a public key"),
        (RSA.replace(b"MIIB", b"M!IB"), "it is damaged"),
        (block("PUBLIC KEY", b""), "it is damaged"),
        (block("PUBLIC KEY", SPKI[:-1]), "it is damaged"),
        (block("PUBLIC KEY", SPKI + b"\0"), "it is damaged"),
        (block("PUBLIC KEY", b"\x30\x08\x30\x02\x05\x00\x03\x02\x00\x00"), "neither RSA nor ECDSA P-256"),
    ],
)
def test_what_is_no_public_key(text: bytes, reason: str) -> None:
    """Anything but a single public key of a supported type is refused, with the reason."""
    with pytest.raises(ValueError, match=reason):
        parse_public_key(text)


@pytest.mark.parametrize("r", NUMBERS)
@pytest.mark.parametrize("s", NUMBERS)
def test_both_forms_of_ecdsa(r: int, s: int) -> None:
    """A raw signature, r followed by s, is converted to the DER that the library writes, and back."""
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    der = encode_dss_signature(r, s)
    assert der == der_forms(raw)[0]
    assert raw == raw_form(der)
    if len(der) != 64:
        assert (der,) == der_forms(der)


def test_a_form_that_can_t_be_told() -> None:
    """A signature of 64 bytes that could be DER is tried in both forms."""
    der = encode_dss_signature(2**231 - 1, 2**231 - 1)
    assert 64 == len(der)
    raw, itself = der_forms(der)
    assert der == itself
    numbers = (int.from_bytes(der[:32], "big"), int.from_bytes(der[32:], "big"))
    assert numbers == decode_dss_signature(raw)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        encode_dss_signature(2**256, 1),
        encode_dss_signature(1, 1) + b"\0",
        encode_dss_signature(1, 1)[:-1],
        b"\x30\x81",
        b"\x30\x09" + b"\x02\x01\x01" * 3,
    ],
)
def test_what_is_no_signature_of_p256(der: bytes) -> None:
    """Anything else raises an error instead of becoming another signature."""
    with pytest.raises(ValueError, match=r"."):
        raw_form(der)
