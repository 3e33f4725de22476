"""An RSA key for all tests that need any: made when it is imported, which takes long enough to do it only once."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
