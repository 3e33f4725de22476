"""Public keys and the signature of an authentication request (``X-MEN-Signature``).

Signatures are RSA with PKCS#1 v1.5 and SHA-256, ECDSA with SHA-256 in DER, or Ed25519 over the raw body.
"""

from __future__ import annotations

import base64

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from mender_client.errors import ServerError

_CURVES = (ec.SECP224R1, ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""The curves that the real server supports."""


def parse_public_key(pem: str, prefix: str = "") -> str:
    """Return ``pem`` in canonical form, so that equal keys compare equal.

    Raises:
        ServerError: 400 for anything but a public key in PEM format of a type that the real server supports.
    """
    try:
        if "-----BEGIN PUBLIC KEY-----" not in pem:
            raise ValueError("another PEM type")
        key = serialization.load_pem_public_key(pem.encode("utf-8", "replace"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ServerError(f"{prefix}cannot decode public key", status=400) from error
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        raise ServerError(f"{prefix}cannot decode public key: x509: unsupported elliptic curve", status=400)
    if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)):
        raise ServerError(f"{prefix}unrecognized public key type", status=400)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def is_signed(public_key_pem: str, body: bytes, signature: str) -> bool:
    """Whether ``signature`` (base64) is a valid signature of ``body`` by this key."""
    key = serialization.load_pem_public_key(public_key_pem.encode())
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(raw, body, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(raw, body, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(raw, body)
        else:
            return False
    except (ValueError, InvalidSignature):
        return False
    return True
