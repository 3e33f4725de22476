"""A healthy device below a directory, and the server that has accepted it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mender_client.app.cli import main
from mender_devserver import DevServer

DEPLOYMENT = str(uuid4())
"""Different in each process of a test run: a sub-updater is found by this id among all processes of the machine."""


class Ward:
    """A device that the doctor looks at.

    Args:
        root: its root file system.
        server: who accepts it.
        capsys: takes what the doctor prints.
    """

    def __init__(self, root: Path, server: DevServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.server = server
        self._capsys = capsys
        (root / "var/lib").mkdir(parents=True)
        (root / "var/lib/mender").mkdir(mode=0o700)
        self.script("usr/share/mender/identity/mender-device-identity", "echo serial=0042")
        self.script("usr/share/mender/install", "exit 0")
        self.write("var/lib/mender/device_type", "device_type=board\n")
        self.write("etc/mender/artifact_info", "artifact_name=release-1\n")
        self.write("etc/mender/server.crt", server.certificate.read_text())
        self.make_key()
        self.configure()

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "var/lib/mender"

    def files(self) -> dict[Path, tuple[bytes, int]]:
        """Every file with its content and its time."""
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the device."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def script(self, name: str, body: str) -> Path:
        """Write a script of the device."""
        return self.write(name, f"#!/bin/sh\n{body}\n", 0o755)

    def make_key(self, passphrase: bytes = b"") -> None:
        """Give the device another key."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        text = key.private_bytes(pem, form, lock).decode()
        self.write("var/lib/mender/mender-agent.pem", text, 0o600)

    def configure(self, **keys: Any) -> None:
        """Write the configuration; a key of None is left out."""
        usual = {"ServerURL": self.server.url, "ServerCertificate": "/etc/mender/server.crt"}
        given = {name: value for name, value in {**usual, **keys}.items() if value is not None}
        self.write("etc/mender/mender.conf", json.dumps(given), 0o600)

    @contextmanager
    def nobody_accepts(self) -> Iterator[None]:
        """While in here a new key or identity waits for acceptance."""
        self.server.auto_accept = False
        yield
        self.server.auto_accept = True

    def client(self, *words: str) -> int:
        """Call the client: the exit code; what it prints is dropped."""
        code = main(["--root", str(self.root), *words])
        self._capsys.readouterr()
        return code

    def examine(self, *options: str) -> tuple[int, list[dict[str, str]]]:
        """Call the doctor: the exit code and the findings."""
        code = main(["--root", str(self.root), "doctor", "--json", *options])
        return code, json.loads(self._capsys.readouterr().out)

    def faults(self, *options: str) -> dict[str, str]:
        """What the doctor calls a fault, by the check, with the remedy."""
        code, findings = self.examine(*options)
        found = {one["check"]: f"{one['found']} -> {one['remedy']}" for one in findings if one["verdict"] == "fault"}
        assert (1 if found else 0) == code
        assert all(" -> " in text and not text.endswith("-> ") for text in found.values()), found
        return found


def worries(ward: Ward) -> dict[str, str]:
    """Findings that are neither a fault nor right, by check."""
    _, findings = ward.examine()
    return {one["check"]: one["found"] for one in findings if one["verdict"] == "warning"}


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One server for all of them; making its certificate takes time."""
    with DevServer(tmp_path_factory.mktemp("server"), auto_accept=True) as server:
        yield server


@pytest.fixture(autouse=True)
def kept_process() -> Iterator[None]:
    """The program sets up logging and the umask of its process; the tests of a process share them."""
    logger = logging.getLogger("mender_client")
    before = logger.handlers, logger.level, logger.propagate
    umask = os.umask(0o022)
    os.umask(umask)
    yield
    os.umask(umask)
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def ward(
    tmp_path: Path, served: DevServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ward]:
    """A device that has been accepted, and the server as it was."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    ward = Ward(tmp_path / "device", served, capsys)
    ward.client("check-update")
    yield ward
    served.clear_faults()
    served.clock_offset_seconds = 0.0
    for device in served.devices():
        served.decommission(device.id)
