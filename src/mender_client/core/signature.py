"""Parsing of public keys, and conversion between the two forms of ECDSA signatures.

The crypto back ends use DER; Artifacts contain r and s concatenated, but some tools write DER. The kind of a key is
determined before it is passed to a back end, so that both back ends accept and refuse the same keys.
"""

from __future__ import annotations

import base64
import enum
import re

from mender_client.dataclass import dataclass

from .devicekey import UnreadableKeyError

_HALF_BYTES = 32
"""The size of r and of s for P-256."""
_INTEGER, _BIT_STRING, _SEQUENCE = 0x02, 0x03, 0x30
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END ([A-Z0-9 ]+)-----", re.DOTALL)


class KeyKind(enum.Enum):
    """The kinds of key with which Artifacts are signed (protocol: Artifact format, manifest.sig)."""

    RSA = "RSA"
    ECDSA_P256 = "ECDSA P-256"


_ALGORITHMS = {
    bytes.fromhex("06092a864886f70d0101010500"): KeyKind.RSA,
    bytes.fromhex("06072a8648ce3d020106082a8648ce3d030107"): KeyKind.ECDSA_P256,
}
"""The AlgorithmIdentifier of a SubjectPublicKeyInfo, without its outer tag (RFC 3279, RFC 5480)."""


@dataclass(frozen=True)
class PublicKey:
    """A public key that verifies the signatures of Artifacts.

    Args:
        pem: the key alone, PEM SubjectPublicKeyInfo.
        kind: its kind.
    """

    pem: bytes
    kind: KeyKind


def parse_public_key(text: bytes) -> PublicKey:
    """Find the public key in the content of a PEM file; text around it is ignored.

    Whether its numbers are valid is left to the back end.

    Raises:
        UnreadableKeyError: there is none, there are several, or it is of another kind.
    """
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise UnreadableKeyError("it contains no PEM block")
    if len(blocks) > 1:
        raise UnreadableKeyError("it contains several PEM blocks", "put each key into a file of its own")
    label, content, end = blocks[0]
    if label != b"PUBLIC KEY" or end != label:
        raise UnreadableKeyError(f"it contains a {label.decode('ascii').lower()}")
    try:
        der = base64.b64decode(b"".join(content.split()), validate=True)
        kind = _kind_of(der)
    except ValueError as error:
        raise UnreadableKeyError("it is damaged") from error
    if kind is None:
        kinds = " nor ".join(kind.value for kind in KeyKind)
        raise UnreadableKeyError(f"the key is neither {kinds}, and Artifacts are signed with no other kind")
    return PublicKey(b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n", kind)


def _kind_of(der: bytes) -> KeyKind | None:
    info, rest = _take(der, _SEQUENCE)
    algorithm, key = _take(info, _SEQUENCE)
    _, after = _take(key, _BIT_STRING)
    if rest or after:
        raise ValueError("something follows the key")
    return _ALGORITHMS.get(algorithm)


def der_forms(signature: bytes) -> tuple[bytes, ...]:
    """The possible DER forms of an ECDSA P-256 signature whose form is unknown.

    Args:
        signature: r and s of 32 bytes each, or DER. A signature of 64 bytes can be either, though it is rarely DER.
    """
    if len(signature) != 2 * _HALF_BYTES:
        return (signature,)
    der = _element(_SEQUENCE, _integer(signature[:_HALF_BYTES]) + _integer(signature[_HALF_BYTES:]))
    return (der, signature) if signature[0] == _SEQUENCE else (der,)


def raw_form(der: bytes) -> bytes:
    """Convert an ECDSA P-256 signature from DER to the form used in an Artifact: r and s of 32 bytes each.

    Raises:
        ValueError: it is not a P-256 signature in DER.
    """
    content, rest = _take(der, _SEQUENCE)
    r, content = _take(content, _INTEGER)
    s, content = _take(content, _INTEGER)
    if rest or content:
        raise ValueError("something follows the signature")
    try:
        return b"".join(int.from_bytes(number, "big").to_bytes(_HALF_BYTES, "big") for number in (r, s))
    except OverflowError as error:
        raise ValueError("the signature is too long for P-256") from error


def _take(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the first DER element, and the bytes that follow it."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("another element was expected")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("an element is truncated")
    return data[start : start + length], data[start + length :]


def _integer(number: bytes) -> bytes:
    """Encode a non-negative integer: as short as possible, with a leading zero byte if the sign bit would be set."""
    short = number.lstrip(b"\0")
    return _element(_INTEGER, b"\0" + short if not short or short[0] & 0x80 else short)


def _element(tag: int, content: bytes) -> bytes:
    """Encode a DER element with a length in the short form, which is enough for P-256."""
    return bytes((tag, len(content))) + content
