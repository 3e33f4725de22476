"""Signals: poll, send the inventory or exit immediately, whatever the daemon is doing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from mender_devserver import Fault
from program.stage import LEAVE, MAC, PROGRAM, SUCCEED, Device
from running import is_running
from waiting import NEVER_S, wait_until

ENDS = (signal.SIGTERM, signal.SIGINT)
IDENTITY_SCRIPT = "usr/share/mender/identity/mender-device-identity"


@pytest.mark.parametrize("number", ENDS)
def test_idle_daemon_ends_at_once(device: Device, number: int) -> None:
    """An idle daemon exits with 0 on SIGTERM or SIGINT, long before the next poll, and logs that."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = device.daemon()
    wait_until(lambda: 204 in [one.status for one in device.server.requests])
    daemon.send(number)
    assert 0 == daemon.wait_exit()
    assert "stopped" in daemon.text


@pytest.mark.parametrize("number", ENDS)
def test_stalled_download_ends_at_once(device: Device, number: int) -> None:
    """A daemon in a stalled download exits before its time limit; the bytes are kept and used by the next one."""
    device.server.add_fault(Fault(kind="artifact", stall_after_bytes=9000))
    deployment = device.deploy("release-2")
    daemon = device.daemon()
    part = device.data / "artifact.mender.part"
    wait_until(lambda: part.exists() and part.stat().st_size == 9000)
    daemon.send(number)
    assert 0 == daemon.wait_exit()
    assert "did not answer in time" not in daemon.text
    assert 9000 == part.stat().st_size
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    assert [deployment] == device.runs


@pytest.mark.parametrize("kind", ["auth", "next", "inventory", "status"])
def test_silent_server_does_not_hold_the_daemon(device: Device, kind: str) -> None:
    """A daemon that waits for a response that never comes exits on SIGTERM, before its time limit."""
    device.server.add_fault(Fault(kind=kind, delay_seconds=NEVER_S, times=None))  # type: ignore[arg-type]  # of the list
    device.deploy("release-2")
    daemon = device.daemon()
    wait_until(lambda: any(one.kind == kind for one in device.server.requests))
    daemon.send(signal.SIGTERM)
    assert 0 == daemon.wait_exit()
    assert "did not answer in time" not in daemon.text


def test_daemon_ends_while_it_waits_for_the_lock(device: Device) -> None:
    """A daemon that waits for a sub-updater exits on a signal, and doesn't touch the lock."""
    device.write("plan", LEAVE)
    device.deploy("release-2")
    device.daemon().wait_exit()
    daemon = device.daemon()
    daemon.wait_for("for update.lock to be removed")
    daemon.send(signal.SIGTERM)
    assert 0 == daemon.wait_exit()
    assert device.lock.exists()


def _wait_polls(device: Device, count: int) -> None:
    wait_until(lambda: [one.status for one in device.server.requests].count(204) == count)


def test_usr1_polls_now(device: Device) -> None:
    """SIGUSR1 makes the daemon poll immediately, each time."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = device.daemon()
    for polls in range(1, 4):
        _wait_polls(device, polls)
        daemon.send(signal.SIGUSR1)


def test_usr2_sends_the_inventory_now(device: Device) -> None:
    """SIGUSR2 makes the daemon send the inventory immediately, whether or not it has changed."""
    device.configure(UpdatePollIntervalSeconds=3600)
    daemon = device.daemon()
    for times in range(1, 4):
        daemon.wait_for("inventory sent", count=times)
        daemon.send(signal.SIGUSR2)


def test_hanging_inventory_script_does_not_hold_the_daemon(device: Device) -> None:
    """A daemon with a hanging inventory script exits on a signal, together with the script."""
    device.write_script(
        "usr/share/mender/inventory/mender-inventory-hang",
        f'cd "{device.root}"; echo $$ >noted; mv noted pid; sleep {NEVER_S:g}',
    )
    daemon = device.daemon()
    wait_until((device.root / "pid").exists)
    daemon.send(signal.SIGTERM)
    assert 0 == daemon.wait_exit()
    assert not is_running(int((device.root / "pid").read_text()))
    assert "did not exit within" not in daemon.text


THE_C_LIBRARYS = 0b11 << 31
"""Signals 32 and 33, which no program can set; programs started by make inherit them as ignored."""


def test_inherited_signals(device: Device) -> None:
    """Signals that the daemon inherited as blocked or ignored are reset for its scripts and for the sub-updater."""
    shown = 'grep -E "^Sig(Blk|Ign)" /proc/self/status >"{}"'
    seen = {name: device.root / name for name in ("by-script", "by-sub-updater")}
    device.write_script(IDENTITY_SCRIPT, shown.format(seen["by-script"]) + f"\necho mac={MAC}")
    device.write("plan", shown.format(seen["by-sub-updater"]) + "\n" + SUCCEED)
    deployment = device.deploy("release-2")
    code = (
        "import os, signal, sys\n"
        "for name in ('HUP', 'CHLD', 'TERM', 'USR1'): signal.signal(getattr(signal, f'SIG{name}'), signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGALRM))\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(PROGRAM), "--root", str(device.root), "daemon", "--no-syslog"],
        check=True,
    )
    device.wait_status(deployment, "success")
    for file in seen.values():
        blocked, ignored = (int(line.split()[1], 16) for line in file.read_text().splitlines())
        assert (0, 0) == (blocked & ~THE_C_LIBRARYS, ignored & ~THE_C_LIBRARYS)
