"""An RSA key for all tests that need one: it is generated once, at the import, because that is slow."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
