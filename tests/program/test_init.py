"""The client without systemd: the init script, run by nothing but BusyBox."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from program.stage import PROGRAM, Device
from waiting import wait_until

SCRIPT = Path(__file__).parents[2] / "support/init/mender-python-client"
Init = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def init(device: Device, tmp_path: Path) -> Init:
    """Calls the script for the device, with only BusyBox's commands."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox isn't installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cat", "tr", "grep", "sleep", "setsid"):
        (tools / name).symlink_to(busybox)
    variables = {"PATH": str(tools), "CLIENT": str(PROGRAM), "ROOT": str(device.root), "MENDER_DEPLOYMENT_ID": "old"}

    def call(word: str) -> subprocess.CompletedProcess[str]:
        argv = [str(tools / "sh"), str(SCRIPT), word]
        return subprocess.run(argv, env=variables, capture_output=True, text=True, check=False)

    return call


def polls(device: Device) -> int:
    """The number of polls of the device."""
    return [one.status for one in device.server.requests].count(204)


def test_script_for_init(device: Device, init: Init) -> None:
    """The script starts one daemon, finds it, makes it reload its configuration, and stops it."""
    device.configure(UpdatePollIntervalSeconds=3600)
    assert (3, "mender-python-client is not running\n") == (init("status").returncode, init("status").stdout)
    assert (0, "", "") == ((done := init("start")).returncode, done.stdout, done.stderr)
    try:
        wait_until(lambda: polls(device) == 1)
        assert "is running (pid" in init("status").stdout
        assert "already running" in init("start").stdout
        pid = (device.data / "daemon.lock").read_text().strip()
        assert b"MENDER_DEPLOYMENT_ID" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert 0 == init("reload").returncode
        wait_until(lambda: polls(device) == 2)
    finally:
        done = init("stop")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert 3 == init("status").returncode
    assert 0 == init("stop").returncode


def test_script_without_a_daemon(init: Init) -> None:
    """An action that needs a daemon reports that there is none, and an unknown one is answered with the known ones."""
    assert (1, "mender-python-client is not running\n") == (init("reload").returncode, init("reload").stderr)
    assert 2 == init("sing").returncode
