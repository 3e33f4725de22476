"""Our unit in a real systemd, which is the first process of a namespace and has no other unit of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from program.stage import Device
from waiting import wait_until

UNIT = Path(__file__).parents[2] / "support/systemd/mender-python-client.service"
SYSTEMD = Path("/lib/systemd/systemd")
GROUPS = Path("/sys/fs/cgroup/systemd")
UPDATES = 5

QUICK = """
echo "$MENDER_DEPLOYMENT_ID" >>"$MENDER_ROOT/runs"
echo "artifact_name=$MENDER_ARTIFACT_NAME" >"$MENDER_ROOT/etc/mender/artifact_info"
rm "$MENDER_DATA_DIR/update.lock"
systemctl show -p SubState --value mender-python-client >>"$MENDER_ROOT/states"
systemctl start mender-python-client
"""
"""Exits immediately, records the state of the client that started it, and starts the client."""

BOOT = """#!/bin/sh -e
mount --make-rprivate /
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/systemd
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir -p /run/lock /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd,xattr cgroup /sys/fs/cgroup/systemd
export container=lxc SYSTEMD_UNIT_PATH={units} SYSTEMD_LOG_TARGET=console
export SYSTEMD_GENERATOR_PATH=/run/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/none
exec {systemd} --system --unit=test.target
"""


@pytest.fixture
def systemd(device: Device, tmp_path: Path) -> Iterator[None]:
    """Run the device's client as systemd does."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or not GROUPS.is_dir() or shutil.which("unshare") is None:
        pytest.skip("needs root, systemd, and its hierarchy of control groups (version 1)")
    units = tmp_path / "units"
    units.mkdir()
    command = f"ExecStart={device.program} --root {device.root} daemon --no-syslog"
    unit = UNIT.read_text().replace("ExecStart=/usr/bin/mender-python-client daemon", command)
    unit = unit.replace("[Unit]\n", "[Unit]\nStartLimitIntervalSec=0\n")  # no device has this number of updates in 10 s
    (units / UNIT.name).write_text(unit.replace("[Service]\n", f"[Service]\nStandardError=append:{tmp_path}/log\n"))
    (units / "test.target").write_text(f"[Unit]\nDescription=Test\nWants={UNIT.name}\n")
    for name in ("sysinit", "basic", "shutdown", "local-fs", "sockets"):
        (units / f"{name}.target").write_text("[Unit]\nDescription=Empty\n")
    boot = tmp_path / "boot"
    boot.write_text(BOOT.format(units=units, systemd=SYSTEMD))
    boot.chmod(0o755)
    group = GROUPS / f"mender-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups can't be made here: {error}")
    command = (
        f"echo $$ >{group}/cgroup.procs && exec unshare --mount --pid --fork --uts --ipc --cgroup --kill-child {boot}"
    )
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: not any(one.read_text() for one in group.rglob("cgroup.procs")), what="the end of systemd")
        subprocess.run(["find", str(group), "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], check=True)


def polls(device: Device) -> int:
    """The number of polls of the device without a deployment."""
    return [one.status for one in device.server.requests].count(204)


@pytest.mark.nightly
@pytest.mark.usefixtures("systemd")
def test_a_quick_sub_updater_starts_the_client_again(device: Device) -> None:
    """A sub-updater that finishes while the client that started it is still exiting leaves a client that polls."""
    device.write_script("usr/share/mender/install", QUICK)
    wait_until(lambda: polls(device) > 0)
    for number in range(UPDATES):
        deployment = device.deploy(f"quick-{number}")
        device.wait_status(deployment, "success")
        before = polls(device)
        wait_until(lambda before=before: polls(device) > before)  # type: ignore[misc]
    assert UPDATES == len(device.runs)
    assert "stop-sigterm" in (device.root / "states").read_text(), "no sub-updater was quick enough"
