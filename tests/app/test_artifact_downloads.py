"""The outcome of a deployment depending on who signed its Artifact: the whole client and a server, but no network."""

from __future__ import annotations

import io
from dataclasses import astuple
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from app.artifact_program import DATA, P256, key_pair
from keys import RSA
from mender_client.client.download_policy import DownloadPolicy
from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact
from mender_client.system.cryptolib import CryptographyBackend
from mender_client.system.openssl import OpensslBackend
from mender_client.system.signatures import SigningKey, VerifyKeys
from mender_devserver.artifacts import read_names
from world import NEW, Answer, Options, Stage, World, at

BACKENDS = {"cryptography": CryptographyBackend, "openssl": OpensslBackend}


def deployed(directory: Path, policy: DownloadPolicy, *, signing_key: Path | None = None) -> World:
    """Build the release and return a device to which it is offered."""
    out = io.BytesIO()
    source = PayloadSource("rootfs.img", 200_000, lambda: io.BytesIO(b"i" * 200_000))
    sign = SigningKey(signing_key, CryptographyBackend()).sign if signing_key else None
    write_artifact(out, rootfs_image(NEW, ["board"], compression=Compression.NONE), [source], sign=sign)
    return offered(directory, policy, out.getvalue())


def offered(directory: Path, policy: DownloadPolicy, artifact: bytes) -> World:
    """Return a device to which the given Artifact of the release is offered."""
    stage = Stage(directory)
    world = World(stage, Options(policy=policy))
    world.server.offer(stage.add(NEW, artifact), NEW)
    while not list(world.server.state.devices):
        world.turn()
    world.server.deploy(NEW)
    return world


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("signed_by", ["first", "second", "stranger", ""])
def test_signatures_decide(tmp_path: Path, caplog: pytest.LogCaptureFixture, backend: str, signed_by: str) -> None:
    """Artifacts signed with a configured key are installed; others are refused, and the log gives the reason."""
    privates, publics = zip(
        *(
            key_pair(tmp_path, name, key)
            for name, key in (("first", RSA), ("second", P256), ("stranger", rsa.generate_private_key(65537, 2048)))
        ),
        strict=True,
    )
    keys = VerifyKeys("ArtifactVerifyKeys", publics[:2], BACKENDS[backend]())
    key = next((private for private in privates if private.stem == signed_by), None)
    world = deployed(tmp_path, DownloadPolicy(check_signature=keys), signing_key=key)
    world.live()
    said = {"stranger": "matches none of the keys of ArtifactVerifyKeys", "": "it is not signed (no manifest.sig)"}.get(
        signed_by
    )
    assert ("success" if said is None else "failure") == world.server.status
    if said is not None:
        assert said in caplog.text


@pytest.mark.parametrize(
    "name", ["plain", "none", "gzip", "lzma", "signed-rsa", "signed-ec", "signed-later", "scripts", "bare", "module"]
)
def test_artifacts_of_mender_artifact_are_installed(tmp_path: Path, name: str) -> None:
    """The server accepts what mender-artifact 3.9.0 wrote; the device installs it, and verifies what is signed."""
    samples = DATA / "mender-artifact-3.9.0"
    keys = VerifyKeys("ArtifactVerifyKeys", [samples / "rsa.pub", samples / "ec.pub"], CryptographyBackend())
    policy = DownloadPolicy(check_signature=keys) if name.startswith("signed") else DownloadPolicy()
    assert ("release-2", ("board",)) == astuple(read_names(samples / f"{name}.mender"))
    world = offered(tmp_path, policy, (samples / f"{name}.mender").read_bytes())
    world.live()
    assert "success" == world.server.status


@pytest.mark.parametrize(("is_signed", "words"), [(True, "its signature was not checked"), (False, "it is not signed")])
def test_without_a_key_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_signed: bool, words: str
) -> None:
    """The Artifact is accepted, and the missing check is logged once, however many times the download was started."""
    caplog.set_level("INFO", logger="mender_client")
    world = deployed(tmp_path, DownloadPolicy(), signing_key=key_pair(tmp_path, "key", P256)[0] if is_signed else None)
    data = world.stage.content(NEW)
    world.transport.rules.append(
        at("download", Answer(200, {"content-length": str(len(data)), "etag": "x"}, data[:9000]), 1)
    )
    world.live()
    assert "success" == world.server.status
    assert len(world.transport.ranges) > 1
    said = [record.getMessage() for record in caplog.records if "signature check" in record.getMessage()]
    assert [f"Artifact accepted without a signature check: {words}, and no ArtifactVerifyKey is set"] == said
