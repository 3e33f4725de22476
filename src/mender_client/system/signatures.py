"""Signatures of Artifacts: check them with the keys that the operator configured, and make them.

Several keys may be configured, so that a fleet can go over from one to the next: any of them will do. The files are
read once, at the start; a key that can't be used is named then, and not when the first Artifact is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mender_client.core.signature import KeyKind, PublicKey, der_forms, parse_public_key, raw_form
from mender_client.errors import ArtifactError, ConfigError, KeyFileError

from .backend import Backend, UnusableKeyError
from .keys import Passphrase, load_private_key, no_passphrase, read_key_file


class VerifyKeys:
    """The public keys of which one must have signed an Artifact; a ``core.artifact.SignatureCheck``.

    Args:
        setting: what named the files, for messages: ``ArtifactVerifyKey``, ``ArtifactVerifyKeys``.
        files: one public key each, PEM; at least one.
        backend: the crypto back end.
    """

    def __init__(self, setting: str, files: Sequence[Path], backend: Backend) -> None:
        self._setting = setting
        self._files = tuple(files)
        self._backend = backend
        self._keys: dict[Path, PublicKey] = {}

    def load(self) -> None:
        """Read the keys, once; later changes of the files have no effect.

        Raises:
            ConfigError: some can't be read or used; each is named, with the setting.
        """
        if self._keys:
            return
        keys, problems = {}, []
        for file in self._files:
            try:
                keys[file] = load_public_key(file, self._backend)
            except KeyFileError as error:
                problems.append(f"{self._setting}: {error}")
        if problems:
            raise ConfigError(problems)
        self._keys = keys

    def __call__(self, manifest: bytes, signature: bytes) -> None:
        """Refuse an Artifact that none of the keys signed; arguments and errors as of ``signer``."""
        self.signer(manifest, signature)

    def signer(self, manifest: bytes, signature: bytes) -> Path:
        """Find the key that made a signature.

        Args:
            manifest: what is signed.
            signature: RSA PKCS#1 v1.5, or ECDSA P-256 as r‖s or DER, with SHA-256.

        Returns:
            The file of the key.

        Raises:
            ArtifactError: none of the keys made it.
            KeyFileError: the back end can't work.
            ConfigError: as ``load``.
        """
        self.load()
        for file, key in self._keys.items():
            if _is_made_by(key, manifest, signature, self._backend):
                return file
        tried = ", ".join(str(file) for file in self._files)
        raise ArtifactError(
            f"cannot accept the Artifact: its signature was made by none of the keys of {self._setting} ({tried}); "
            "sign it with one of them, or add the public key of whoever signed it"
        )


def load_public_key(file: Path, backend: Backend) -> PublicKey:
    """Read a public key, and see that the back end can use it.

    Raises:
        KeyFileError: it can't; the message names the file.
    """
    try:
        key = parse_public_key(read_key_file(file))
    except ValueError as error:
        raise KeyFileError(f"cannot use {file}: {error}") from error
    try:
        backend.verify(key.pem, b"", b"")
    except KeyFileError as error:
        raise KeyFileError(f"cannot use {file}: {error}") from error
    return key


class SigningKey:
    """A private key that signs Artifacts.

    Args:
        file: the key, PEM.
        backend: the crypto back end.
        passphrase: what the key is encrypted with.

    Raises:
        KeyFileError: it can't be read, or is of a kind that doesn't sign Artifacts.
    """

    def __init__(self, file: Path, backend: Backend, passphrase: Passphrase = no_passphrase) -> None:
        self._file = file
        self._backend = backend
        try:
            self._key = load_private_key(file, passphrase)
            self._public = parse_public_key(backend.public_key_pem(self._key).encode())
        except UnusableKeyError as error:
            remedy = error.remedy or "name a file that holds one private key in PEM form"
            raise KeyFileError(f"cannot sign with {file}: {error.reason}; {remedy}") from error
        except ValueError as error:
            raise KeyFileError(f"cannot sign with {file}: {error}") from error

    def sign(self, manifest: bytes) -> bytes:
        """Make a signature as Artifacts carry it: RSA PKCS#1 v1.5, or ECDSA P-256 as r‖s, with SHA-256.

        Raises:
            KeyFileError: the back end can't work.
        """
        signature = self._backend.sign(self._key, manifest)
        return raw_form(signature) if self._public.kind is KeyKind.ECDSA_P256 else signature

    def check(self, manifest: bytes, signature: bytes) -> None:
        """Refuse a signature that this key didn't make; a ``core.artifact.SignatureCheck``.

        Raises:
            ArtifactError: it didn't.
        """
        if not _is_made_by(self._public, manifest, signature, self._backend):
            raise ArtifactError(f"cannot accept the Artifact: its signature wasn't made by {self._file}; sign it anew")


def _is_made_by(key: PublicKey, manifest: bytes, signature: bytes, backend: Backend) -> bool:
    forms = der_forms(signature) if key.kind is KeyKind.ECDSA_P256 else (signature,)
    return any(backend.verify(key.pem, manifest, form) for form in forms)
