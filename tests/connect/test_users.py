"""Users of the dev server and a device with ``connect``: terminals and files, over the API of the real server."""

from __future__ import annotations

import hashlib
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from connect.conftest import start
from docs.pages import PROJECT, examples
from mender_client.core.wire.deviceconnect import Protocol
from mender_client.errors import ServerError
from mender_devserver.remote import DEVICES, BlockingSession
from mender_devserver.remotefiles import fetch_file, send_file
from program.stage import Device
from waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")


def connected(device: Device, **keys: object) -> Device:
    """Start ``connect`` on the device, and return when it is connected."""
    start(device, **keys)
    device.server.connected_device(device.id)
    return device


def read_until(session: BlockingSession, text: str) -> str:
    """The output of a terminal up to and including this text."""
    seen = b""
    while text.encode() not in seen:
        message = session.receive(PATIENCE_S)
        seen += (message.body or b"") if message.typ == "shell" else b""
    return seen.decode("utf-8", "replace")


def get(device: Device, path: str, method: str = "GET") -> tuple[int, object]:
    """The status and the JSON body of a reply."""
    contact = device.server.contact
    connection = contact.connect()
    connection.request(method, DEVICES + path, headers={"Authorization": f"Bearer {contact.token}"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if body else None


def test_terminal(reached: Device) -> None:
    """A user's input reaches the shell, and its output comes back; the device id may be abbreviated."""
    with BlockingSession(reached.server.contact, reached.id[:8]) as session:
        session.open_terminal(90, 33)
        session.send(Protocol.SHELL, "shell", b"stty size\r")
        assert "33 90\r\n" in read_until(session, "33 90")


def test_user_goes(device: Device) -> None:
    """When a user disconnects, the terminal is ended, so that another one can be opened."""
    connected(device)
    with BlockingSession(device.server.contact, device.id) as session:
        session.open_terminal()

    def opens() -> bool:
        # the device refuses a user a second terminal
        with BlockingSession(device.server.contact, device.id) as session, suppress(ServerError):
            session.open_terminal()
            return True
        return False

    wait_until(opens)


def test_terminal_outlives_a_cut(reached: Device) -> None:
    """A user's terminal survives a lost connection of the device."""
    with BlockingSession(reached.server.contact, reached.id) as session:
        session.open_terminal()
        session.send(Protocol.SHELL, "shell", b"here=st''ill\r")
        read_until(session, "\r\n")
        first = reached.server.connected_device(reached.id)
        first.cut()
        reached.server.connected_device(reached.id, after=first)
        session.send(Protocol.SHELL, "shell", b"echo $here there\r")
        read_until(session, "still there")


@pytest.mark.parametrize("size", [0, 1, 4096, 81920, 300_001])
def test_files_both_ways(reached: Device, tmp_path: Path, size: int) -> None:
    """A file of any size is uploaded and downloaded unchanged."""
    content = os.urandom(size)
    path = str(tmp_path / "up")
    sent = send_file(reached.server.contact, reached.id, io.BytesIO(content), path, mode=0o640)
    wait_until(lambda: (tmp_path / "up").exists())  # an empty file is acknowledged before it is in place
    assert (content, 0o640) == ((tmp_path / "up").read_bytes(), (tmp_path / "up").stat().st_mode & 0o777)
    out = io.BytesIO()
    got = fetch_file(reached.server.contact, reached.id, path, out)
    assert content == out.getvalue()
    assert got == sent
    assert (size, hashlib.sha256(content).hexdigest(), 0o640) == (got.size_bytes, got.sha256, got.mode)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/nowhere", "cannot download /nowhere: .*no such file or directory"),
        ("/", "cannot download /: path is not a regular file"),
        ("relative", "cannot download relative: bad request: path: must be absolute"),
    ],
)
def test_refused_download(reached: Device, path: str, text: str) -> None:
    """The reason for a refusal by the device is reported to the user."""
    with pytest.raises(ServerError, match=text):
        fetch_file(reached.server.contact, reached.id, path, io.BytesIO())


def test_refused_upload(reached: Device, tmp_path: Path) -> None:
    """A large upload that is refused is reported with the reason, not as a broken connection."""
    with pytest.raises(ServerError, match="no such file or directory"):
        send_file(reached.server.contact, reached.id, io.BytesIO(bytes(5_000_000)), str(tmp_path / "no" / "file"))


def test_disabled_files(device: Device) -> None:
    """If a device allows no transfers, the message names the setting."""
    connected(device, FileTransfer={"Disable": True})
    with pytest.raises(ServerError, match=r"FileTransfer\.Disable"):
        send_file(device.server.contact, device.id, io.BytesIO(b"x"), "/tmp/x")


def test_presence(device: Device) -> None:
    """The server knows which devices are connected, and tells users if theirs isn't."""
    process = start(device)
    device.server.connected_device(device.id)
    status, body = get(device, f"/{device.id}")
    assert (200, "connected") == (status, body["status"])  # type: ignore[index]
    process.stop()
    wait_until(lambda: not device.server.devices()[0].is_connected)
    assert "disconnected" == get(device, f"/{device.id}")[1]["status"]  # type: ignore[index]
    assert (404, {"error": "device not connected"}) == get(device, f"/{device.id}/connect")
    assert (409, {"error": "device not connected"}) == get(
        device, f"/{device.id}/download?path={quote('/etc/hostname')}"
    )
    assert (409, {"error": {}}) == get(device, f"/{device.id}/check-update", "POST")
    assert (404, {"error": "device not found"}) == get(device, "/00000000-0000-0000-0000-000000000000")
    assert (405, {"error": "method not allowed"}) == get(device, f"/{device.id}/upload")
    with pytest.raises(ServerError, match=r"cannot reach device .*: it is not connected; run 'mender-python-client"):
        BlockingSession(device.server.contact, device.id)


def test_wake(device: Device) -> None:
    """A user can make a device poll, and so does each configuration that is deployed to it."""
    connected(device)
    assert (202, None) == get(device, f"/{device.id}/check-update", "POST")
    peer = device.server.connected_device(device.id)
    assert "check-update" == peer.receive(PATIENCE_S).typ
    device.server.configure(device.id, {"a": "b"})
    assert "check-update" == peer.receive(PATIENCE_S).typ


def test_example_of_the_page(reached: Device, capsys: pytest.CaptureFixture[str]) -> None:
    """The example in the reference opens a terminal and transfers a file in both directions."""
    page = PROJECT / "docs/reference/devserver.md"
    (code,) = [block.text for where, block in examples(page) if where == "As a user of device connect"]
    exec(code, {"directory": reached.server.directory, "device_id": reached.id})
    assert hashlib.sha256(b"hello").hexdigest() in capsys.readouterr().out
    assert 0o600 == Path("/tmp/mender-hello").stat().st_mode & 0o777
    Path("/tmp/mender-hello").unlink()
