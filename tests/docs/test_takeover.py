"""The statements of the guide for devices of the archived client."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from calling import call
from mender_client.core.artifact import ArtifactReader
from mender_devserver import DevServer

ARTIFACT = Path(__file__).parents[1] / "data/artifacts/rootfs-none.mender"


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the client on the device."""
    return call("--root", str(root), *arguments)


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file of the device."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device of the archived client: a key in the old PEM format, and no state file."""
    root = tmp_path / "device"
    with ARTIFACT.open("rb", buffering=0) as file:
        header = ArtifactReader(file).read_header()
    write(root / "var/lib/mender/device_type", f"device_type={header.device_types[0]}\n")
    write(root / "etc/mender/artifact_info", "artifact_name=before\n")
    script = root / "usr/share/mender/identity/mender-device-identity"
    write(script, "#!/bin/sh\necho mac=02:00:00:00:00:07\n", mode=0o755)
    key = root / "var/lib/mender/mender-agent.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    return root


@pytest.fixture
def server(tmp_path: Path, device: Path) -> DevServer:
    """A server for which the device is configured."""
    server = DevServer(directory=tmp_path / "server", tls=False)
    server.auto_accept = True
    return server


def test_list_keeps_the_device_and_plain_makes_another(server: DevServer, device: Path) -> None:
    """With ``IdentityFormat: list`` the server gets the archived client's identity; with plain, another one."""
    key = (device / "var/lib/mender/mender-agent.pem").read_bytes()
    with server:
        for form in ("list", "plain"):
            write(device / "etc/mender/mender.conf", f'{{"ServerURL": "{server.url}", "IdentityFormat": "{form}"}}')
            assert 0 == run(device, "bootstrap").returncode
            assert 2 == run(device, "check-update").returncode
        identities = [one.identity for one in server.devices()]
    assert [{"mac": ["02:00:00:00:00:07"]}, {"mac": "02:00:00:00:00:07"}] == identities
    assert key == (device / "var/lib/mender/mender-agent.pem").read_bytes()


def test_report_needs_the_lock_file_alone(server: DevServer, device: Path) -> None:
    """An update that the archived client has handed over is reported by this client."""
    with server:
        write(device / "etc/mender/mender.conf", f'{{"ServerURL": "{server.url}", "IdentityFormat": "list"}}')
        assert 2 == run(device, "check-update").returncode
        device_id = server.devices()[0].id
        deployment_id = server.deploy(server.upload(ARTIFACT).name, [device_id])
        assert 0 == run(device, "check-update").returncode  # offered, as to the archived client
        write(device / "var/lib/mender/update.lock", f"{deployment_id}\n")
        assert 0 == run(device, "report", "--success").returncode
        assert ["success"] == server.statuses(deployment_id, device_id)
