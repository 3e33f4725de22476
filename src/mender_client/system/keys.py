"""The device key: load it, make it, sign with it, and verify with the keys of others.

Two back ends do the same: the ``cryptography`` package where it is installed, and the ``openssl`` program elsewhere,
because that package needs a compiler that many devices can't offer. A key never stands on a command line.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mender_client.errors import KeyFileError, ScriptError

from .files import storage_error, write_atomic
from .process import ScriptLimits, run_script

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

RSA_BITS = 3072
_GENERATE = ScriptLimits(seconds=900.0)  # an RSA key can take minutes on a small processor
_USE = ScriptLimits(seconds=60.0, output_bytes=65536)


_ED25519 = bytes.fromhex("06032b6570")
_KINDS = (bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06072a8648ce3d0201"), _ED25519)
"""The kinds of key that a server verifies, as the object identifiers in a public key: RSA, ECDSA, Ed25519."""


class UnusableKeyError(KeyFileError):
    """A private key that a back end can't use; whoever knows what the key is for adds what to do.

    Args:
        key: the key's file.
        reason: what is wrong with it.
    """

    def __init__(self, key: Path, reason: str) -> None:
        super().__init__(f"cannot use the key {key}: {reason}")
        self.reason = reason


class Backend(Protocol):
    """What a crypto back end can do with PEM text. Private keys that it can't use are an ``UnusableKeyError``."""

    def generate(self) -> bytes:
        """A new private key, PEM PKCS#8."""

    def public_key_pem(self, key: Path) -> str:
        """The public key of a private key file."""

    def sign(self, key: Path, message: bytes) -> bytes:
        """RSA PKCS#1 v1.5 or ECDSA (DER) with SHA-256, or Ed25519, by the kind of the key."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the key made the signature (an ECDSA signature in DER).

        Raises:
            KeyFileError: the public key can't be used.
        """


def choose_backend() -> Backend:
    """``cryptography`` if it is installed, else the ``openssl`` program."""
    return CryptographyBackend() if importlib.util.find_spec("cryptography") else OpensslBackend()


