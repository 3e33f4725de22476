"""Types and errors shared by the crypto back ends."""

from __future__ import annotations

from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.core.devicekey import KeyType
from mender_client.dataclass import dataclass, field
from mender_client.errors import KeyFileError

if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

RSA_BITS = 3072


@dataclass(frozen=True)
class PrivateKey:
    """A private key as passed to a back end: one PEM block, and the file for use in messages."""

    file: Path
    pem: bytes = field(repr=False)
    passphrase: bytes | None = field(default=None, repr=False)


class UnusableKeyError(KeyFileError):
    """A private key can't be used; without a remedy if that depends on the purpose of the key."""

    def __init__(self, key: Path, reason: str, remedy: str = "") -> None:
        super().__init__("KEY01", f"cannot use the key {key}: {reason}", remedy=remedy)
        self.reason = reason


class Backend(Protocol):
    """The interface of a crypto back end. It raises ``UnusableKeyError`` for a private key that it can't use."""

    def generate(self, kind: KeyType, passphrase: bytes | None = None) -> bytes:
        """Generate a key as PEM PKCS#8 (RSA-3072, ECDSA on P-256, or Ed25519), encrypted if a passphrase is given."""

    def public_key_pem(self, key: PrivateKey) -> str:
        """The public key of a private key, as PEM SubjectPublicKeyInfo."""

    def sign(self, key: PrivateKey, message: bytes) -> bytes:
        """Sign with RSA PKCS#1 v1.5 or ECDSA (DER), both with SHA-256, or with Ed25519, depending on the key type."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is valid for this key; an ECDSA signature is in DER.

        Raises:
            KeyFileError: the public key can't be used.
        """


def unreadable(key: PrivateKey) -> UnusableKeyError:
    """The error for a private key that a back end can't read."""
    if key.passphrase is None:
        return UnusableKeyError(key.file, "it is damaged, or of a type that no server supports")
    remedy = "pass the right passphrase with --passphrase-file FILE"
    return UnusableKeyError(key.file, "the passphrase is wrong, or the key is damaged", remedy)


def broken_public_key() -> KeyFileError:
    """The error for a public key that a back end can't read."""
    text = "cannot use the public key: it is not a public key in PEM form"
    return KeyFileError("KEY08", text, remedy="replace it with the right file")
