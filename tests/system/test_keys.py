"""The device key: the same tests for both back ends."""

from __future__ import annotations

import functools
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

from keys import RSA
from mender_client.core.devicekey import KeyType, key_type
from mender_client.errors import KeyFileError, StorageError
from mender_client.system.backend import RSA_BITS, Backend
from mender_client.system.crypto import choose_backend
from mender_client.system.cryptolib import CryptographyBackend
from mender_client.system.keys import DeviceKey, Passphrase, load_private_key, no_passphrase
from mender_client.system.openssl import OpensslBackend

BACKENDS: dict[str, Callable[[], Backend]] = {"cryptography": CryptographyBackend, "openssl": OpensslBackend}
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
LOCKED = {f"{name}, encrypted": name for name in KEYS}
MESSAGE = b'{"id_data":"{}"}'
SECRET = b"a pass phrase \xc3\xa4"

PATHS = f"import sys; sys.path[:] = {sys.path!r}\n"
"""Sets the module path in a child process that starts without the ``site`` module, so that it runs no other code."""


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each back end in turn."""
    return BACKENDS[request.param]()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the key file; it contains a space."""
    directory = tmp_path / "a device"
    directory.mkdir()
    return directory / "mender-agent.pem"


@functools.cache
def pem(name: str) -> bytes:
    """A key in its PEM form, encrypted or not."""
    key, form = KEYS[LOCKED.get(name, name)]
    protection = serialization.BestAvailableEncryption(SECRET) if name in LOCKED else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, protection)


def given() -> bytes:
    """The operator's passphrase."""
    return SECRET


def public_pem(key: Private) -> bytes:
    """The public key of a private key, as PEM."""
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


@pytest.mark.parametrize("name", [*KEYS, *LOCKED])
def test_existing_keys(backend: Backend, path: Path, name: str) -> None:
    """An existing key of any type and PEM form, encrypted or not, is used unchanged, and its signatures are valid."""
    path.write_bytes(pem(name))
    private = KEYS[LOCKED.get(name, name)][0]
    key = DeviceKey(path, backend, given)
    assert not key.ensure()
    assert public_pem(private).decode() == key.public_key_pem()
    assert is_signed(private, MESSAGE, key.sign(MESSAGE))
    assert pem(name) == path.read_bytes()


@pytest.mark.parametrize("name", [name for name in (*KEYS, *LOCKED) if not name.startswith("P-")])
def test_same_signatures(path: Path, name: str) -> None:
    """Both back ends make identical signatures with RSA and Ed25519, whose signatures are deterministic."""
    path.write_bytes(pem(name))
    key = load_private_key(path, given)
    first, second = (BACKENDS[which]().sign(key, MESSAGE) for which in sorted(BACKENDS))
    assert first == second


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("signer", sorted(BACKENDS))
@pytest.mark.parametrize("message", [b"\0", b"x" * 50_000], ids=["NUL", "long"])
def test_verify(backend: Backend, signer: str, path: Path, name: str, message: bytes) -> None:
    """Each back end accepts the signatures of both for their message and key only, and only if they are complete."""
    path.write_bytes(pem(name))
    signature = BACKENDS[signer]().sign(load_private_key(path, no_passphrase), message)
    public = public_pem(KEYS[name][0])
    assert backend.verify(public, message, signature)
    assert not backend.verify(public, message + b"x", signature)
    assert not backend.verify(public, message, signature[:-1])
    assert not backend.verify(public, message, b"")
    assert [False, False] == [backend.verify(other, message, signature) for other in (another(name), another("P-256"))]


@functools.cache
def another(name: str) -> bytes:
    """The public key of another pair of the same type, as PEM."""
    key = KEYS.get(name, (P256,))[0]
    if isinstance(key, rsa.RSAPrivateKey):
        return public_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return public_pem(ec.generate_private_key(key.curve))
    return public_pem(ed25519.Ed25519PrivateKey.generate())


