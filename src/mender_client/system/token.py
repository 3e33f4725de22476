"""A device key that never leaves its hardware: a ``pkcs11:`` URI, used through the ``openssl`` program.

The program loads a provider or an engine for PKCS#11. The URI of the key appears on its command line; the PIN never
does. A token locks itself after a few wrong PINs, so a PIN that it has refused is not tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mender_client.core.devicekey import KeyType, find_key_fault, key_type
from mender_client.core.tokenuri import TokenUri
from mender_client.errors import KeyFileError

from .keys import Passphrase
from .openssl import OpensslCall
from .process import ProgramError
from .secretfile import read_secret

_DEFAULT = "pkcs11"
_HOW = "pass it with --passphrase-file FILE, or by pin-source=/FILE in the URI"
_REFUSED = "the token rejects the PIN; it is not tried again before a restart or a reload, or the token may lock itself"
_CAUSES = (
    ("PIN incorrect", _REFUSED, _HOW),
    ("PIN invalid", _REFUSED, _HOW),
    ("PIN locked", "the token is locked after wrong PINs", "unlock it with its own tools"),
    ("No PIN code was entered", "the token needs a PIN", _HOW),
    ("No matching initialized token", "there is no such token", "check that it is plugged in, and its label"),
    ("Unable to load module", "the PKCS#11 module can't be loaded", "specify the right one in openssl.cnf"),
    ("Invalid engine", "openssl has no such engine", "install it (Debian: libengine-pkcs11-openssl)"),
    ("private key was not found", "the token has no such private key", "list its keys: pkcs11-tool -O --login"),
)
"""Messages of the engine, their meaning, and the remedy."""


class TokenKey:
    """A device key in a token; see ``core.ports.KeyStore``.

    Args:
        uri: identifies the key.
        passphrase: returns the PIN; None: the PIN is in the URI or its ``pin-source``.
        engine: the openssl engine for the token; empty: the provider pkcs11 if there is one, else the engine pkcs11.
        program: the openssl program.
    """

    def __init__(self, uri: TokenUri, passphrase: Passphrase, *, engine: str = "", program: str = "openssl") -> None:
        self.location = uri.address
        self._uri = uri
        self._passphrase = passphrase
        self._engine = engine
        self._program = program
        self._is_provider: bool | None = False if engine else None
        self._public_key_pem = ""
        self._is_pin_refused = False

    def ensure(self, *, replace: bool = False, kind: KeyType | None = None) -> bool:
        """Check that the key can be used; returns False, as a key in a token is never generated or replaced here.

        Raises:
            KeyFileError: the key can't be used, or a new one is requested.
        """
        if replace:
            text = f"cannot replace the key {self.location}: it is in a token"
            raise KeyFileError("KEY21", text, remedy="generate a new one with the token's own tools")
        present = key_type(self.public_key_pem())
        if kind not in (None, present):
            text = f"cannot generate another key: {self.location} is in a token and of another type"
            raise KeyFileError("KEY22", text, remedy="generate one with the token's own tools")
        return False

    def public_key_pem(self) -> str:
        if not self._public_key_pem:
            with OpensslCall(self._program, self._pin()) as call:
                form = [] if self._has_provider() else ["-inform", "engine"]
                public = self._run(call, ["pkey", *self._loading(), *form, "-in", self._uri.address, "-pubout"])
            text = public.decode("ascii", "replace")
            if fault := find_key_fault(text):
                raise self._error(fault, "specify another key")
            self._public_key_pem = text
        return self._public_key_pem

    def sign(self, message: bytes) -> bytes:
        is_ed25519 = key_type(self.public_key_pem()) is KeyType.ED25519
        form = [] if self._has_provider() else ["-keyform", "engine"]
        with OpensslCall(self._program, self._pin()) as call:
            key, data = self._uri.address, call.file(message)
            if is_ed25519:
                arguments = ["pkeyutl", *self._loading(), *form, "-sign", "-rawin", "-inkey", key, "-in", data]
            else:
                arguments = ["dgst", *self._loading(), *form, "-sha256", "-sign", key, data]
            return self._run(call, arguments)

    def _pin(self) -> bytes | None:
        pin = self._passphrase()
        if pin is not None:
            return pin
        if self._uri.pin is not None:
            return self._uri.pin
        return read_secret(Path(self._uri.pin_file), "PIN") if self._uri.pin_file else None

    def _has_provider(self) -> bool:
        if self._is_provider is None:
            try:
                with OpensslCall(self._program) as call:
                    call.run(["list", "-providers", "-provider", _DEFAULT], f"use the key {self.location}")
                self._is_provider = True
            except ProgramError:
                self._is_provider = False
        return self._is_provider

    def _loading(self) -> Sequence[str]:
        if self._has_provider():
            return ["-provider", "default", "-provider", _DEFAULT]
        return ["-engine", self._engine or _DEFAULT]

    def _run(self, call: OpensslCall, arguments: Sequence[str]) -> bytes:
        if self._is_pin_refused:
            raise self._error(_REFUSED, _HOW)
        try:
            return call.run(arguments, f"use the key {self.location}")
        except ProgramError as error:
            known = ((meaning, remedy) for words, meaning, remedy in _CAUSES if words in error.complaint)
            cause, remedy = next(known, (error.text, error.remedy))
            self._is_pin_refused = cause == _REFUSED
            raise self._error(cause, remedy) from error

    def _error(self, reason: str, remedy: str) -> KeyFileError:
        return KeyFileError("KEY23", f"cannot use the key {self.location}: {reason}", remedy=remedy)
