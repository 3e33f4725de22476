"""The crypto back end that uses the ``cryptography`` package, which is imported on first use."""

from __future__ import annotations

from mender_client import TYPE_CHECKING
from mender_client.core.devicekey import KeyType

from .backend import RSA_BITS, PrivateKey, UnusableKeyError, broken_public_key, unreadable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


class CryptographyBackend:
    """The ``cryptography`` package; see ``backend.Backend``."""

    def generate(self, kind: KeyType, passphrase: bytes | None = None) -> bytes:
        from cryptography.hazmat.primitives import serialization

        protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            protection = serialization.BestAvailableEncryption(passphrase)
        form = serialization.PrivateFormat.PKCS8
        return _generate(kind).private_bytes(serialization.Encoding.PEM, form, protection)

    def public_key_pem(self, key: PrivateKey) -> str:
        from cryptography.hazmat.primitives import serialization

        public = _load(key).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return public.public_bytes(serialization.Encoding.PEM, form).decode("ascii")

    def sign(self, key: PrivateKey, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

        private = _load(key)
        if isinstance(private, rsa.RSAPrivateKey):
            return _sign_rsa(private, message, key)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return private.sign(message, ec.ECDSA(hashes.SHA256()))
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(message)
        raise UnusableKeyError(key.file, "it is neither an RSA, an ECDSA nor an Ed25519 key")

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        try:
            key = serialization.load_pem_public_key(public_key)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise broken_public_key() from error
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            elif isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            else:
                return False
        except InvalidSignature:
            return False
        return True


def _generate(kind: KeyType) -> PrivateKeyTypes:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if kind is KeyType.RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    if kind is KeyType.ECDSA:
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def _sign_rsa(private: RSAPrivateKey, message: bytes, key: PrivateKey) -> bytes:
    """Sign, and verify the signature: a key that is loaded without validation may be damaged."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    try:
        signature = private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        private.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError) as error:
        raise unreadable(key) from error
    return signature


def _load(key: PrivateKey) -> PrivateKeyTypes:
    import cryptography
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    # validating an RSA key takes longer than anything else in check-update; signing detects a damaged key as well
    can_skip = int(cryptography.__version__.partition(".")[0]) >= 39
    options = {"unsafe_skip_rsa_key_validation": True} if can_skip else {}
    try:
        return serialization.load_pem_private_key(key.pem, password=key.passphrase, **options)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise unreadable(key) from error
