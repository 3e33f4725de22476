"""The program: start, signals and reconnection."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from connect.conftest import Reach, allow, start
from connect.test_terminal import processes_with
from connect.user import User
from mender_client.core.wire.deviceconnect import Protocol
from program.stage import Device
from program.test_service import Manager, manager
from waiting import wait_until

__all__ = ["manager"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")


def ping(user: User) -> str:
    """Ping the device; returns the type of its reply."""
    user.send(Protocol.CONTROL, "ping")
    return user.receive().typ


def test_not_enabled(device: Device) -> None:
    """Without its configuration file the program exits with the code after which it isn't restarted."""
    done = device.run("connect")
    assert (78, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("CON02")
    assert not device.server.requests


def test_configuration_of_another_user(device: Device) -> None:
    """A configuration that another user could have written is refused, since it decides who gets a shell."""
    allow(device)
    (device.root / "etc/mender/mender-connect.conf").chmod(0o666)
    done = device.run("connect")
    assert (78, True) == (done.returncode, "[CON04]" in done.stderr)
    assert not device.server.requests


def test_without_wsproto(device: Device, tmp_path: Path) -> None:
    """Without the websocket package the program says what to install, and isn't restarted, since that wouldn't help."""
    (tmp_path / "wsproto.py").write_text("raise ModuleNotFoundError('none', name='wsproto')\n")
    allow(device)
    process = device.start("connect", environment={"PYTHONPATH": str(tmp_path)})
    assert 78 == process.wait_exit()
    assert "[CON03]" in process.text
    assert "pip install mender-python-client[connect]" in process.text


def test_a_second_one(shared_device: Device, user: User) -> None:
    """A second program for the same device is refused, and the first keeps running."""
    done = shared_device.run("connect")
    assert (1, True) == (done.returncode, "[STO13]" in done.stderr), done.stderr
    assert "pong" == ping(user)


def test_authorised_again(device: Device, reach: Reach) -> None:
    """A device whose token is refused on reconnection authenticates and connects."""
    user = reach()
    device.server.revoke_tokens(device.id)
    first = user.device
    first.cut()
    user = User(device.server.connected_device(device.id, after=first))
    assert "pong" == ping(user)
    assert 2 == sum(one.kind == "auth" for one in device.server.requests)


def test_server_restarted(device: Device, reach: Reach) -> None:
    """The program reconnects when the server is back, and a terminal continues in the same session."""
    user = reach()
    user.open_terminal()
    user.type("here=st''ill\r")
    user.read_until("\r\n")
    first = user.device
    device.server.stop()
    device.server.start()
    user.device = device.server.connected_device(device.id, after=first)
    user.type("echo $here there\r")
    user.read_until("still there")


def test_stopped_while_it_connects(device: Device) -> None:
    """If the program is stopped while a script of the authentication hangs, both end."""
    mark = f"39{os.getpid() % 100000:05d}"
    device.write_script("usr/share/mender/identity/mender-device-identity", f"sleep {mark}")
    process = start(device)
    wait_until(lambda: processes_with(mark))
    assert 0 == process.stop()
    assert [] == processes_with(mark)


def test_reload(device: Device, reach: Reach) -> None:
    """SIGHUP reloads both configuration files and reconnects; open terminals continue."""
    user = reach()
    user.open_terminal()
    allow(device, FileTransfer={"Disable": True})
    (process,) = device.processes
    first = user.device
    process.send(signal.SIGHUP)
    user.device = device.server.connected_device(device.id, after=first)
    user.type("echo st''ill\r")
    user.read_until("still")
    other = User(user.device)
    other.ask(Protocol.FILES, "stat", {"path": "/"})
    assert "no handler registered for protocol: 0x0002" == other.error()["err"]


def test_reload_of_a_wrong_configuration(device: Device, reach: Reach) -> None:
    """An invalid configuration isn't loaded: the previous one stays in effect, and the connection open."""
    user = reach()
    (process,) = device.processes
    allow(device, User=7)
    process.send(signal.SIGHUP)
    process.wait_for("[CON10]")
    assert "User: must be" in process.text
    assert "pong" == ping(user)
    assert 0 == process.stop()


def test_reload_of_other_users(device: Device, reach: Reach) -> None:
    """A terminal that the new configuration doesn't allow is ended."""
    user = reach()
    user.open_terminal()
    allow(device, Terminal={"Disable": True})
    (process,) = device.processes
    process.send(signal.SIGHUP)
    process.wait_for("terminal " + user.sid + " of user")
    assert "the configuration has changed" in process.text


def test_notifications(device: Device, manager: Manager) -> None:
    """The service manager is notified when the program is ready, and whether the device is connected."""
    allow(device)
    process = device.start("connect", environment=manager.environment())
    manager.wait("READY=1")
    manager.wait(f"STATUS=connected to {device.server.url}")
    device.server.stop()
    manager.wait("STATUS=not connected: ")
    device.server.start()
    manager.wait(f"STATUS=connected to {device.server.url}", count=2)
    assert 0 == process.stop()


def test_remote_terminal_of_the_archived_client(device: Device) -> None:
    """RemoteTerminal in mender.conf, where the archived Python client has it, disables terminals."""
    device.configure(RemoteTerminal=False)
    start(device)
    user = User(device.server.connected_device(device.id))
    user.send(Protocol.SHELL, "new")
    assert {"status": 2} == (answer := user.receive()).props
    assert b"unknown message protocol and type: 1/new" == answer.body


@pytest.mark.parametrize("what", ["check-update", "send-inventory"])
def test_requests_reach_the_daemon(device: Device, reach: Reach, what: str) -> None:
    """The server's requests reach a daemon that wouldn't poll or send its inventory for an hour."""
    device.configure(UpdatePollIntervalSeconds=3600, InventoryPollIntervalSeconds=3600)
    kind = {"check-update": "next", "send-inventory": "inventory"}[what]
    daemon = device.daemon()
    user = reach()
    wait_until(lambda: kind in (one.kind for one in device.server.requests), what="the daemon's first request")
    user.send(Protocol.CLIENT, what)
    assert {"status": 1} == user.receive().props
    wait_until(lambda: sum(one.kind == kind for one in device.server.requests) >= 2, what=daemon.text)


def test_no_daemon(user: User) -> None:
    """A request is answered with an error if no daemon is running."""
    user.send(Protocol.CLIENT, "check-update")
    assert ({"status": 2}, b"no daemon is running") == ((answer := user.receive()).props, answer.body)


def test_log_of_a_session(shared_device: Device, user: User) -> None:
    """The log says who opened a terminal and for how long, but not what was typed or displayed."""
    user.open_terminal()
    user.type("echo sec''ret\r")
    user.read_until("secret")
    user.send(Protocol.SHELL, "stop")
    user.read_to_stop()
    (process,) = shared_device.processes
    process.wait_for(f"terminal {user.sid} of user {user.user} closed")
    assert f"terminal {user.sid} opened by user {user.user}" in process.text
    assert not any(words in process.text for words in ("secret", "sec''ret", "echo"))
