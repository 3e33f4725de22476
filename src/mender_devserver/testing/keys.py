"""Keys for test devices: ECDSA, because generating an RSA key for each test takes too long."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mender_client.system.files import write_atomic


def provide_key(path: Path) -> None:
    """Create a device key and its directory, unless there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key = ec.generate_private_key(ec.SECP256R1())
        write_atomic(path, key.private_bytes(serialization.Encoding.PEM, form, plain), mode=0o600)
