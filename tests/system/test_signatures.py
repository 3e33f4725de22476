"""Signatures of Artifacts, with files and keys of the reference tool, for both back ends."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from keys import RSA
from mender_client.core.artifact import ArtifactReader
from mender_client.errors import ArtifactError, ConfigError, KeyFileError
from mender_client.system.backend import Backend
from mender_client.system.cryptolib import CryptographyBackend
from mender_client.system.openssl import OpensslBackend
from mender_client.system.signatures import SigningKey, VerifyKeys

DATA = Path(__file__).parents[1] / "data" / "artifacts"
BACKENDS: dict[str, Callable[[], Backend]] = {"cryptography": CryptographyBackend, "openssl": OpensslBackend}
P256 = ec.generate_private_key(ec.SECP256R1())
P384, ED25519 = ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
MANIFEST = b"0" * 64 + b"  version\n"


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each back end in turn."""
    return BACKENDS[request.param]()


def keys(backend: Backend, *names: str) -> VerifyKeys:
    """Keys of the reference files, by name."""
    return VerifyKeys("ArtifactVerifyKeys", [DATA / f"{name}.pub" for name in names], backend)


def check(name: str, check_signature: VerifyKeys) -> str:
    """Return why a reference file is refused; empty if it is accepted."""
    try:
        ArtifactReader(io.BytesIO((DATA / f"{name}.mender").read_bytes()), check_signature=check_signature).finish()
    except ArtifactError as error:
        return str(error)
    return ""


def stored(path: Path, key: Private, *, is_public: bool) -> Path:
    """Write the public or the private key as PEM."""
    if is_public:
        path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    else:
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize(("name", "key"), [("signed-rsa", "rsa3072"), ("signed-ecdsa", "ecdsa")])
def test_an_artifact_is_accepted_by_the_key_that_signed_it(backend: Backend, name: str, key: str) -> None:
    """A signature by any one of the keys is accepted, so that keys can be rotated."""
    assert "" == check(name, keys(backend, key))
    assert "" == check(name, keys(backend, "other", key))
    assert "" == check(name, keys(backend, "rsa3072", "ecdsa", "other"))


@pytest.mark.parametrize(("name", "wrong"), [("signed-rsa", ["ecdsa", "other"]), ("signed-ecdsa", ["rsa3072"])])
def test_an_artifact_signed_by_another_key_is_refused(backend: Backend, name: str, wrong: list[str]) -> None:
    """The error says that the signature matches none of the keys, and names their files."""
    message = check(name, keys(backend, *wrong))
    assert message.startswith("cannot accept the Artifact: its signature matches none of the keys of Artifact")
    assert all(str(DATA / f"{key}.pub") in message for key in wrong)


def test_an_unsigned_artifact_is_refused(backend: Backend) -> None:
    """If a key is configured, an Artifact without a signature is refused, and the error says that it is missing."""
    assert "it is not signed (no manifest.sig), but a verify key is configured" in check(
        "rootfs-gzip", keys(backend, "rsa3072")
    )


def test_a_refusal_comes_before_the_payload() -> None:
    """An Artifact with a wrong signature is refused before anything after the signature is read."""
    stream = io.BytesIO((DATA / "signed-rsa.mender").read_bytes())
    with pytest.raises(ArtifactError, match="none of the keys"):
        ArtifactReader(stream, check_signature=keys(CryptographyBackend(), "other")).read_header()
    assert stream.tell() <= 3072


def test_both_forms_of_ecdsa_are_accepted(backend: Backend, tmp_path: Path) -> None:
    """An ECDSA signature is accepted as r followed by s, the form in which they are made, and as DER."""
    check_signature = VerifyKeys("ArtifactVerifyKey", [stored(tmp_path / "key", P256, is_public=True)], backend)
    der = P256.sign(MANIFEST, ec.ECDSA(hashes.SHA256()))
    raw = SigningKey(stored(tmp_path / "private", P256, is_public=False), backend).sign(MANIFEST)
    assert 64 == len(raw)
    for signature in (der, raw):
        assert tmp_path / "key" == check_signature.signer(MANIFEST, signature)
        with pytest.raises(ArtifactError, match="none of the keys"):
            check_signature(MANIFEST + b"x", signature)


@pytest.mark.parametrize(
    "signature",
    [b"", b"\0" * 64, b"\xff" * 64, b"0" * 64, b"\0" * 384, b"x" * 5000, encode_dss_signature(0, 0)],
    ids=["empty", "zeros", "ones", "looks like DER", "RSA zeros", "long", "DER zeros"],
)
def test_no_forged_signature_is_accepted(backend: Backend, signature: bytes) -> None:
    """Zeros, garbage and data of the wrong length are refused as a wrong signature, and cause no other error."""
    with pytest.raises(ArtifactError, match="none of the keys"):
        keys(backend, "rsa3072", "ecdsa")(MANIFEST, signature)


