"""Signatures of Artifacts: verified with the configured keys, and made.

Several keys may be configured, so that a fleet can move from one to the next: any of them suffices. The files are read
once, at the start, so that a key that can't be used is reported then, not when the first Artifact is refused.
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
    """The public keys of which one must have signed an Artifact; a ``core.artifact.SignatureCheck``.

    Args:
        setting: the key of the configuration that names the files, for messages.
        files: one public key each, PEM; at least one.
        backend: the crypto back end.
    """

    def __init__(self, setting: str, files: Sequence[Path], backend: Backend) -> None:
        self._setting = setting
        self._files = tuple(files)
        self._backend = backend
        self._keys: dict[Path, PublicKey] = {}
        self._faults: tuple[Diagnostic, ...] = ()

    def load(self) -> tuple[Diagnostic, ...]:
        """Read the keys, once; later changes of the files have no effect.

        Returns:
            What is wrong with keys that can't be used while others can: fewer Artifacts are accepted, never more.

        Raises:
            ConfigError: none can be read or used; each is named.
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
        """Refuse an Artifact that was signed with none of the keys; raises as ``signer``."""
        self.signer(manifest, signature)

    def signer(self, manifest: bytes, signature: bytes) -> Path:
        """Find the key that a signature was made with.

        Args:
            manifest: what is signed.
            signature: RSA PKCS#1 v1.5, or ECDSA P-256 as r‖s or DER, with SHA-256.

        Returns:
            The file of the key.

        Raises:
            ArtifactError: it was made with none of the keys.
            KeyFileError: the back end can't work.
            ConfigError: as ``load``.
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
        remedy = error.remedy or "name a file that contains one public key in PEM form (-----BEGIN PUBLIC KEY-----)"
        raise KeyFileError("KEY15", f"cannot use {file}: {error}", remedy=remedy) from error
    try:
        backend.verify(key.pem, b"", b"")
    except KeyFileError as error:
        raise KeyFileError("KEY16", f"cannot verify with {file}: {error.text}", remedy=error.remedy) from error
    return key


class SigningKey:
    """A private key that signs Artifacts.

    Args:
        file: the key, PEM.
        backend: the crypto back end.
        passphrase: what the key is encrypted with.

    Raises:
        KeyFileError: it can't be read, or Artifacts aren't signed with keys of its kind.
    """

    def __init__(self, file: Path, backend: Backend, passphrase: Passphrase = no_passphrase) -> None:
        self._file = file
        self._backend = backend
        try:
            self._key = load_private_key(file, passphrase)
            self._public = parse_public_key(backend.public_key_pem(self._key).encode())
        except UnusableKeyError as error:
            remedy = error.remedy or "name a file that contains one private key in PEM form"
            raise KeyFileError("KEY17", f"cannot sign with {file}: {error.reason}", remedy=remedy) from error
        except UnreadableKeyError as error:
            remedy = "name an RSA or ECDSA P-256 key"
            raise KeyFileError("KEY18", f"cannot sign with {file}: {error}", remedy=remedy) from error

    def sign(self, manifest: bytes) -> bytes:
        """Make a signature as Artifacts carry it: RSA PKCS#1 v1.5, or ECDSA P-256 as r‖s, with SHA-256.

        Raises:
            KeyFileError: the back end can't work.
        """
        signature = self._backend.sign(self._key, manifest)
        return raw_form(signature) if self._public.kind is KeyKind.ECDSA_P256 else signature

    def check(self, manifest: bytes, signature: bytes) -> None:
        """Refuse a signature that wasn't made with this key; a ``core.artifact.SignatureCheck``.

        Raises:
            ArtifactError: it wasn't.
        """
        if not _is_made_by(self._public, manifest, signature, self._backend):
            text = f"cannot accept the Artifact: its signature doesn't match {self._file}"
            raise ArtifactError("ART24", text, remedy="sign it again")


def _is_made_by(key: PublicKey, manifest: bytes, signature: bytes, backend: Backend) -> bool:
    forms = der_forms(signature) if key.kind is KeyKind.ECDSA_P256 else (signature,)
    return any(backend.verify(key.pem, manifest, form) for form in forms)
