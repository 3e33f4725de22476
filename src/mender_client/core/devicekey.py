"""The encoded device key: its type, its fingerprint, and the parsing of private key files.

A file is parsed here before it is passed to a crypto back end, so that both back ends accept and refuse the same
files, with the same messages.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import re

from mender_client.dataclass import dataclass, field


class KeyType(enum.Enum):
    """The types of device key that a server supports (protocol: Authentication)."""

    RSA = "rsa"
    ECDSA = "ecdsa"
    ED25519 = "ed25519"

    @property
    def title(self) -> str:
        """Its name in messages."""
        return {KeyType.RSA: "RSA", KeyType.ECDSA: "ECDSA", KeyType.ED25519: "Ed25519"}[self]


_ALGORITHMS = {
    bytes.fromhex("06092a864886f70d010101"): KeyType.RSA,
    bytes.fromhex("06072a8648ce3d0201"): KeyType.ECDSA,
    bytes.fromhex("06032b6570"): KeyType.ED25519,
}
"""The object identifier near the front of a SubjectPublicKeyInfo (RFC 3279, RFC 5480, RFC 8410)."""
_CURVES = (
    bytes.fromhex("06052b81040021"),  # P-224
    bytes.fromhex("06082a8648ce3d030107"),  # P-256
    bytes.fromhex("06052b81040022"),  # P-384
    bytes.fromhex("06052b81040023"),  # P-521
)
"""The named curves that servers support; they answer all others with 400."""
_FRONT_BYTES = 24

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_END = re.compile(rb"-----END ([A-Z0-9 ]+)-----")
_ENCRYPTED = b"ENCRYPTED PRIVATE KEY"
_USABLE = (b"PRIVATE KEY", _ENCRYPTED, b"RSA PRIVATE KEY", b"EC PRIVATE KEY")
_OTHER_FORMS = {
    b"OPENSSH PRIVATE KEY": ("it is in OpenSSH's format", "convert a copy with 'ssh-keygen -p -m PKCS8 -f FILE'"),
    b"TSS2 PRIVATE KEY": ("the key is inside a TPM", "specify it as a pkcs11: URI"),
}


class UnreadableKeyError(ValueError):
    """A text contains no usable key.

    Args:
        reason: why, as part of a message.
        remedy: what to do, if that depends on the reason.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class PrivatePem:
    """The private key in a file.

    Attributes:
        pem: the PEM block of the key alone: PKCS#1, SEC1 or PKCS#8.
        is_encrypted: whether it is protected by a passphrase.
    """

    pem: bytes = field(repr=False)
    is_encrypted: bool


def key_type(public_key_pem: str) -> KeyType | None:
    """The type of a public key (PEM SubjectPublicKeyInfo), or None if it is of another type."""
    front = _der(public_key_pem)[:_FRONT_BYTES]
    return next((kind for identifier, kind in _ALGORITHMS.items() if identifier in front), None)


def find_key_fault(public_key_pem: str) -> str:
    """Why no server accepts this key; empty if servers do."""
    kind = key_type(public_key_pem)
    if kind is None:
        return "it is neither an RSA, an ECDSA nor an Ed25519 key"
    if kind is KeyType.ECDSA and not any(curve in _der(public_key_pem)[:_FRONT_BYTES] for curve in _CURVES):
        return "its curve is none of P-224, P-256, P-384 and P-521, and servers accept no other"
    return ""


def fingerprint(public_key_pem: str) -> str:
    """SHA-256 of the key in DER form, in hexadecimal: what ``openssl pkey -pubin -outform DER | sha256sum`` prints."""
    return hashlib.sha256(_der(public_key_pem)).hexdigest()


def parse_private_key(text: bytes) -> PrivatePem:
    """Find the private key in the content of a PEM file; certificates and parameters are ignored.

    Whether its numbers are valid is left to the back end.

    Raises:
        UnreadableKeyError: there is none, there are several, or the format isn't supported.
    """
    if not text.strip(b"\0 \t\r\n"):
        raise UnreadableKeyError("it is empty")
    blocks = _blocks(text)
    if not blocks:
        raise UnreadableKeyError("it contains no PEM block")
    private = [block for block in blocks if block[0].endswith(b"PRIVATE KEY")]
    if not private:
        raise UnreadableKeyError(f"it contains a {blocks[0][0].decode('ascii').lower()} and no private key")
    if len(private) > 1:
        raise UnreadableKeyError(f"it contains {len(private)} private keys", "put each key into a file of its own")
    label, lines = private[0]
    if label not in _USABLE:
        raise UnreadableKeyError(*_OTHER_FORMS.get(label, ("it is neither an RSA, an ECDSA nor an Ed25519 key",)))
    is_encrypted = label == _ENCRYPTED or any(line.startswith(b"Proc-Type:") for line in lines)
    pem = b"\n".join((b"-----BEGIN " + label + b"-----", *lines, b"-----END " + label + b"-----", b""))
    return PrivatePem(pem, is_encrypted)


def _blocks(text: bytes) -> list[tuple[bytes, list[bytes]]]:
    """The PEM blocks of a file: label and lines."""
    blocks: list[tuple[bytes, list[bytes]]] = []
    is_open = False
    for line in (one.strip() for one in text.splitlines()):
        if begin := _BEGIN.fullmatch(line):
            if is_open:
                break
            blocks.append((begin[1], []))
            is_open = True
        elif end := _END.fullmatch(line):
            if not is_open or end[1] != blocks[-1][0]:
                raise UnreadableKeyError("it is damaged: the beginning and the end of a PEM block don't match")
            is_open = False
        elif is_open:
            blocks[-1][1].append(line)
    if is_open:
        raise UnreadableKeyError("it is truncated: a PEM block has no end")
    return blocks


def _der(pem: str) -> bytes:
    lines = [line for line in pem.splitlines() if line and not line.startswith("-----")]
    try:
        return base64.b64decode("".join(lines), validate=True)
    except (binascii.Error, ValueError):
        return b""