def test_key_among_others(backend: Backend, path: Path) -> None:
    """Curve parameters before the key, and a comment and a certificate after it, are ignored."""
    before = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    behind = b"a comment\r\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    path.write_bytes(before + pem("P-256 SEC1").replace(b"\n", b"\r\n") + behind)
    assert public_pem(P256).decode() == DeviceKey(path, backend).public_key_pem()


@pytest.mark.parametrize("public", [b"", b"garbage", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_verify_with_a_broken_key(backend: Backend, public: bytes) -> None:
    """An unreadable public key is reported as such, and not as a wrong signature."""
    with pytest.raises(KeyFileError, match=r"cannot use the public key: it is not a public key in PEM form"):
        backend.verify(public, MESSAGE, b"signature")


@pytest.mark.parametrize(
    ("kind", "passphrase"),
    [
        (None, no_passphrase),
        pytest.param(KeyType.RSA, given, marks=pytest.mark.nightly),
        (KeyType.ECDSA, no_passphrase),
        (KeyType.ECDSA, given),
        (KeyType.ED25519, no_passphrase),
        (KeyType.ED25519, given),
    ],
    ids=["default", "RSA encrypted", "ECDSA", "ECDSA encrypted", "Ed25519", "Ed25519 encrypted"],
)
def test_bootstrap(backend: Backend, path: Path, kind: KeyType | None, passphrase: Passphrase) -> None:
    """The first start generates a key of the requested type, by default RSA 3072, that only its owner can read."""
    previous = os.umask(0)
    try:
        key = DeviceKey(path, backend, passphrase)
        assert key.ensure(kind=kind)
    finally:
        os.umask(previous)
    made = serialization.load_pem_private_key(path.read_bytes(), password=passphrase())
    assert isinstance(made, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
    if isinstance(made, rsa.RSAPrivateKey):
        assert (RSA_BITS, 3072) == (made.key_size, RSA_BITS)
    if isinstance(made, ec.EllipticCurvePrivateKey):
        assert "secp256r1" == made.curve.name
    assert (kind or KeyType.RSA) is key_type(key.public_key_pem())
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED" if passphrase() else b"-----BEGIN PRIVATE KEY")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(path.parent.iterdir())
    assert is_signed(made, MESSAGE, key.sign(MESSAGE))
    assert not key.ensure(kind=kind)


def test_key_of_another_type(path: Path) -> None:
    """A key of a type other than the requested one is kept, and the error names the option that replaces it."""
    path.write_bytes(pem("Ed25519 PKCS#8"))
    key = DeviceKey(path, CryptographyBackend())
    with pytest.raises(KeyFileError, match=r"cannot generate an ECDSA key: .* is an Ed25519 key; .*--forcebootstrap"):
        key.ensure(kind=KeyType.ECDSA)
    assert pem("Ed25519 PKCS#8") == path.read_bytes()
    assert key.ensure(kind=KeyType.ECDSA, replace=True)
    assert KeyType.ECDSA is key_type(key.public_key_pem())


def test_half_a_key_is_never_used(path: Path) -> None:
    """A partial key in a temporary file, left by a power cut, is ignored, and a new key is generated."""
    path.with_name(f".{path.name}.0123456789abcdef.tmp").write_bytes(pem("RSA PKCS#8")[:300])
    assert DeviceKey(path, CryptographyBackend()).ensure(kind=KeyType.ED25519)


def test_planted_link(path: Path) -> None:
    """A new key replaces a symbolic link, whose target is not changed."""
    victim = path.parent / "victim"
    victim.write_text("untouched")
    path.symlink_to(victim)
    assert DeviceKey(path, CryptographyBackend()).ensure(kind=KeyType.ED25519, replace=True)
    assert ("untouched", False) == (victim.read_text(), path.is_symlink())


def test_replace(path: Path) -> None:
    """A forced bootstrap replaces the key, even an unusable one, and from then on the new key is shown and signs."""
    path.write_bytes(pem("Ed25519 PKCS#8"))
    key = DeviceKey(path, CryptographyBackend())
    shown = {key.public_key_pem()}
    assert is_signed(ED25519, MESSAGE, key.sign(MESSAGE))
    for _ in range(2):
        assert key.ensure(kind=KeyType.ED25519, replace=True)
        made = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(made, ed25519.Ed25519PrivateKey)
        assert public_pem(made).decode() == key.public_key_pem()
        assert is_signed(made, MESSAGE, key.sign(MESSAGE))
        shown.add(key.public_key_pem())
        path.write_text("garbage")
    assert 3 == len(shown)


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "zeros": (bytes(512), "it is empty"),
    "garbage": (b"garbage", "it contains no PEM block"),
    "binary": (bytes(range(256)), "it contains no PEM block"),
    "cut off": (pem("RSA PKCS#8")[:400], "it is truncated: a PEM block has no end"),
    "two halves": (pem("RSA PKCS#8")[:400] + b"\n" + pem("RSA PKCS#8"), "it is truncated"),
    "a piece missing": (pem("RSA PKCS#8")[:400] + pem("RSA PKCS#8")[900:], "it is damaged"),
    "wrong end": (pem("RSA PKCS#8").replace(b"END PRIVATE", b"END RSA PRIVATE"), "it is damaged: the beginning"),
    "two keys": (
        pem("RSA PKCS#8") + pem("P-256 SEC1"),
        "it contains 2 private keys; put each key into a file of its own",
    ),
    "a public key": (public_pem(RSA), "it contains a public key and no private key"),
    "a certificate": (
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "it contains a certificate and no private key",
    ),
    "DER": (RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())[:-9], "it contains no PEM block"),
    "OpenSSH": (
        ED25519.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "it is in OpenSSH's format; convert a copy with 'ssh-keygen -p -m PKCS8 -f FILE'",
    ),
    "a key of a TPM": (
        b"-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n-----END TSS2 PRIVATE KEY-----\n",
        "the key is inside a TPM; specify it as a pkcs11: URI",
    ),
    "DSA": (
        b"-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n",
        "it is neither an RSA, an ECDSA nor an Ed25519 key",
    ),
    "PEM of garbage": (
        b"-----BEGIN PRIVATE KEY-----\nZ2FyYmFnZQ==\n-----END PRIVATE KEY-----\n",
        "it is damaged, or of a type that no server supports",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_keys(backend: Backend, path: Path, name: str) -> None:
    """An unusable key causes an error that names the file, the fault and the remedy, and is never overwritten."""
    content, fault = BROKEN[name]
    path.write_bytes(content)
    key = DeviceKey(path, backend)
    for use in (key.ensure, key.public_key_pem, lambda: key.sign(MESSAGE)):
        with pytest.raises(KeyFileError) as caught:
            use()
        message = str(caught.value)
        assert message.startswith(f"cannot use the device key {path}: {fault}")
        assert message.isprintable()
        assert caught.value.remedy in fault or caught.value.remedy.startswith("restore the right file, or replace the")
    assert content == path.read_bytes()


@pytest.mark.parametrize("name", LOCKED)
def test_passphrases(backend: Backend, path: Path, name: str) -> None:
    """A missing and a wrong passphrase cause different errors, which don't contain it, and the key is not changed."""
    path.write_bytes(pem(name))
    with pytest.raises(KeyFileError, match=r"it is encrypted; pass its passphrase with --passphrase-file FILE"):
        DeviceKey(path, backend).ensure()
    with pytest.raises(KeyFileError, match=r"the passphrase is wrong, or the key is damaged; pass the right") as caught:
        DeviceKey(path, backend, lambda: b"Wrong-Passphrase").ensure()
    error: BaseException | None = caught.value
    while error is not None:
        assert "Wrong-Passphrase" not in repr(error)
        error = error.__cause__ or error.__context__
    assert pem(name) == path.read_bytes()


def test_passphrase_is_asked_for_when_needed(backend: Backend, path: Path) -> None:
    """For a key that isn't encrypted, the passphrase is never requested."""
    path.write_bytes(pem("Ed25519 PKCS#8"))

    def refuse() -> bytes:
        raise AssertionError("asked for")

    assert is_signed(ED25519, MESSAGE, DeviceKey(path, backend, refuse).sign(MESSAGE))


def test_openssl_gets_no_secret_on_its_command_line(path: Path, tmp_path: Path) -> None:
    """Neither the key nor the passphrase appears in the arguments or the environment of the openssl program."""
    program, seen = tmp_path / "openssl", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\n{{ echo "$@"; env; }} >>{seen}\nexec openssl "$@"\n')
    program.chmod(0o755)
    key = DeviceKey(path, OpensslBackend(str(program)), lambda: b"The-Passphrase")
    for kind in (KeyType.ECDSA, KeyType.ED25519):
        key.ensure(kind=kind, replace=True)
        key.sign(MESSAGE)
    told = seen.read_text()
    assert "-aes-256-cbc" in told
    assert "The-Passphrase" not in told
    assert path.read_text().splitlines()[1] not in told


def test_key_of_another_kind(backend: Backend, path: Path) -> None:
    """A key of a type that no server supports is refused at the start."""
    other = dsa.generate_private_key(1024)
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(
        KeyFileError, match=r"cannot use the device key .*: it is neither an RSA, an ECDSA nor an Ed25519"
    ):
        DeviceKey(path, backend).ensure()


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_curves_that_no_server_verifies(backend: Backend, path: Path, curve: ec.EllipticCurve) -> None:
    """A key on a curve for which the server would always answer 400 is refused at the start."""
    other = ec.generate_private_key(curve)
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyFileError, match=r"cannot use the device key .*: its curve is none of P-224, P-256, P-384"):
        DeviceKey(path, backend).ensure()


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_curves(backend: Backend, path: Path, curve: ec.EllipticCurve) -> None:
    """Keys on the other curves that servers support are accepted."""
    other = ec.generate_private_key(curve)
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert not DeviceKey(path, backend).ensure(kind=KeyType.ECDSA)


def test_missing_key(backend: Backend, path: Path) -> None:
    """If the key is missing, the error says so and names the command that generates one."""
    with pytest.raises(
        KeyFileError, match=r"cannot find the device key .*; generate one with 'mender-python-client boot"
    ):
        DeviceKey(path, backend).sign(MESSAGE)


def test_key_that_is_a_directory(backend: Backend, path: Path) -> None:
    """A directory in place of the key causes an error, and is not replaced."""
    path.mkdir()
    with pytest.raises(KeyFileError, match=r"cannot read the key .*: Is a directory"):
        DeviceKey(path, backend).ensure()
    assert path.is_dir()


def test_dangling_link(backend: Backend, path: Path) -> None:
    """A link to a key on a disk that isn't mounted causes an error: with a new key, this would be another device."""
    path.symlink_to(path.parent / "not mounted" / "key.pem")
    with pytest.raises(KeyFileError, match=r"cannot find the device key"):
        DeviceKey(path, backend).ensure()
    assert path.is_symlink()


def test_no_directory(path: Path) -> None:
    """If a new key can't be written, a StorageError is raised."""
    with pytest.raises(StorageError, match=r"cannot write .*: No such file or directory"):
        DeviceKey(path / "no" / "directory.pem", CryptographyBackend()).ensure()


@pytest.mark.parametrize(
    ("directory_mode", "key_mode", "beginning", "code"),
    [(0o700, 0o644, "cannot read the device key", "KEY07"), (0o755, 0o600, "cannot read the key", "KEY02")],
    ids=["directory", "key"],
)
def test_unreadable_key(path: Path, directory_mode: int, key_mode: int, beginning: str, code: str) -> None:
    """If the mode of the key, or of its directory, hides it from an unprivileged client, the error has a remedy."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    path.write_bytes(pem("Ed25519 PKCS#8"))
    path.chmod(key_mode)
    path.parent.chmod(directory_mode)
    script = f"""
import os, pathlib
from mender_client.errors import KeyFileError
from mender_client.system.keys import DeviceKey
from mender_client.system.openssl import OpensslBackend
os.chdir({str(path.parent.parent)!r})  # the directories above it are private
os.setgid(65534); os.setuid(65534)
try:
    DeviceKey(pathlib.Path({os.path.join(path.parent.name, path.name)!r}), OpensslBackend()).ensure()
except KeyFileError as error:
    print(error)
"""
    path.parent.parent.chmod(0o755)
    command = [sys.executable, "-I", "-S", "-c", PATHS + script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    where = os.path.join(path.parent.name, path.name)
    said = f"{beginning} {where}: Permission denied; run this as root, or as the client's user [{code}]\n"
    assert (said, "") == (done.stdout, done.stderr)
    assert pem("Ed25519 PKCS#8") == path.read_bytes()


UNABLE = {
    "missing library": ("echo 'openssl: error while loading shared libraries: libx.so' >&2; exit 127", "libx.so"),
    "killed": ("kill -KILL $$", "it was killed by signal 9"),
    "broken configuration": ("echo 'Auto configuration failed' >&2; exit 1", "Auto configuration failed"),
    "no /proc": (
        'for one; do shift; case $one in /proc/*) one=/none$one ;; esac; set -- "$@" "$one"; done; exec openssl "$@"',
        "/none/proc/self/fd/",
    ),
    "says nothing": ("exit 0", "it printed no public key"),
}


@pytest.mark.parametrize("name", UNABLE)
@pytest.mark.parametrize("which", ["Ed25519 PKCS#8", "RSA PKCS#8, encrypted"])
def test_openssl_that_cannot_work(path: Path, tmp_path: Path, name: str, which: str) -> None:
    """If openssl doesn't work, the error repeats the message of openssl and doesn't call the device key damaged."""
    body, words = UNABLE[name]
    program = tmp_path / "openssl"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    path.write_bytes(pem(which))
    key = DeviceKey(path, OpensslBackend(str(program)), given)
    with pytest.raises(KeyFileError) as caught:
        key.ensure()
    assert str(caught.value).startswith(f"cannot read the key {path}: cannot use {program}: ")
    assert words in caught.value.text
    assert "forcebootstrap" not in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_openssl_that_cannot_verify(tmp_path: Path) -> None:
    """If openssl can't read any key, a valid public key is not reported as invalid."""
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho 'Auto configuration failed' >&2; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(KeyFileError, match=r"cannot read a public key: cannot use .*Auto configuration failed"):
        OpensslBackend(str(program)).verify(public_pem(P256), MESSAGE, b"")


def test_openssl_missing(path: Path) -> None:
    """If the openssl program is missing, the error says so and recommends installing it."""
    backend = OpensslBackend("/no/such/openssl")
    with pytest.raises(KeyFileError, match=r"cannot make a key: cannot run /no/such/openssl: No such file .* install"):
        DeviceKey(path, backend).ensure()
    assert not path.exists()
    path.write_bytes(pem("RSA PKCS#8"))
    with pytest.raises(KeyFileError, match=r"cannot (read|sign with) .*: cannot run /no/such/openssl"):
        DeviceKey(path, backend).sign(MESSAGE)
    with pytest.raises(KeyFileError, match=r"cannot verify a signature: cannot run /no/such/openssl"):
        backend.verify(public_pem(RSA), MESSAGE, b"")


def test_choice() -> None:
    """The cryptography package is used if it is installed."""
    assert CryptographyBackend is type(choose_backend())


def test_choice_without_cryptography() -> None:
    """The openssl program is used if the cryptography package is missing."""
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p or 'mender' in p]\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2] / 'src')!r})\n"
        "from mender_client.system.crypto import choose_backend; print(type(choose_backend()).__name__)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert "OpensslBackend\n" == done.stdout


def test_damaged_private_part(tmp_path: Path) -> None:
    """Damage to the private part of an RSA key, which is loaded without a check, is detected when it signs."""
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d ^ 2, numbers.dmp1 ^ 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "key.pem"
    path.write_bytes(wrong.private_bytes(serialization.Encoding.PEM, form, plain))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="damaged"):
        DeviceKey(path, CryptographyBackend()).sign(b"message")