BROKEN = {
    "garbage": (b"garbage", "it contains no PEM block"),
    "empty": (b"", "it contains no PEM block"),
    "huge": (b"x" * 70_000, "it is larger than 65536 bytes"),
    "point off the curve": (
        (DATA / "ecdsa.pub").read_bytes().replace(b"fA==", b"fQ=="),
        "cannot use",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_key_that_can_t_be_used_is_named_at_the_start(backend: Backend, tmp_path: Path, name: str) -> None:
    """The error names the setting, the file and the fault."""
    (tmp_path / "key.pub").write_bytes(BROKEN[name][0])
    with pytest.raises(ConfigError) as caught:
        VerifyKeys("ArtifactVerifyKey", [tmp_path / "key.pub"], backend).load()
    assert str(caught.value).startswith("ArtifactVerifyKey: cannot ")
    assert str(tmp_path / "key.pub") in str(caught.value)
    assert BROKEN[name][1] in str(caught.value)


def test_one_good_key_is_enough(backend: Backend, tmp_path: Path) -> None:
    """If at least one key is usable, the others are only reported: at worst, too few Artifacts are accepted."""
    good = DATA / "rsa3072.pub"
    check_signature = VerifyKeys("ArtifactVerifyKeys", [tmp_path / "missing", good], backend)
    (fault,) = check_signature.load()
    assert fault.text.startswith(f"ArtifactVerifyKeys: cannot read the key {tmp_path / 'missing'}: ")
    assert (fault,) == check_signature.load()
    assert ["", True] == [check("signed-rsa", check_signature), bool(check("signed-ecdsa", check_signature))]


def test_every_key_that_can_t_be_used_is_named(backend: Backend, tmp_path: Path) -> None:
    """A missing file, a directory, a private key and a key of an unsupported type are four problems of one error."""
    files = [
        tmp_path / "missing",
        tmp_path,
        stored(tmp_path / "private", RSA, is_public=False),
        stored(tmp_path / "p384", P384, is_public=True),
    ]
    with pytest.raises(ConfigError) as caught:
        VerifyKeys("ArtifactVerifyKeys", files, backend).load()
    missing, directory, private, p384 = map(str, caught.value.problems)
    remedy = "check its path, owner and mode"
    assert f"ArtifactVerifyKeys: cannot read the key {files[0]}: No such file or directory; {remedy} [KEY14]" == missing
    assert (
        f"ArtifactVerifyKeys: cannot read the key {files[1]}: Is a directory; it must not be a directory [KEY14]"
        == directory
    )
    assert private.startswith(f"ArtifactVerifyKeys: cannot use {files[2]}: it contains a private key; specify a file")
    assert p384.startswith(f"ArtifactVerifyKeys: cannot use {files[3]}: the key is neither RSA nor ECDSA P-256,")


def test_keys_are_read_once(backend: Backend, tmp_path: Path) -> None:
    """A key file that is removed after it was loaded doesn't affect which Artifacts are accepted."""
    file = stored(tmp_path / "key", P256, is_public=True)
    check_signature = VerifyKeys("ArtifactVerifyKey", [file], backend)
    check_signature.load()
    file.unlink()
    check_signature.load()
    check_signature(MANIFEST, P256.sign(MANIFEST, ec.ECDSA(hashes.SHA256())))


def test_without_a_back_end_nothing_is_accepted() -> None:
    """Without the openssl program, loading the keys fails, and no Artifact is accepted."""
    check_signature = keys(OpensslBackend("/no/such/openssl"), "rsa3072")
    with pytest.raises(ConfigError, match="cannot run /no/such/openssl"):
        check_signature.load()
    with pytest.raises(ConfigError, match="cannot run /no/such/openssl"):
        check("signed-rsa", check_signature)


@pytest.mark.parametrize("key", [RSA, P256], ids=["RSA", "P-256"])
@pytest.mark.parametrize("verifier", sorted(BACKENDS))
def test_what_one_back_end_signs_every_back_end_verifies(
    backend: Backend, verifier: str, key: Private, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the key may be relative, although the openssl program runs in another directory."""
    stored(tmp_path / "key", key, is_public=False)
    monkeypatch.chdir(tmp_path)
    signature = SigningKey(Path("key"), backend).sign(MANIFEST)
    public = stored(tmp_path / "key.pub", key, is_public=True)
    assert public == VerifyKeys("--key", [public], BACKENDS[verifier]()).signer(MANIFEST, signature)


def _encrypted(path: Path) -> Path:
    scheme = serialization.BestAvailableEncryption(b"a pass phrase")
    path.write_bytes(RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, scheme))
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path, "cannot read the key .*: No such file"),
        (
            lambda path: stored(path, RSA, is_public=True),
            "cannot sign with .*; specify a file that contains one private key in PEM form",
        ),
        (lambda path: stored(path, P384, is_public=False), "cannot sign with .*neither RSA nor ECDSA P-256"),
        (lambda path: stored(path, ED25519, is_public=False), "cannot sign with .*neither RSA nor ECDSA P-256"),
        (_encrypted, "cannot sign with .*: it is encrypted; pass its passphrase with --passphrase-file FILE"),
    ],
    ids=["missing", "public", "P-384", "Ed25519", "encrypted"],
)
def test_keys_that_don_t_sign(backend: Backend, tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    """A key that can't sign Artifacts is refused when it is loaded, with the reason; it isn't called the device key."""
    with pytest.raises(KeyFileError, match=reason) as caught:
        SigningKey(make(tmp_path / "key"), backend)
    assert "device" not in str(caught.value)
