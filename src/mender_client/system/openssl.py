"""The crypto back end for devices without the ``cryptography`` package: the ``openssl`` program.

No key, passphrase or PIN appears on its command line or in its environment; its input files are in memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack

from mender_client.core.devicekey import KeyType, key_type
from mender_client.errors import KeyFileError, ScriptError

from .backend import RSA_BITS, PrivateKey, broken_public_key, unreadable
from .process import ProgramError, ScriptLimits, run_script

_GENERATE = ScriptLimits(seconds=900.0)  # an RSA key can take minutes on a small processor
_USE = ScriptLimits(seconds=60.0, output_bytes=65536)
_ALGORITHMS: dict[KeyType, Sequence[str]] = {
    KeyType.RSA: ("RSA", "-pkeyopt", f"rsa_keygen_bits:{RSA_BITS}"),
    KeyType.ECDSA: ("EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"),
    KeyType.ED25519: ("ED25519",),
}

_FAILED = 1
"""The exit code of openssl for any failure; others are those of a shell or a signal."""
_GOOD_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9jXWBzgjXwRU5ik1jGB7UF7kFHjk
4FndmkX3H/Uv4gsQo0HQ0NNFfS4zPx8CUrM2JAVCwz5SNO1EpfhEk+RCXQ==
-----END PUBLIC KEY-----
"""
"""An arbitrary valid key, which every working openssl can read."""


class OpensslCall:
    """One run of the program, whose input files are in memory and hidden from other users.

    Args:
        program: its name or path.
        secret: a passphrase or PIN; None for none.
        option: the option that passes the secret.
    """

    def __init__(self, program: str, secret: bytes | None = None, option: str = "-passin") -> None:
        self._program = program
        self._secret = secret
        self._option = option
        self._stack = ExitStack()
        self._descriptors: list[int] = []

    def __enter__(self) -> OpensslCall:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def file(self, data: bytes) -> str:
        """Create an input file; returns the path under which the program can open it."""
        descriptor = os.memfd_create("mender", os.MFD_CLOEXEC)
        self._stack.callback(os.close, descriptor)
        self._descriptors.append(descriptor)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return f"/proc/self/fd/{descriptor}"

    def run(self, arguments: Sequence[str], action: str, *, limits: ScriptLimits = _USE) -> bytes:
        """Run the program to its end.

        Args:
            arguments: the subcommand and its arguments, without the secret.
            action: what the run is for, in messages: cannot ACTION.
            limits: its limits.

        Returns:
            Its standard output.

        Raises:
            ProgramError: it ran and failed.
            KeyFileError: it can't be run, or took too long.
        """
        subcommand, *others = arguments
        if self._secret is not None:
            self.file(self._secret + b"\n")
            others = [self._option, f"fd:{self._descriptors[-1]}", *others]
        try:
            return run_script([self._program, subcommand, *others], limits=limits, pass_descriptors=self._descriptors)
        except ProgramError:
            raise
        except ScriptError as error:
            raise KeyFileError("KEY09", f"cannot {action}: {error.text}", remedy=error.remedy) from error


class OpensslBackend:
    """The ``openssl`` program; see ``backend.Backend``."""

    def __init__(self, program: str = "openssl") -> None:
        self._program = program

    def generate(self, kind: KeyType, passphrase: bytes | None = None) -> bytes:
        with OpensslCall(self._program, passphrase, "-pass") as call:
            cipher = [] if passphrase is None else ["-aes-256-cbc"]
            return call.run(["genpkey", "-algorithm", *_ALGORITHMS[kind], *cipher], "make a key", limits=_GENERATE)

    def public_key_pem(self, key: PrivateKey) -> str:
        action = f"read the key {key.file}"
        with OpensslCall(self._program, key.passphrase) as call:
            try:
                output = call.run(["pkey", "-in", call.file(key.pem), "-pubout"], action)
            except ProgramError as error:
                self._check_program(error, action)
                raise unreadable(key) from error
        if not output:
            raise _useless(action, ProgramError(self._program, "printed no public key", ""))
        return output.decode("ascii", "replace")

    def _check_program(self, failure: ProgramError, action: str) -> None:
        """Raise an error about the program if it was ended, or if it can't read a good key either."""
        if failure.code != _FAILED:
            raise _useless(action, failure) from failure
        with OpensslCall(self._program) as call:
            try:
                call.run(["pkey", "-pubin", "-in", call.file(_GOOD_KEY), "-noout"], action)
            except ProgramError as error:
                raise _useless(action, error) from error

    def sign(self, key: PrivateKey, message: bytes) -> bytes:
        # an unencrypted private key contains the type in the same form
        pem = self.public_key_pem(key) if key.passphrase is not None else key.pem.decode("ascii", "replace")
        is_ed25519 = key_type(pem) is KeyType.ED25519
        with OpensslCall(self._program, key.passphrase) as call:
            private, data = call.file(key.pem), call.file(message)
            if is_ed25519:
                arguments = ["pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", data]
            else:
                arguments = ["dgst", "-sha256", "-sign", private, data]
            try:
                return call.run(arguments, f"sign with {key.file}")
            except ProgramError as error:
                self.public_key_pem(key)  # raises a clearer error if the key can't be read
                text = f"cannot sign with {key.file}: {error.text}"
                raise KeyFileError("KEY10", text, remedy=error.remedy) from error

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        with OpensslCall(self._program) as call:
            key, made, data = call.file(public_key), call.file(signature), call.file(message)
            if key_type(public_key.decode("ascii", "replace")) is KeyType.ED25519:
                arguments = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key, "-sigfile", made, "-in", data]
            else:
                arguments = ["dgst", "-sha256", "-verify", key, "-signature", made, data]
            try:
                call.run(arguments, "verify a signature")
            except ProgramError:
                self._check_public(public_key)
                return False
            return True

    def _check_public(self, public_key: bytes) -> None:
        """Tell an invalid key from an invalid signature; openssl fails in the same way for both."""
        with OpensslCall(self._program) as call:
            try:
                call.run(["pkey", "-pubin", "-in", call.file(public_key), "-noout"], "read a public key")
            except ProgramError as error:
                self._check_program(error, "read a public key")
                raise broken_public_key() from error


def _useless(action: str, failure: ProgramError) -> KeyFileError:
    can_pass_files = os.path.exists("/proc/self/fd")
    remedy = "repair it: 'openssl version' must work as the client's user" if can_pass_files else "mount /proc"
    return KeyFileError("KEY26", f"cannot {action}: {failure.text}", remedy=remedy)
