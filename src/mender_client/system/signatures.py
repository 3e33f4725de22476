"""Verifies signatures of Artifacts with the configured keys, and makes them.

Several keys may be configured for key rotation; a signature by any one of them suffices. The files are read once, at
the start, so that an unusable key is reported then, and not when the first Artifact is rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mender_client.core.devicekey import UnreadableKeyError
from mender_client.core.signature import KeyKind, PublicKey, der_forms, parse_public_key, raw_form
from mender_client.errors import ArtifactError, ConfigError, Diagnostic, KeyFileError

from .backend import Backend, UnusableKeyError
from .keys import Passphrase, load_private_key, no_passphrase, read_key_file


class VerifyKeys:
    """The public keys, one of which must match an Artifact's signature; a ``core.artifact.SignatureCheck``.

    Args:
        setting: the configuration key that names the files, for messages.
        files: at least one file, each with one public key in PEM.
        backend: the crypto back end.
    """

    def __init__(self, setting: str, files: Sequence[Path], backend: Backend) -> None:
        self._setting = setting
        self._files = tuple(files)
        self._backend = backend
        self._keys: dict[Path, PublicKey] = {}
        self._faults: tuple[Diagnostic, ...] = ()

    def load(self) -> tuple[Diagnostic, ...]:
        """Read the keys once; later changes to the files have no effect.

        Returns:
            The problems of unusable keys if others are usable: this can only cause Artifacts to be rejected.

        Raises:
            ConfigError: no key is usable; it lists all problems.
        """
        if self._keys:
            return self._faults
        keys, problems = {}, []
        for file in self._files:
            try:
                keys[file] = load_public_key(file, self._backend)
            except KeyFileError as error:
                problems.append(Diagnostic("KEY14", f"{self._setting}: {error.text}", error.remedy))
        if not keys:
            raise ConfigError(problems)
        self._keys, self._faults = keys, tuple(problems)
        return self._faults

    def __call__(self, manifest: bytes, signature: bytes) -> None:
        """Reject an Artifact that was signed with none of the keys; raises the same errors as ``signer``."""
        self.signer(manifest, signature)

    def signer(self, manifest: bytes, signature: bytes) -> Path:
        """Find the key with which a signature was made.

        Args:
            manifest: the signed data.
            signature: RSA PKCS#1 v1.5, or ECDSA P-256 as r‖s or DER, with SHA-256.

        Returns:
            The file of the key.

        Raises:
            ArtifactError: it was made with none of the keys.
            KeyFileError: the back end failed.
            ConfigError: as for ``load``.
        """
        self.load()
        for file, key in self._keys.items():
            if _is_made_by(key, manifest, signature, self._backend):
                return file
        tried = ", ".join(str(file) for file in self._files)
        text = f"cannot accept the Artifact: its signature matches none of the keys of {self._setting} ({tried})"
        raise ArtifactError("ART23", text, remedy="sign it with one of them, or add the public key of its signer")


def load_public_key(file: Path, backend: Backend) -> PublicKey:
    """Read a public key, and check that the back end can use it.

    Raises:
        KeyFileError: it can't; the message names the file.
    """
    try:
        key = parse_public_key(read_key_file(file))
    except UnreadableKeyError as error:
        remedy = error.remedy or "specify a file that contains one public key in PEM form (-----BEGIN PUBLIC KEY-----)"
        raise KeyFileError("KEY15", f"cannot use {file}: {error}", remedy=remedy) from error
    try:
        backend.verify(key.pem, b"", b"")
    except KeyFileError as error:
        raise KeyFileError("KEY16", f"cannot verify with {file}: {error.text}", remedy=error.remedy) from error
    return key


class SigningKey:
    """A private key that signs Artifacts.

    Args:
        file: the key in PEM.
        backend: the crypto back end.
        passphrase: returns the passphrase of an encrypted key.

    Raises:
        KeyFileError: it can't be read, or its type isn't supported for signing Artifacts.
    """

    def __init__(self, file: Path, backend: Backend, passphrase: Passphrase = no_passphrase) -> None:
        self._file = file
        self._backend = backend
        try:
            self._key = load_private_key(file, passphrase)
            self._public = parse_public_key(backend.public_key_pem(self._key).encode())
        except UnusableKeyError as error:
            remedy = error.remedy or "specify a file that contains one private key in PEM form"
            raise KeyFileError("KEY17", f"cannot sign with {file}: {error.reason}", remedy=remedy) from error
        except UnreadableKeyError as error:
            remedy = "specify an RSA or ECDSA P-256 key"
            raise KeyFileError("KEY18", f"cannot sign with {file}: {error}", remedy=remedy) from error

    def sign(self, manifest: bytes) -> bytes:
        """Make a signature in the format of Artifacts: RSA PKCS#1 v1.5, or ECDSA P-256 as r‖s, with SHA-256.

        Raises:
            KeyFileError: the back end failed.
        """
        signature = self._backend.sign(self._key, manifest)
        return raw_form(signature) if self._public.kind is KeyKind.ECDSA_P256 else signature

    def check(self, manifest: bytes, signature: bytes) -> None:
        """Reject a signature that wasn't made with this key; a ``core.artifact.SignatureCheck``.

        Raises:
            ArtifactError: the signature wasn't made with this key.
        """
        if not _is_made_by(self._public, manifest, signature, self._backend):
            text = f"cannot accept the Artifact: its signature doesn't match {self._file}"
            raise ArtifactError("ART24", text, remedy="sign it again")


def _is_made_by(key: PublicKey, manifest: bytes, signature: bytes, backend: Backend) -> bool:
    forms = der_forms(signature) if key.kind is KeyKind.ECDSA_P256 else (signature,)
    return any(backend.verify(key.pem, manifest, form) for form in forms)
