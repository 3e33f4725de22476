"""A device key in a token: a software token used through an engine, and a scripted openssl for the provider."""

from __future__ import annotations

import glob
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from keys import RSA
from mender_client.core.devicekey import KeyType
from mender_client.core.tokenuri import TokenUri, parse_token_uri
from mender_client.errors import KeyFileError
from mender_client.system.cryptolib import CryptographyBackend
from mender_client.system.keys import Passphrase, no_passphrase
from mender_client.system.token import TokenKey

PIN = b"314159"
P256 = ec.generate_private_key(ec.SECP256R1())
MESSAGE = b'{"id_data":"{}"}'
MakeKey = Callable[..., TokenKey]


@dataclass(frozen=True)
class SoftToken:
    """A software token with two keys.

    Attributes:
        program: an openssl program that finds the token and records its calls.
        calls: the file with the recorded calls.
    """

    program: Path
    calls: Path


def run(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """Run a tool."""
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """A token of SoftHSM, used through the engine of libp11; skips the test if one of them is missing."""
    modules = [*glob.glob("/usr/lib*/softhsm/libsofthsm2.so"), *glob.glob("/usr/lib/*/softhsm/libsofthsm2.so")]
    if shutil.which("softhsm2-util") is None or not modules:
        pytest.skip("there is no SoftHSM (Debian: softhsm2)")
    engine = subprocess.run(["openssl", "engine", "pkcs11"], capture_output=True, check=False)
    if engine.returncode != 0:
        pytest.skip("openssl has no engine pkcs11 (Debian: libengine-pkcs11-openssl)")
    directory = tmp_path_factory.mktemp("token")
    (directory / "tokens").mkdir()
    settings = directory / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\n")
    environment = {"SOFTHSM2_CONF": str(settings), "PATH": "/usr/bin:/bin"}
    pin = PIN.decode()
    run(
        *("softhsm2-util", "--init-token", "--free", "--label", "device", "--pin", pin, "--so-pin", "00000000"),
        environment=environment,
    )
    keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {"rsa": RSA, "ec": P256}
    for number, (label, key) in enumerate(keys.items(), 1):
        file = directory / f"{label}.pem"
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        run(
            *("softhsm2-util", "--import", str(file), "--token", "device", "--label", label),
            *("--id", f"0{number}", "--pin", pin),
            environment=environment,
        )
        file.unlink()
    program, calls = directory / "openssl", directory / "calls"
    program.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; }} >>{calls}\n'
        f'SOFTHSM2_CONF={settings} PKCS11_MODULE_PATH={modules[0]} exec openssl "$@"\n'
    )
    program.chmod(0o755)
    return SoftToken(program, calls)


