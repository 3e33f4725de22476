"""The device key in a file: loading, generating and signing. A crypto back end does the cryptography."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mender_client.core.devicekey import KeyType, UnreadableKeyError, find_key_fault, key_type, parse_private_key
from mender_client.errors import KeyFileError

from .backend import Backend, PrivateKey, UnusableKeyError
from .files import open_input, reading_remedy, write_atomic

_LARGEST_FILE_BYTES = 64 * 1024

Passphrase = Callable[[], bytes | None]
"""Returns the passphrase of a key or the PIN of a token, None if there is none. Called only when needed."""


def no_passphrase() -> bytes | None:
    """Return None: there is no passphrase."""
    return None


def read_key_file(file: Path) -> bytes:
    """Read a key file.

    Raises:
        KeyFileError: it can't be read, or is too large to be a key.
    """
    try:
        with open_input(file) as stream:
            content = stream.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        text = f"cannot read the key {file}: {error.strerror}"
        remedy = reading_remedy(error, file) or "check its path, owner and mode"
        raise KeyFileError("KEY02", text, remedy=remedy) from error
    if len(content) > _LARGEST_FILE_BYTES:
        text = f"cannot read the key {file}: it is larger than {_LARGEST_FILE_BYTES} bytes"
        raise KeyFileError("KEY03", text, remedy="specify a file that contains a key in PEM form")
    return content


def load_private_key(file: Path, passphrase: Passphrase) -> PrivateKey:
    """Read a private key.

    Args:
        file: the key in PEM: PKCS#1, SEC1 or PKCS#8.
        passphrase: called if the key is encrypted.

    Raises:
        UnusableKeyError: the file holds no such key, or the key is encrypted and there is no passphrase.
        KeyFileError: the file, or the passphrase, can't be read.
    """
    try:
        found = parse_private_key(read_key_file(file))
    except UnreadableKeyError as error:
        raise UnusableKeyError(file, str(error), error.remedy) from error
    if not found.is_encrypted:
        return PrivateKey(file, found.pem)
    secret = passphrase()
    if secret is None:
        raise UnusableKeyError(file, "it is encrypted", "pass its passphrase with --passphrase-file FILE")
    return PrivateKey(file, found.pem, secret)


class DeviceKey:
    """A device key in a PEM file; see ``core.ports.KeyStore``.

    Args:
        path: ``mender-agent.pem`` in the data directory, or the file that Security.AuthPrivateKey names.
        backend: the crypto back end.
        passphrase: the passphrase of the existing key or of a new one.
    """

    def __init__(self, path: Path, backend: Backend, passphrase: Passphrase = no_passphrase) -> None:
        self.location = str(path)
        self._path = path
        self._backend = backend
        self._passphrase = passphrase
        self._public_key_pem = ""

    def ensure(self, *, replace: bool = False, kind: KeyType | None = None) -> bool:
        """Generate the key unless there is one.

        Args:
            replace: always generate a new key.
            kind: the required type; None: that of the existing key, or RSA for a new one.

        Returns:
            Whether a new key was generated, which must then be accepted on the server.

        Raises:
            KeyFileError: the existing key can't be used or is of another type (it is never overwritten), or none can
                be generated.
            StorageError: the new key can't be written.
        """
        if not replace and self._is_there():
            self._check_type(kind)
            return False
        write_atomic(self._path, self._backend.generate(kind or KeyType.RSA, self._passphrase()), mode=0o600)
        self._public_key_pem = ""
        self.public_key_pem()
        return True

    def public_key_pem(self) -> str:
        if not self._public_key_pem:
            with self._with_remedy():
                public = self._backend.public_key_pem(self._load())
                if fault := find_key_fault(public):
                    raise UnusableKeyError(self._path, fault)
            self._public_key_pem = public
        return self._public_key_pem

    def sign(self, message: bytes) -> bytes:
        with self._with_remedy():
            return self._backend.sign(self._load(), message)

    def _load(self) -> PrivateKey:
        if not self._is_there(is_link_enough=False):
            if self._is_there():
                text = f"cannot find the device key {self._path}: it is a symbolic link to a missing file"
                raise KeyFileError("KEY27", text, remedy="mount its disk, or remove the link")
            text = f"cannot find the device key {self._path}"
            raise KeyFileError("KEY04", text, remedy="generate one with 'mender-python-client bootstrap'")
        return load_private_key(self._path, self._passphrase)

    def _check_type(self, wanted: KeyType | None) -> None:
        present = key_type(self.public_key_pem())
        if wanted is not None and present is not None and present is not wanted:
            text = f"cannot generate an {wanted.title} key: {self._path} is an {present.title} key"
            remedy = "replace it with --forcebootstrap; the device must then be accepted again"
            raise KeyFileError("KEY05", text, remedy=remedy)

    @contextmanager
    def _with_remedy(self) -> Iterator[None]:
        try:
            yield
        except UnusableKeyError as error:
            remedy = error.remedy or (
                "restore the right file, or replace the key with 'mender-python-client bootstrap --forcebootstrap'; "
                "the device must then be accepted again"
            )
            text = f"cannot use the device key {self._path}: {error.reason}"
            raise KeyFileError("KEY06", text, remedy=remedy) from error

    def _is_there(self, *, is_link_enough: bool = True) -> bool:
        """Whether the path exists, even as a link to a disk that isn't mounted: that key must not be replaced."""
        try:
            self._path.stat(follow_symlinks=not is_link_enough)
        except FileNotFoundError:
            return False
        except OSError as error:
            text = f"cannot read the device key {self._path}: {error.strerror}"
            remedy = reading_remedy(error, self._path) or "check its path, owner and mode"
            raise KeyFileError("KEY07", text, remedy=remedy) from error
        return True
