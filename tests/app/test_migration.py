"""``setup --migrate-from``: a device migrated from another client remains the same device to the server."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from calling import call
from keys import RSA
from mender_devserver import DevServer

MAC = "02:00:00:00:00:07"
ED25519 = ed25519.Ed25519PrivateKey.generate()
Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PKCS1 = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
PKCS8 = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class OtherClient:
    """A device that has been running another Mender client until now.

    Args:
        root: the device's root directory.
        server: the server it is registered with.
        identity: the device's identity in the form that client sends.
        key: the device key.
    """

    def __init__(
        self,
        root: Path,
        server: DevServer,
        identity: dict[str, Any],
        key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
    ) -> None:
        self.root = root
        self._server = server
        self._identity = json.dumps(identity)
        self._key = key
        self.write("etc/mender/mender.conf", json.dumps({"ServerURL": server.url, "UpdatePollIntervalSeconds": 5}))
        self.write("var/lib/mender/mender-agent.pem", PKCS1 if isinstance(key, rsa.RSAPrivateKey) else PKCS8, 0o600)
        self.write("var/lib/mender/device_type", "device_type=board\n")
        self.write("usr/share/mender/identity/mender-device-identity", f"#!/bin/sh\necho mac={MAC}\n", 0o755)

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> Path:
        """Write a file below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        return file

    def text(self, path: str) -> str:
        """Return the content of a file."""
        return (self.root / path).read_text()

    def authorise(self) -> int:
        """Send an authorisation request as that client would, without any of our code; return the status code."""
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        body = json.dumps({"id_data": self._identity, "pubkey": public}).encode()
        if isinstance(self._key, rsa.RSAPrivateKey):
            signature = self._key.sign(body, padding.PKCS1v15(), hashes.SHA256())
        else:
            signature = self._key.sign(body)
        request = urllib.request.Request(
            f"{self._server.url}/api/devices/v1/authentication/auth_requests",
            data=body,
            headers={"Content-Type": "application/json", "X-MEN-Signature": base64.b64encode(signature).decode()},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def get_accepted(self) -> None:
        """Become an accepted device."""
        assert 401 == self.authorise()
        (device,) = self._server.devices()
        self._server.accept(device.id)
        assert 200 == self.authorise()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run our client on this device."""
        return call("--root", str(self.root), *words)

    def store(self, **entries: str) -> None:
        """Write the LMDB database of the Go and C++ clients."""
        path = self.root / "var/lib/mender/mender-store"
        with lmdb.open(str(path), subdir=False) as environment, environment.begin(write=True) as transaction:
            for key, value in entries.items():
                transaction.put(key.replace("_", "-").encode(), value.encode())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that doesn't accept devices automatically."""
    with DevServer(directory=tmp_path / "server", tls=False) as server:
        yield server


@pytest.fixture
def archived(tmp_path: Path, server: DevServer) -> OtherClient:
    """A device of the archived Python client: identity values are lists, the key is RSA in PKCS#1."""
    device = OtherClient(tmp_path / "root", server, {"mac": [MAC]}, RSA)
    device.write("etc/mender/artifact_info", "artifact_name=release-3\n")
    return device


@pytest.fixture
def mender(tmp_path: Path, server: DevServer) -> OtherClient:
    """A device of the C++ client: plain identity, Ed25519 key and a database."""
    device = OtherClient(tmp_path / "root", server, {"mac": MAC}, ED25519)
    provides = {"rootfs-image.version": "4", "rootfs-image.checksum": "abc"}
    device.store(artifact_name="release-4", artifact_group="beta", artifact_provides=json.dumps(provides), state="x")
    device.write("etc/mender/artifact_info", "artifact_name=from-the-build\n")
    return device


def seen_by(server: DevServer) -> list[tuple[str, dict[str, Any], int]]:
    """Return the devices known to a server: status, identity and number of keys."""
    return [(one.status, one.identity, len(one.auth_sets)) for one in server.devices()]


def test_archived_client(archived: OtherClient, server: DevServer) -> None:
    """A device accepted with the archived client is still accepted, and the server sees no second device."""
    archived.get_accepted()
    key = archived.text("var/lib/mender/mender-agent.pem")
    done = archived.run("setup", "--migrate-from", "python", "--yes")
    assert (0, "") == (done.returncode, done.stderr)
    assert f"\nok       authorisation   accepted by {server.url}\n" in done.stdout
    assert 2 == archived.run("check-update").returncode
    assert [("accepted", {"mac": [MAC]}, 1)] == [
        (one.status, one.identity, len(one.auth_sets)) for one in server.devices()
    ]
    assert key == archived.text("var/lib/mender/mender-agent.pem")
    assert "nothing to change\n" in archived.run("setup", "--migrate-from", "python", "--yes").stdout


def test_without_from_the_archived_device_would_be_another_one(archived: OtherClient, server: DevServer) -> None:
    """Without the option, the server sees a second device."""
    archived.get_accepted()
    archived.run("setup", "--yes")
    assert ["accepted", "pending"] == sorted(one.status for one in server.devices())


def test_mender_client(mender: OtherClient, server: DevServer) -> None:
    """A device of the C++ client is still accepted, and its installed version is read from its database."""
    mender.get_accepted()
    conf = {"Servers": [{"ServerURL": server.url}], "IdentityFormat": "list", "ClientProtocol": "https"}
    mender.write("etc/mender/mender.conf", json.dumps(conf))
    done = mender.run("setup", "--migrate-from", "mender", "--yes")
    assert (0, "") == (done.returncode, done.stderr)
    assert "note: ClientProtocol: has no effect in this client\n" in done.stdout
    assert {**conf, "IdentityFormat": "plain"} == json.loads(mender.text("etc/mender/mender.conf"))
    assert [("accepted", {"mac": MAC}, 1)] == [
        (one.status, one.identity, len(one.auth_sets)) for one in server.devices()
    ]
    info = dict(line.split("=", 1) for line in mender.text("etc/mender/artifact_info").splitlines())
    assert {
        "artifact_name": "release-4",
        "artifact_group": "beta",
        "rootfs-image.version": "4",
        "rootfs-image.checksum": "abc",
    } == info


def test_key_of_another_name(mender: OtherClient, server: DevServer) -> None:
    """A key named by ``Security.AuthPrivateKey`` is used, and no other key is generated."""
    mender.get_accepted()
    usual = mender.root / "var/lib/mender/mender-agent.pem"
    usual.rename(mender.root / "etc/mender/own.pem")
    conf = {"ServerURL": server.url, "Security": {"AuthPrivateKey": "/etc/mender/own.pem"}}
    mender.write("etc/mender/mender.conf", json.dumps(conf))
    done = mender.run("setup", "--migrate-from", "mender", "--yes")
    assert f"\nok       authorisation   accepted by {server.url}\n" in done.stdout
    assert ([("accepted", {"mac": MAC}, 1)], False) == (seen_by(server), usual.exists())


def test_artifact_name_that_is_given(mender: OtherClient) -> None:
    """``--artifact-name`` overrides the database, which then need not be readable."""
    mender.write("var/lib/mender/mender-store", b"damaged")
    mender.run("setup", "--migrate-from", "mender", "--yes", "--artifact-name", "mine")
    assert "artifact_name=mine\n" in mender.text("etc/mender/artifact_info")


def test_no_database(mender: OtherClient) -> None:
    """Without a database, artifact_info determines what is installed, as in the Go client."""
    (mender.root / "var/lib/mender/mender-store").unlink()
    mender.run("setup", "--migrate-from", "mender", "--yes")
    assert "artifact_name=from-the-build\n" == mender.text("etc/mender/artifact_info")


@pytest.mark.parametrize("provides", ["[]", "{", '{"a": 5}', "\xff"])
def test_database_with_other_content(mender: OtherClient, provides: str) -> None:
    """A database with invalid content is refused, and the message suggests a workaround."""
    mender.store(artifact_provides=provides)
    done = mender.run("setup", "--migrate-from", "mender", "--yes")
    assert (1, "") == (done.returncode, done.stdout)
    assert "pass --artifact-name" in done.stderr


REFUSED = {
    "an update in progress": ("var/lib/mender/update.lock", b"x", "an update is in progress"),
    "no key": ("var/lib/mender/mender-agent.pem", None, "there is no device key at "),
    "no identity script": ("usr/share/mender/identity/mender-device-identity", None, "there is no identity script at "),
    "a damaged database": ("var/lib/mender/mender-store", b"x" * 9000, "it is not an LMDB file; pass --artifact-name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(mender: OtherClient, server: DevServer, name: str) -> None:
    """A migration that would change the device's identity or disturb an update changes nothing and sends nothing."""
    path, content, text = REFUSED[name]
    (mender.root / path).unlink(missing_ok=True)
    if content is not None:
        mender.write(path, content)
    before = mender.text("etc/mender/mender.conf")
    done = mender.run("setup", "--migrate-from", "mender", "--yes", "--device-type", "board")
    assert (1, "") == (done.returncode, done.stdout)
    assert text in done.stderr
    assert (before, []) == (mender.text("etc/mender/mender.conf"), server.devices())