@pytest.fixture
def make_key(token: SoftToken) -> MakeKey:
    """Makes key stores for the token."""

    def make(text: str, passphrase: Passphrase = no_passphrase, *, engine: str = "pkcs11") -> TokenKey:
        return TokenKey(parse_token_uri(text), passphrase, engine=engine, program=str(token.program))

    return make


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """The public key of a private key, as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("engine", ["pkcs11", ""], ids=["named", "found"])
def test_rsa_in_a_token(make_key: MakeKey, engine: str) -> None:
    """An RSA key in a token returns its public key and makes the same signatures as the key in a file."""
    key = make_key("pkcs11:token=device;object=rsa", lambda: PIN, engine=engine)
    assert not key.ensure(kind=KeyType.RSA)
    assert public_pem(RSA) == key.public_key_pem()
    assert RSA.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256()) == key.sign(MESSAGE)


def test_ecdsa_in_a_token(make_key: MakeKey) -> None:
    """An ECDSA key in a token returns its public key, and its signatures are valid."""
    key = make_key("pkcs11:token=device;object=ec;type=private", lambda: PIN)
    assert public_pem(P256) == key.public_key_pem()
    assert CryptographyBackend().verify(public_pem(P256).encode(), MESSAGE, key.sign(MESSAGE))


def test_pin_from_the_address(make_key: MakeKey, tmp_path: Path) -> None:
    """A PIN in the URI works, and so does a file with the PIN that is named in the URI."""
    (tmp_path / "pin").write_bytes(PIN + b"\n")
    for secret in (f"pin-value={PIN.decode()}", f"pin-source=file:{tmp_path}/pin", f"pin-source={tmp_path}/pin"):
        for mark in "?;":
            assert make_key(f"pkcs11:token=device;object=ec{mark}{secret}").sign(MESSAGE)


def test_the_pin_is_seen_by_nobody(make_key: MakeKey, token: SoftToken) -> None:
    """The PIN never appears in the arguments or the environment of the openssl program, whatever its source."""
    token.calls.unlink(missing_ok=True)
    make_key("pkcs11:token=device;object=rsa", lambda: PIN).sign(MESSAGE)
    make_key(f"pkcs11:token=device;object=rsa?pin-value={PIN.decode()}").sign(MESSAGE)
    told = token.calls.read_text()
    assert "-sign pkcs11:token=device;object=rsa" in told
    assert PIN.decode() not in told


def test_faults_of_a_token(make_key: MakeKey) -> None:
    """A wrong token, key or PIN, and a missing PIN or engine cause different errors, without the wrong PIN."""
    for text, secret, engine, fault in (
        ("pkcs11:token=other;object=rsa", PIN, "pkcs11", "there is no such token"),
        ("pkcs11:token=device;object=other", PIN, "pkcs11", "the token has no such private key"),
        ("pkcs11:token=device;object=rsa", b"271828", "pkcs11", "the token rejects the PIN; it is not tried"),
        ("pkcs11:token=device;object=rsa", None, "pkcs11", "the token needs a PIN; pass it with --passphrase-file"),
        ("pkcs11:token=device;object=rsa", PIN, "nothing", "openssl has no such engine"),
    ):
        with pytest.raises(KeyFileError, match=f"cannot use the key {text}: {fault}") as caught:
            make_key(text, lambda secret=secret: secret, engine=engine).ensure()
        assert "271828" not in repr(caught.value)


def test_a_refused_pin_is_not_tried_again(make_key: MakeKey, token: SoftToken) -> None:
    """A PIN that the token has refused is not tried again, since a token locks itself after a few wrong PINs."""
    key = make_key("pkcs11:token=device;object=rsa", lambda: b"271828")
    with pytest.raises(KeyFileError, match="not tried again before a restart"):
        key.public_key_pem()
    token.calls.unlink()
    with pytest.raises(KeyFileError, match=r"the token rejects the PIN.*not tried again before a restart"):
        key.sign(MESSAGE)
    assert not token.calls.exists()


def test_a_key_in_a_token_is_never_made() -> None:
    """A forced bootstrap is refused: the operator manages the keys in a token."""
    key = TokenKey(parse_token_uri("pkcs11:object=a"), no_passphrase, program="/no/such/openssl")
    with pytest.raises(KeyFileError, match="cannot replace the key pkcs11:object=a: it is in a token"):
        key.ensure(replace=True)


def test_another_type_in_a_token(make_key: MakeKey) -> None:
    """If a key of another type is requested, the error says that the key is in a token."""
    with pytest.raises(KeyFileError, match=r"cannot generate another key: pkcs11:.*is in a token and of another type"):
        make_key("pkcs11:token=device;object=ec", lambda: PIN).ensure(kind=KeyType.RSA)


@pytest.fixture
def provider(tmp_path: Path) -> SoftToken:
    """An openssl program that claims to have the provider, records its arguments, and uses a key in a file instead."""
    key, calls, program = tmp_path / "key.pem", tmp_path / "calls", tmp_path / "openssl"
    key.write_bytes(P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{calls}\n'
        'case "$1" in\nlist) ;;\n'
        f"pkey) openssl pkey -in {key} -pubout ;;\n"
        f'*) for last; do :; done; openssl dgst -sha256 -sign {key} "$last" ;;\nesac\n'
    )
    program.chmod(0o755)
    return SoftToken(program, calls)


def test_a_provider_is_preferred(provider: SoftToken) -> None:
    """If openssl has the provider pkcs11 and no engine is configured, the key is used through the provider."""
    key = TokenKey(TokenUri("pkcs11:object=a"), lambda: PIN, program=str(provider.program))
    assert public_pem(P256) == key.public_key_pem()
    assert CryptographyBackend().verify(public_pem(P256).encode(), MESSAGE, key.sign(MESSAGE))
    search, show, sign = provider.calls.read_text().splitlines()
    assert "list -providers -provider pkcs11" == search
    assert show.startswith("pkey -passin fd:")
    assert show.endswith("-provider default -provider pkcs11 -in pkcs11:object=a -pubout")
    assert "-provider default -provider pkcs11 -sha256 -sign pkcs11:object=a /proc/self/fd/" in sign


def test_a_key_of_no_type(tmp_path: Path) -> None:
    """If openssl doesn't print a supported public key, the key is refused at the start."""
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho nonsense\n")
    program.chmod(0o755)
    with pytest.raises(KeyFileError, match="it is neither an RSA, an ECDSA nor an Ed25519 key"):
        TokenKey(TokenUri("pkcs11:object=a"), no_passphrase, program=str(program)).ensure()
