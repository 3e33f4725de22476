"""Signature checks as on a device, with the cryptography package."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mender_client.core.artifact import SignatureCheck
from mender_client.errors import ArtifactError

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def load(path: Path) -> PublicKey:
    """Load a public key."""
    key = load_pem_public_key(path.read_bytes())
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    return key


def check_with(*keys: PublicKey) -> SignatureCheck:
    """Make a check that accepts a signature by any of the keys."""

    def check(manifest: bytes, signature: bytes) -> None:
        if not any(is_made_by(key, manifest, signature) for key in keys):
            raise ArtifactError("cannot accept the Artifact: none of the keys made its signature; sign it anew")

    return check


def is_made_by(key: PublicKey, manifest: bytes, signature: bytes) -> bool:
    """Say whether the signature was made with the key: RSA PKCS#1 v1.5, ECDSA raw or DER."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, manifest, padding.PKCS1v15(), SHA256())
        else:
            key.verify(_der(signature), manifest, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _der(signature: bytes) -> bytes:
    if len(signature) != 64:
        return signature
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
