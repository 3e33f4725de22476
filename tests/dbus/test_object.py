"""The client's interface on the bus, with a real bus and a real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jeepney import DBusAddress, MessageType, new_signal

from dbus.bus import INTERFACE, NAME, PATH, SystemBus, error_name
from dbus.conftest import Serve, Served, needed
from dbus.through import ask
from program.conftest import MakeDevice
from program.stage import Device, Process

pytestmark = needed

_INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
_NOBODY = 65534


def test_token(served: Served) -> None:
    """An add-on gets a token that the server accepts, and an address on the loopback interface."""
    with served.bus.caller() as caller:
        token, url = caller.wait_for_token()
    assert url.startswith("http://127.0.0.1:")
    assert (200, {}) == ask(url, token)


def test_guide(served: Served) -> None:
    """The command in the guide prints the token."""
    text = (Path(__file__).parents[2] / "docs/guide/add-ons.md").read_text("utf-8")
    (command,) = re.findall(r"^dbus-send [^`]*GetJwtToken", text, re.MULTILINE)
    with served.bus.caller() as caller:
        token, url = caller.wait_for_token()
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": served.bus.address}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=True)
    assert f'string "{token}"\n   string "{url}"\n' in done.stdout


def test_log(device: Device, bus: SystemBus) -> None:
    """The log records what happens, even at the most detailed level, but never the token."""
    process = device.start("-l", "debug", "dbus", environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    process.wait_for("add-ons reach")
    with bus.caller() as caller:
        token, url = caller.wait_for_token()
    ask(url, token)
    ask(url, "x.y.z")
    device.server.stop()
    ask(url, token)
    process.wait_for("a request of an add-on")
    assert token.rpartition(".")[2] not in process.text


def test_before_the_device_is_accepted(make_device: MakeDevice, bus: SystemBus, serve: Serve) -> None:
    """Until the device is accepted, token and address are empty; then the signal delivers them."""
    device = make_device(is_preauthorized=False)
    device.run("bootstrap")
    device.configure(RetryPollIntervalSeconds=1)
    process = serve(device)
    process.wait_for("pending acceptance")
    with bus.caller() as caller:
        caller.subscribe()
        assert ("", "") == caller.token()
        assert ("", "") == caller.signal()
        (known,) = device.server.devices()
        device.server.accept(known.id)
        while not (said := caller.signal())[0]:
            pass
        assert said == caller.token()
    assert 1 == process.text.count("pending acceptance")


def test_fetch(device: Device, bus: SystemBus, serve: Serve) -> None:
    """FetchJwtToken returns immediately, and the signal delivers a new token with a new address."""
    serve(device)
    with bus.caller() as caller:
        before = caller.wait_for_token()
        caller.subscribe()
        assert (True,) == caller.call("FetchJwtToken").body
        token, url = caller.signal()
        assert before[0] != token != ""
        assert before[1] != url
        assert (token, url) == caller.token()


def test_fetch_without_the_server(device: Device, bus: SystemBus, serve: Serve) -> None:
    """If a token can't be renewed, an empty signal revokes it; a new one follows when the server issues it."""
    device.configure(RetryPollIntervalSeconds=1)
    serve(device)
    with bus.caller() as caller:
        caller.wait_for_token()
        caller.subscribe()
        device.server.stop()
        caller.call("FetchJwtToken")
        assert ("", "") == caller.signal()
        assert ("", "") == caller.token()
        device.server.start()
        caller.wait_for_token()


def test_reload(device: Device, bus: SystemBus, serve: Serve) -> None:
    """SIGHUP reloads the configuration: the name is kept and a new token follows; with errors the old token is kept."""
    process = serve(device)
    with bus.caller() as caller:
        before = caller.wait_for_token()
        owner = bus.owner()
        config = device.root / "etc/mender/mender.conf"
        right = config.read_text()
        config.write_text(right.replace("{", '{"SkipVerify": 7, ', 1))
        process.send(signal.SIGHUP)
        process.wait_for("BUS07")
        assert "SkipVerify: must be" in process.text
        assert before == caller.token()
        config.write_text(right)
        caller.subscribe()
        process.send(signal.SIGHUP)
        token, url = caller.signal()
        assert (200, {}) == ask(url, token)
        assert before[0] != token
        assert owner == bus.owner()
    assert 0 == process.stop()


