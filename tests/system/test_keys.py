"""The device key: both back ends through one suite."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mender_client.errors import KeyFileError, StorageError
from mender_client.system.keys import (
    RSA_BITS,
    Backend,
    CryptographyBackend,
    DeviceKey,
    OpensslBackend,
    choose_backend,
)

BACKENDS: dict[str, Callable[[], Backend]] = {"cryptography": CryptographyBackend, "openssl": OpensslBackend}
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

KEYS: dict[str, tuple[Private, PrivateFormat]] = {
    "RSA PKCS#1": (RSA, PrivateFormat.TraditionalOpenSSL),
    "RSA PKCS#8": (RSA, PrivateFormat.PKCS8),
    "P-256 SEC1": (P256, PrivateFormat.TraditionalOpenSSL),
    "P-256 PKCS#8": (P256, PrivateFormat.PKCS8),
    "P-384 SEC1": (P384, PrivateFormat.TraditionalOpenSSL),
    "P-384 PKCS#8": (P384, PrivateFormat.PKCS8),
    "Ed25519 PKCS#8": (ED25519, PrivateFormat.PKCS8),
}
MESSAGE = b'{"id_data":"{}"}'

PATHS = f"import sys; sys.path[:] = {sys.path!r}\n"
"""The head of code for a child process that starts bare, so that nothing of ours but the code at hand runs in it."""


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each back end in turn."""
    return BACKENDS[request.param]()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key goes; the path has a space."""
    folder = tmp_path / "a device"
    folder.mkdir()
    return folder / "mender-agent.pem"


def pem(name: str) -> bytes:
    """A key in its form."""
    key, form = KEYS[name]
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def public_pem(key: Private) -> bytes:
    """Its public key."""
    return key.public_key().public_bytes(Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def is_signed(key: Private, message: bytes, signature: bytes) -> bool:
    """Whether a server would accept the signature."""
    try:
        if isinstance(key, rsa.RSAPrivateKey):
            key.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            key.public_key().verify(signature, message, ec.ECDSA(hashes.SHA256()))
        else:
            key.public_key().verify(signature, message)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("name", KEYS)
def test_existing_keys(backend: Backend, path: Path, name: str) -> None:
    """An existing key of every kind and PEM form is used as it is, and signs as the server verifies."""
    path.write_bytes(pem(name))
    key = DeviceKey(path, backend)
    assert not key.ensure()
    assert public_pem(KEYS[name][0]).decode() == key.public_key_pem()
    assert is_signed(KEYS[name][0], MESSAGE, key.sign(MESSAGE))
    assert pem(name) == path.read_bytes()


@pytest.mark.parametrize("name", ["RSA PKCS#1", "RSA PKCS#8", "Ed25519 PKCS#8"])
def test_same_signatures(path: Path, name: str) -> None:
    """Both back ends make the same signatures where they are deterministic."""
    path.write_bytes(pem(name))
    first, second = (BACKENDS[which]().sign(path, MESSAGE) for which in sorted(BACKENDS))
    assert first == second


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("message", [b"\0", b"x" * 50_000], ids=["NUL", "long"])
def test_verify(backend: Backend, path: Path, name: str, message: bytes) -> None:
    """A signature is verified for its key and message, and for no other."""
    path.write_bytes(pem(name))
    signature = CryptographyBackend().sign(path, message)
    public = public_pem(KEYS[name][0])
    assert backend.verify(public, message, signature)
    assert not backend.verify(public, message + b"x", signature)
    assert not backend.verify(public, message, signature[:-1])
    assert not backend.verify(public, message, b"")


@pytest.mark.parametrize("public", [b"", b"garbage", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_verify_with_a_broken_key(backend: Backend, public: bytes) -> None:
    """A public key that can't be read is named as the fault; it isn't taken for a wrong signature."""
    with pytest.raises(KeyFileError, match=r"cannot use the public key: it is no public key in PEM form"):
        backend.verify(public, MESSAGE, b"signature")


def test_bootstrap(backend: Backend, path: Path) -> None:
    """A first start makes an RSA key of 3072 bits, for the owner alone whatever the umask."""
    previous = os.umask(0)
    try:
        key = DeviceKey(path, backend)
        assert key.ensure()
    finally:
        os.umask(previous)
    made = serialization.load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(made, rsa.RSAPrivateKey)
    assert (RSA_BITS, 3072) == (made.key_size, RSA_BITS)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(path.parent.iterdir())
    assert is_signed(made, MESSAGE, key.sign(MESSAGE))
    assert not key.ensure()


def test_replace(path: Path) -> None:
    """A forced bootstrap replaces the key, also a broken one, and the new key is the one that is shown and used."""
    path.write_bytes(pem("Ed25519 PKCS#8"))
    key = DeviceKey(path, CryptographyBackend())
    before = key.public_key_pem()
    assert key.ensure(replace=True)
    assert before != key.public_key_pem()
    path.write_text("garbage")
    assert key.ensure(replace=True)


def _encrypted(form: PrivateFormat) -> bytes:
    scheme = serialization.BestAvailableEncryption(b"a pass phrase")
    return RSA.private_bytes(Encoding.PEM, form, scheme)


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "garbage": b"garbage",
    "binary": bytes(range(256)),
    "cut off": pem("RSA PKCS#8")[:400],
    "a public key": public_pem(RSA),
    "DER": RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())[:-9],
    "PEM of garbage": b"-----BEGIN PRIVATE KEY-----\nZ2FyYmFnZQ==\n-----END PRIVATE KEY-----\n",
    "encrypted PKCS#8": _encrypted(PrivateFormat.PKCS8),
    "encrypted PKCS#1": _encrypted(PrivateFormat.TraditionalOpenSSL),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_keys(backend: Backend, path: Path, name: str) -> None:
    """A key that can't be used is an error that names the file and the ways out, and is never overwritten."""
    path.write_bytes(BROKEN[name])
    key = DeviceKey(path, backend)
    for use in (key.ensure, key.public_key_pem, lambda: key.sign(MESSAGE)):
        with pytest.raises(KeyFileError) as caught:
            use()
        assert str(path) in str(caught.value)
        assert str(caught.value).isprintable()
    with pytest.raises(
        KeyFileError, match=r"cannot use the device key .*; put back the right file, or replace .*-force"
    ):
        key.ensure()
    assert BROKEN[name] == path.read_bytes()


