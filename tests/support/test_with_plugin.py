"""The A/B sub-updater of support/ with the pytest plugin, as people who adapt it to a board would test it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mender_devserver import DevServer, Fault
from mender_devserver.testing import DirectoryDevice
from waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("forked_python")
SUPPORT = Path(__file__).resolve().parents[2] / "support"
SETTINGS = """
BOOT_TOOL=file
BOOT_ENV_FILE="$MENDER_ROOT/boot.env"
REBOOT_COMMAND=': >"$MENDER_ROOT/run/reboot"'
START_COMMAND=:
HEALTH_CHECK='"$MENDER_ROOT/usr/bin/health-check"'
"""
IMAGE_BYTES = 65536


@pytest.fixture
def board(mender_device: DirectoryDevice) -> DirectoryDevice:
    """A device with two partitions and a boot loader; A runs."""
    sub_updater = mender_device.install_sub_updater(SUPPORT / "install")
    shutil.copy(SUPPORT / "modules/v3/rootfs-image", sub_updater.parent)
    loader = shutil.copy(SUPPORT / "demo/boot-loader", mender_device.root / "boot-loader")
    mender_device.write("etc/mender/sub-updater.conf", SETTINGS)
    mender_device.write("boot.env", "mender_boot_part=A\nupgrade_available=0\nbootcount=0\nrunning=A\n")
    mender_device.write("dev/part-a", b"old".ljust(IMAGE_BYTES, b"."))
    mender_device.write("dev/part-b", bytes(IMAGE_BYTES))
    mender_device.write_script("usr/bin/health-check", 'grep -q healthy "$MENDER_ROOT"/dev/part-b')
    mender_device.configure(RootfsPartA="/dev/part-a", RootfsPartB="/dev/part-b")
    mender_device.boot = lambda: subprocess.run(
        [loader, mender_device.root], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    return mender_device


def test_a_healthy_image_is_committed(board: DirectoryDevice) -> None:
    """The image is on B, B runs, and the server knows it."""
    outcome = board.update("release-2", b"healthy".ljust(IMAGE_BYTES, b"!"), timeout_seconds=PATIENCE_S)
    assert "success" == outcome.status, outcome
    assert "release-2" == board.artifact_name
    assert "running=B" in board.read("boot.env").splitlines()


def test_a_sick_image_is_rolled_back(board: DirectoryDevice, mender_server: DevServer) -> None:
    """A runs again, over a link that breaks on the way too."""
    mender_server.add_fault(Fault(kind="artifact", drop_after_bytes=20000))
    outcome = board.update("release-2", b"sick".ljust(IMAGE_BYTES, b"!"), timeout_seconds=PATIENCE_S)
    assert "failure" == outcome.status, outcome
    assert "release-1" == board.artifact_name
    assert "running=A" in board.read("boot.env").splitlines()


def test_a_sub_updater_that_dies(mender_device: DirectoryDevice) -> None:
    """A sub-updater that exits without a report is detected without waiting for the timeout."""
    mender_device.write_script("usr/share/mender/install", "echo nothing to say")
    outcome = mender_device.update("release-2", timeout_seconds=PATIENCE_S)
    assert "stuck" == outcome.status
    assert "nothing to say\n" == outcome.sub_updater_log