def test_description(served: Served) -> None:
    """The object's introspection data matches that of the C++ client."""
    with served.bus.caller() as caller:
        (text,) = caller.call("Introspect", interface=_INTROSPECTABLE).body
        seen = {
            (member.tag, member.get("name")): [
                (arg.get("name"), arg.get("type"), arg.get("direction")) for arg in member
            ]
            for member in ElementTree.fromstring(text).findall(f"interface[@name='{INTERFACE}']/*")
        }
        assert {
            ("method", "GetJwtToken"): [("token", "s", "out"), ("server_url", "s", "out")],
            ("method", "FetchJwtToken"): [("success", "b", "out")],
            ("signal", "JwtTokenStateChange"): [("token", "s", None), ("server_url", "s", None)],
        } == seen
        path = ""
        for part in PATH.split("/")[1:]:
            (text,) = caller.call("Introspect", interface=_INTROSPECTABLE, path=path or "/").body
            assert [part] == [node.get("name") for node in ElementTree.fromstring(text).findall("node")]
            path += f"/{part}"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"method": "SetJwtToken"}, "UnknownMethod"),
        ({"method": "GetJwtToken", "interface": "io.mender.Update1"}, "UnknownMethod"),
        ({"method": "GetJwtToken", "path": "/io/mender/Other"}, "UnknownObject"),
        ({"method": "GetJwtToken", "path": "/"}, "UnknownMethod"),
        ({"method": "GetJwtToken", "sign": "s", "body": ("x",)}, "InvalidArgs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_calls(served: Served, call: dict[str, object], error: str) -> None:
    """A call of an unknown method or object is answered with an error, and the next call is served."""
    with served.bus.caller() as caller:
        assert error == error_name(caller.call(**call))  # type: ignore[arg-type]  # as the table has them
        assert (
            MessageType.method_return is caller.call("Ping", interface="org.freedesktop.DBus.Peer").header.message_type
        )
        assert MessageType.method_return is caller.call("GetJwtToken", interface=None).header.message_type


def test_other_users(device: Device, bus: SystemBus, serve: Serve, tmp_path: Path) -> None:
    """A user other than root can neither call the object nor see its signals, which contain the token."""
    serve(device)
    send = ["dbus-send", f"--bus={bus.address}", f"--dest={NAME}", "--print-reply", PATH]
    done = bus.run(*send, f"{INTERFACE}.GetJwtToken", user=_NOBODY)
    assert (1, "") == (done.returncode, done.stdout)
    assert "AccessDenied" in done.stderr
    with bus.caller() as caller:
        first, _ = caller.wait_for_token()
        watching = ["setpriv", f"--reuid={_NOBODY}", "--clear-groups", "dbus-monitor", "--address", bus.address]
        seen = Process([*watching, "type='signal'"], tmp_path / "seen", {})
        try:
            seen.wait_for("NameAcquired")
            caller.call("FetchJwtToken")
            second, _ = caller.wait_for_token(first)
            caller.connection.send(new_signal(DBusAddress("/end", interface="org.example.End"), "Reached"))
            seen.wait_for("org.example.End")
        finally:
            seen.stop()
    assert "JwtTokenStateChange" not in seen.text
    assert second not in seen.text


def test_name_of_another_client(device: Device, bus: SystemBus, serve: Serve, make_device: MakeDevice) -> None:
    """If another client owns the name, the program reports it and exits."""
    serve(device)
    second = make_device("second", is_preauthorized=False)
    process = second.start("dbus", environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    assert 1 == process.wait_exit()
    assert "BUS04" in process.text


def test_without_policy(device: Device, tmp_path: Path) -> None:
    """A bus without the policy file refuses the name; the message says what is missing."""
    bus = SystemBus(tmp_path, policy=None)
    try:
        process = device.start("dbus", environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
        assert 1 == process.wait_exit()
        assert "BUS03" in process.text
        assert f"{NAME}.conf" in process.text
    finally:
        bus.stop()


def test_restart_of_the_bus(device: Device, bus: SystemBus, serve: Serve) -> None:
    """After a restart of the bus the program reconnects to it, with the token that it has."""
    process = serve(device)
    with bus.caller() as caller:
        before = caller.wait_for_token()
    bus.stop()
    process.wait_for("BUS01")
    bus.start()
    bus.wait_for_name()
    with bus.caller() as caller:
        assert before == caller.token()
    assert 1 == process.text.count("BUS01")


def test_bus_that_comes_later(device: Device, bus: SystemBus, serve: Serve) -> None:
    """If the bus isn't available yet at startup, the program waits for it."""
    bus.stop()
    process = device.start("dbus", environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    process.wait_for("BUS01")
    bus.start()
    bus.wait_for_name()
    assert 0 == process.stop()
    assert "" == bus.owner()