def test_key_of_another_kind(backend: Backend, path: Path) -> None:
    """A key that the server has no signature for is refused when it is to sign."""
    other = dsa.generate_private_key(1024)
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(
        KeyFileError, match=r"cannot use the device key .*: it is neither an RSA, an ECDSA nor an Ed25519"
    ):
        DeviceKey(path, backend).ensure()


def test_missing_key(backend: Backend, path: Path) -> None:
    """A missing key is named, with the command that makes one."""
    with pytest.raises(KeyFileError, match=r"cannot find the device key .*; make one with 'mender-python-client boot"):
        DeviceKey(path, backend).sign(MESSAGE)


def test_key_that_is_a_folder(backend: Backend, path: Path) -> None:
    """A key path that can't be read is an error, and nothing is made in its place."""
    path.mkdir()
    with pytest.raises(KeyFileError, match=r"cannot read the device key .*: Is a directory"):
        DeviceKey(path, backend).ensure()
    assert path.is_dir()


def test_dangling_link(backend: Backend, path: Path) -> None:
    """A link to a key on a disk that isn't mounted is an error: a new key would make another device of this one."""
    path.symlink_to(path.parent / "not mounted" / "key.pem")
    with pytest.raises(KeyFileError, match=r"cannot find the device key"):
        DeviceKey(path, backend).ensure()
    assert path.is_symlink()


def test_no_folder(path: Path) -> None:
    """A key that can't be written is a StorageError."""
    with pytest.raises(StorageError, match=r"cannot write .*: No such file or directory"):
        DeviceKey(path / "no" / "folder.pem", CryptographyBackend()).ensure()


def test_unreadable_key(path: Path) -> None:
    """A key of another user is an error with a remedy, for the client of an unprivileged user."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    path.write_bytes(pem("Ed25519 PKCS#8"))
    path.chmod(0o600)
    code = f"""
import os, pathlib, sys
from mender_client.errors import KeyFileError
from mender_client.system.keys import DeviceKey, OpensslBackend
os.setgid(65534); os.setuid(65534)
try:
    DeviceKey(pathlib.Path({str(path)!r}), OpensslBackend()).ensure()
except KeyFileError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PATHS + code], capture_output=True, text=True, timeout=20, check=False
    )
    assert "" == done.stderr
    assert done.stdout.startswith("cannot read the device key ")
    assert done.stdout.endswith(": Permission denied; check its owner and mode\n")


def test_openssl_missing(path: Path) -> None:
    """Without the openssl program the error says what to install."""
    backend = OpensslBackend("/no/such/openssl")
    with pytest.raises(
        KeyFileError, match=r"cannot make a device key: cannot run /no/such/openssl: No such file .* install"
    ):
        DeviceKey(path, backend).ensure()
    assert not path.exists()
    path.write_bytes(pem("RSA PKCS#8"))
    with pytest.raises(KeyFileError, match=r"cannot read the (device )?key .*: cannot run /no/such/openssl"):
        DeviceKey(path, backend).sign(MESSAGE)
    with pytest.raises(KeyFileError, match=r"cannot verify a signature: cannot run /no/such/openssl"):
        backend.verify(public_pem(RSA), MESSAGE, b"")


def test_choice() -> None:
    """Where the cryptography package is installed it is used."""
    assert CryptographyBackend is type(choose_backend())


def test_choice_without_cryptography() -> None:
    """Where the cryptography package is missing the openssl program does the work."""
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p or 'mender' in p]\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2] / 'src')!r})\n"
        "from mender_client.system.keys import choose_backend; print(type(choose_backend()).__name__)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert "OpensslBackend\n" == done.stdout
