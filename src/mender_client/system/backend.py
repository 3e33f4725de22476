"""What the crypto back ends have in common."""

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
    """A private key as a back end takes it: one PEM block; the file is for messages."""

    file: Path
    pem: bytes = field(repr=False)
    passphrase: bytes | None = field(default=None, repr=False)


class UnusableKeyError(KeyFileError):
    """A private key that can't be used; without a remedy where that depends on the key's purpose."""

    def __init__(self, key: Path, reason: str, remedy: str = "") -> None:
        super().__init__("KEY01", f"cannot use the key {key}: {reason}", remedy=remedy)
        self.reason = reason


class Backend(Protocol):
    """What a crypto back end does. For a private key that it can't use it raises ``UnusableKeyError``."""

    def generate(self, kind: KeyType, passphrase: bytes | None = None) -> bytes:
        """A new private key, PEM PKCS#8: RSA of 3072 bits, ECDSA on P-256, or Ed25519; encrypted with a passphrase."""

    def public_key_pem(self, key: PrivateKey) -> str:
        """The public key of a private key, PEM SubjectPublicKeyInfo."""

    def sign(self, key: PrivateKey, message: bytes) -> bytes:
        """RSA PKCS#1 v1.5 or ECDSA (DER) with SHA-256, or Ed25519, by the type of the key."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the key made the signature (an ECDSA signature in DER).

        Raises:
            KeyFileError: the public key can't be used.
        """


def unreadable(key: PrivateKey) -> UnusableKeyError:
    """A private key that a back end can't read."""
    if key.passphrase is None:
        return UnusableKeyError(key.file, "it is damaged, or of a type that no server supports")
    remedy = "pass the right passphrase with --passphrase-file FILE"
    return UnusableKeyError(key.file, "the passphrase is wrong, or the key is damaged", remedy)


def broken_public_key() -> KeyFileError:
    """A public key that a back end can't read."""
    text = "cannot use the public key: it is not a public key in PEM form"
    return KeyFileError("KEY08", text, remedy="replace it with the right file")
