"""The identity, key and inventory of a simulated device, all derived from its name.

Since everything is derived from the name and the seed, nothing has to be stored, and the devices of the next run are
the same: a server that has accepted them recognises them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

SEED_BYTES = 32
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def provide_seed(file: Path) -> bytes:
    """Return the seed of all keys of a fleet; create the file, readable only by its owner, if it doesn't exist.

    Several processes can call this at the same time, and all get the same seed.

    Raises:
        OSError: the file can't be read or written.
        ValueError: the file doesn't contain a seed.
    """
    if not file.exists():
        _make_seed(file)
    return read_seed(file)


def read_seed(file: Path) -> bytes:
    """Read the seed from a file.

    Raises:
        OSError: the file can't be read.
        ValueError: the file doesn't contain a seed.
    """
    with suppress(ValueError):
        seed = bytes.fromhex(file.read_text().strip())
        if len(seed) == SEED_BYTES:
            return seed
    raise ValueError(f"a seed has {2 * SEED_BYTES} hexadecimal digits")


def read_same_seed(file: Path, digest: str) -> bytes:
    """Read the seed from a file and compare its digest: with another seed, all devices would have other keys.

    Raises:
        OSError: the file can't be read.
        ValueError: the file doesn't contain a seed, or contains another one.
    """
    seed = read_seed(file)
    if digest_of(seed) != digest:
        raise ValueError("it is not the master's")
    return seed


def digest_of(seed: bytes) -> str:
    """A digest that identifies a seed without revealing it."""
    return hashlib.sha256(b"mender-fleet" + seed).hexdigest()


def _make_seed(file: Path) -> None:
    """Create a new seed atomically, unless another process has done so first."""
    descriptor, draft = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w") as made:
            made.write(secrets.token_hex(SEED_BYTES) + "\n")
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        os.unlink(draft)


def make_key(seed: bytes, name: str, kind: str) -> PrivateKey:
    """Derive the key of a device, which is always the same for the same seed, name and kind.

    Args:
        seed: of the fleet.
        name: of the device.
        kind: ``ed25519`` or ``p256``.
    """
    digest = hashlib.sha512(seed + kind.encode() + name.encode()).digest()
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(digest[:32])
    return ec.derive_private_key(1 + int.from_bytes(digest, "big") % (_P256_ORDER - 1), ec.SECP256R1())


class DerivedKey:
    """The key of a simulated device; see ``core.ports.KeyStore``. It is generated on first use.

    Args:
        seed: of the fleet.
        name: of the device.
        kind: ``ed25519`` or ``p256``.
        is_right: False signs with a different key, so that every server refuses the device.
    """

    location = "derived from the seed"

    def __init__(self, seed: bytes, name: str, kind: str, *, is_right: bool = True) -> None:
        self._seed = seed
        self._name = name
        self._kind = kind
        self._is_right = is_right

    @cached_property
    def _private(self) -> PrivateKey:
        return make_key(self._seed, self._name, self._kind)

    def public_key_pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._private.public_key().public_bytes(serialization.Encoding.PEM, form).decode("ascii")

    def sign(self, message: bytes) -> bytes:
        key = self._private if self._is_right else make_key(self._seed, f"not {self._name}", self._kind)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(message)
        return key.sign(message, ec.ECDSA(hashes.SHA256()))


def make_identity(name: str) -> dict[str, str]:
    """The identity of a device."""
    digest = hashlib.sha256(name.encode()).digest()
    return {"mac": "02:" + ":".join(f"{byte:02x}" for byte in digest[:5]), "serial": name}


def make_inventory(name: str, length: int) -> dict[str, str]:
    """The inventory of a device: the attributes of the client's inventory scripts, and more up to the given number.

    Args:
        name: of the device.
        length: the number of attributes; the scripts of the client print 20.
    """
    digest = hashlib.sha256(name.encode()).digest()
    third, fourth = digest[5], digest[6]
    told = {
        "hostname": name,
        "kernel": "Linux version 6.6.32-board (oe-user@oe-host) (aarch64-poky-linux-gcc 13.3.0) #1 SMP PREEMPT",
        "cpu_model": "ARMv8 Processor rev 4 (v8l)",
        "mem_total_kB": str(512 * 1024 + 1024 * (third % 4)),
        "os": "Poky (Yocto Project Reference Distro) 5.0.3 (scarthgap)",
        "rootfs_type": "ext4",
        "network_interfaces": "eth0",
        "mac_eth0": make_identity(name)["mac"],
        "ipv4_eth0": f"10.{digest[7]}.{third}.{fourth}/16",
        "ipv6_eth0": f"2001:db8::{third:02x}{fourth:02x}/64",
        "geo-city": "Anytown",
        "geo-country": "Nowhere",
        "geo-timezone": "Europe/Berlin",
        "uboot": "2024.01",
        "bootenv": "BOOT_ORDER=A B BOOT_A_LEFT=3 BOOT_B_LEFT=3",
    }
    more = {f"app_{number:02}": f"service {number} version 1.{third % 3}.{number}, up" for number in range(length)}
    return dict([*told.items(), *more.items()][:length])