class DeviceKey:
    """The key store of a device: one PEM file.

    Args:
        path: ``<datadir>/mender-agent.pem``, or what Security.AuthPrivateKey names.
        backend: the crypto back end.
    """

    def __init__(self, path: Path, backend: Backend) -> None:
        self._path = path
        self._backend = backend
        self._public_key_pem = ""

    def ensure(self, *, replace: bool = False) -> bool:
        """Make the key unless there is one.

        Args:
            replace: make a new one in any case.

        Returns:
            Whether a new key was made: the server will see a new key set that somebody has to accept.

        Raises:
            KeyFileError: the existing key can't be used (it is never overwritten), or none can be made.
            StorageError: the new key can't be written.
        """
        if not replace and self._is_there():
            self.public_key_pem()
            return False
        write_atomic(self._path, self._backend.generate(), mode=0o600)
        self._public_key_pem = ""
        self.public_key_pem()
        return True

    def public_key_pem(self) -> str:
        """The public key, PEM SubjectPublicKeyInfo.

        Raises:
            KeyFileError: the key can't be read or used.
        """
        if not self._public_key_pem:
            self._check_readable()
            with self._with_remedy():
                public = self._backend.public_key_pem(self._path)
                if not any(kind in _der(public.encode())[:40] for kind in _KINDS):
                    raise UnusableKeyError(self._path, "it is neither an RSA, an ECDSA nor an Ed25519 key")
            self._public_key_pem = public
        return self._public_key_pem

    def sign(self, message: bytes) -> bytes:
        """Sign a message with the device key.

        Raises:
            KeyFileError: the key can't be read or used.
        """
        self._check_readable()
        with self._with_remedy():
            return self._backend.sign(self._path, message)

    @contextmanager
    def _with_remedy(self) -> Iterator[None]:
        try:
            yield
        except UnusableKeyError as error:
            raise KeyFileError(
                f"cannot use the device key {self._path}: {error.reason}; put back the right file, or replace the key "
                "with 'mender-python-client bootstrap --forcebootstrap' (the server must then accept the device again)"
            ) from error

    def _is_there(self) -> bool:
        """Whether the path exists; a link to a disk that isn't mounted counts, since its key must not be replaced."""
        try:
            self._path.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise KeyFileError(str(storage_error("read the device key", self._path, error))) from error
        return True

    def _check_readable(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.read(1)
        except FileNotFoundError as error:
            message = f"cannot find the device key {self._path}; make one with 'mender-python-client bootstrap'"
            raise KeyFileError(message) from error
        except OSError as error:
            raise KeyFileError(str(storage_error("read the device key", self._path, error))) from error


def _broken_public_key() -> KeyFileError:
    return KeyFileError("cannot use the public key: it is no public key in PEM form; put the right file in its place")


class OpensslBackend:
    """The ``openssl`` program."""

    def __init__(self, program: str = "openssl") -> None:
        self._program = program

    def generate(self) -> bytes:
        arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{RSA_BITS}"]
        return self._run(arguments, "make a device key", limits=_GENERATE)

    def public_key_pem(self, key: Path) -> str:
        try:
            # an empty pass phrase makes openssl fail on an encrypted key instead of asking for one
            output = run_script([self._program, "pkey", "-in", str(key), "-passin", "pass:", "-pubout"], limits=_USE)
        except ScriptError as error:
            if not str(error).startswith("cannot use"):
                raise KeyFileError(f"cannot read the key {key}: {error}") from error
            raise UnusableKeyError(key, "openssl can't read it as a private key in PEM form") from error
        return output.decode("ascii", "replace")

    def sign(self, key: Path, message: bytes) -> bytes:
        if _is_ed25519(self.public_key_pem(key).encode()):
            with _MemoryFile(message) as file:
                arguments = ["pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-passin", "pass:", "-in", file.path]
                return self._run(arguments, f"sign with {key}", descriptors=[file.descriptor])
        arguments = ["dgst", "-sha256", "-sign", str(key), "-passin", "pass:"]
        return self._run(arguments, f"sign with {key}", stdin=message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        with _MemoryFile(public_key) as key, _MemoryFile(signature) as made, _MemoryFile(message) as data:
            descriptors = [key.descriptor, made.descriptor, data.descriptor]
            if _is_ed25519(public_key):
                arguments = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key.path]
                arguments += ["-sigfile", made.path, "-in", data.path]
            else:
                arguments = ["dgst", "-sha256", "-verify", key.path, "-signature", made.path, data.path]
            try:
                run_script([self._program, *arguments], limits=_USE, pass_descriptors=descriptors)
            except ScriptError as error:
                if not str(error).startswith("cannot use"):
                    raise KeyFileError(f"cannot verify a signature: {error}") from error
                self._check_public(key)
                return False
            return True

    def _check_public(self, key: _MemoryFile) -> None:
        """Tell a wrong signature from a wrong key: openssl fails alike for both."""
        arguments = ["pkey", "-pubin", "-in", key.path, "-noout"]
        try:
            run_script([self._program, *arguments], limits=_USE, pass_descriptors=[key.descriptor])
        except ScriptError as error:
            raise _broken_public_key() from error

    def _run(
        self,
        arguments: Sequence[str],
        action: str,
        *,
        stdin: bytes = b"",
        descriptors: Sequence[int] = (),
        limits: ScriptLimits = _USE,
    ) -> bytes:
        try:
            return run_script([self._program, *arguments], limits=limits, stdin=stdin, pass_descriptors=descriptors)
        except ScriptError as error:
            raise KeyFileError(f"cannot {action}: {error}") from error


class _MemoryFile:
    """Bytes as a file that exists only in memory: openssl wants some of its input by name."""

    def __init__(self, data: bytes) -> None:
        self.descriptor = os.memfd_create("mender", os.MFD_CLOEXEC)
        os.write(self.descriptor, data)
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        self.path = f"/dev/fd/{self.descriptor}"

    def __enter__(self) -> _MemoryFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


class CryptographyBackend:
    """The ``cryptography`` package, imported when first used."""

    def generate(self) -> bytes:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def public_key_pem(self, key: Path) -> str:
        from cryptography.hazmat.primitives import serialization

        public = self._load(key).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return public.public_bytes(serialization.Encoding.PEM, form).decode("ascii")

    def sign(self, key: Path, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        private = self._load(key)
        if isinstance(private, rsa.RSAPrivateKey):
            return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return private.sign(message, ec.ECDSA(hashes.SHA256()))
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(message)
        raise UnusableKeyError(key, "it is neither an RSA, an ECDSA nor an Ed25519 key")

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

        try:
            key = serialization.load_pem_public_key(public_key)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise _broken_public_key() from error
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

    def _load(self, key: Path) -> PrivateKeyTypes:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        try:
            return serialization.load_pem_private_key(key.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UnusableKeyError(key, "it is no private key in PEM form, or it is encrypted") from error


def _is_ed25519(public_key_pem: bytes) -> bool:
    return _ED25519 in _der(public_key_pem)[:24]


def _der(pem: bytes) -> bytes:
    lines = [line for line in pem.splitlines() if line and not line.startswith(b"-----")]
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error:
        return b""
