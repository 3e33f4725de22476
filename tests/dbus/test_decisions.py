"""Decisions of operators about updates, on a real bus, with a daemon that follows them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jeepney import MessageType

from dbus.bus import NAME, PATH, Caller, SystemBus, error_name
from dbus.conftest import Serve, Served, needed
from program.stage import Device
from waiting import wait_until

pytestmark = needed

INTERFACE = "io.mender.PythonClient.Updates1"


def call(caller: Caller, method: str, signature: str, *body: object) -> str:
    """The decision."""
    reply = caller.call(method, interface=INTERFACE, sign=signature, body=body)
    assert MessageType.method_return is reply.header.message_type, reply.body
    return str(reply.body[0])


def test_an_update_that_asks(device: Device, bus: SystemBus, serve: Serve) -> None:
    """An update at an asking gate waits until it is approved on the bus, as docs/guide/add-ons.md describes."""
    device.configure(UpdateGates={"Install": "ask"}, UpdatePollIntervalSeconds=3600)
    serve(device)
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    wait_until(lambda: (device.journal.get("update") or {}).get("waiting"))
    text = (Path(__file__).parents[2] / "docs/guide/add-ons.md").read_text("utf-8")
    (command,) = re.findall(r"^dbus-send [^`]*Updates1.Approve[^`]*", text, re.MULTILINE)
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=True)
    assert f'string "release-2 (deployment {deployment}): approved' in done.stdout
    assert 0 == daemon.wait_exit()
    device.wait_status(deployment, "success")


def test_without_a_daemon(device: Device, bus: SystemBus, serve: Serve) -> None:
    """All future updates can be paused, postponed, refused and continued without a daemon."""
    serve(device)
    with bus.caller() as caller:
        for method, signature, body, word in (
            ("Pause", "sb", ("too hot", True), "paused"),
            ("Postpone", "ssb", ("4h", "", True), "postponed"),
            ("Refuse", "sb", ("", True), "refused"),
            ("Continue", "b", (True,), "no longer on hold"),
        ):
            assert f"all updates: {word}" in call(caller, method, signature, *body)
            if word != "no longer on hold":
                assert "root, on D-Bus" in str(device.journal)


@pytest.mark.parametrize(
    ("method", "signature", "body", "error"),
    [
        ("Pause", "sb", ("", False), "NothingToDecide"),
        ("Approve", "ssb", ("garden", "", True), "InvalidArgs"),
        ("Postpone", "ssb", ("yesterday", "", True), "InvalidArgs"),
        ("Postpone", "ssb", ("9" * 5000, "", True), "InvalidArgs"),
        ("Refuse", "s", ("",), "InvalidArgs"),
    ],
)
def test_what_cannot_be_decided(
    served: Served, method: str, signature: str, body: tuple[object, ...], error: str
) -> None:
    """A decision about no update, or one that isn't understood, is an error, and nothing is stored."""
    with served.bus.caller() as caller:
        assert error == error_name(caller.call(method, interface=INTERFACE, sign=signature, body=body))
    assert "decisions" not in served.device.journal


def test_other_users(served: Served) -> None:
    """A user other than root can't make decisions."""
    send = ["dbus-send", f"--bus={served.bus.address}", f"--dest={NAME}", "--print-reply", PATH, f"{INTERFACE}.Refuse"]
    done = served.bus.run(*send, "string:", "boolean:true", user=65534)
    assert 1 == done.returncode
    assert "AccessDenied" in done.stderr
    assert "decisions" not in served.device.journal


def test_description(served: Served) -> None:
    """The object describes its methods."""
    with served.bus.caller() as caller:
        (text,) = caller.call("Introspect", interface="org.freedesktop.DBus.Introspectable").body
    methods = ElementTree.fromstring(text).findall(f"interface[@name='{INTERFACE}']/method")
    assert ["Pause", "Continue", "Approve", "Postpone", "Refuse"] == [method.get("name") for method in methods]
