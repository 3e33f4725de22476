"""Debian's mender-connect, unmodified, with the token and through the proxy of our ``dbus``."""

from __future__ import annotations

import json
import shutil

import pytest

from connect.user import User
from dbus.bus import SystemBus
from dbus.conftest import Serve, needed
from program.conftest import MakeDevice
from program.stage import Device, Process

pytestmark = [
    *needed,
    pytest.mark.skipif(shutil.which("mender-connect") is None, reason="the package mender-connect isn't installed"),
]


def start(device: Device, bus: SystemBus) -> Process:
    """Start mender-connect next to the client of a device; it ends with the device."""
    file = device.write(
        "mender-connect.conf", json.dumps({"User": "root", "ShellArguments": [], "ReconnectIntervalSeconds": 1})
    )
    command = ["mender-connect", "--config", str(file), "--fallback-config", str(device.root / "none"), "daemon"]
    process = Process(command, device.root.parent / "mender-connect.log", {"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    device.processes.append(process)
    return process


def test_terminal(device: Device, bus: SystemBus, serve: Serve) -> None:
    """mender-connect opens a terminal, although only our client knows the certificate of the server."""
    serve(device)
    start(device, bus)
    user = User(device.server.connected_device(device.id))
    shown, answer = b"", user.open_terminal()
    while answer.typ == "shell":  # on a busy machine the shell's prompt may arrive after the answer
        shown, answer = shown + (answer.body or b""), user.receive()
    assert ("new", b"Shell started") == (answer.typ, answer.body)
    if b"# " not in shown:
        user.read_until("# ")  # input that is sent earlier isn't always read
    user.type("echo te''rminal\r")
    assert "terminal" in user.read_until("terminal\r\n")


def test_device_that_is_accepted_later(make_device: MakeDevice, bus: SystemBus, serve: Serve) -> None:
    """mender-connect waits until the device is accepted, and then connects."""
    device = make_device(is_preauthorized=False)
    device.run("bootstrap")
    process = serve(device)
    start(device, bus)
    process.wait_for("pending acceptance")
    (known,) = device.server.devices()
    device.server.accept(known.id)
    assert known.id == device.server.connected_device().device_id


def test_token_that_is_revoked(device: Device, bus: SystemBus, serve: Serve) -> None:
    """If the server refuses the token at the next connection, mender-connect gets a new one and connects."""
    serve(device)
    start(device, bus)
    first = device.server.connected_device(device.id)
    device.server.revoke_tokens(device.id)
    first.cut()
    device.server.connected_device(device.id, after=first)
