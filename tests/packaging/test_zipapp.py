"""The zipapp: one file that updates a device with only Python and openssl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from program.conftest import MakeDevice
from waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
ONE_MIB = 1024 * 1024


def build(project: Path, target: Path, **how: int) -> Path:
    """Write the zipapp of a source tree."""
    command = [sys.executable, str(project / "tools/zipapp_file.py"), str(target)]
    subprocess.run(command, check=True, **how)  # type: ignore[call-overload]
    return target


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp of this checkout, under a user-defined name."""
    return build(PROJECT, tmp_path_factory.mktemp("zipapp") / "updates.pyz")


@pytest.fixture
def isolated(zipapp: Path, tmp_path: Path) -> Path:
    """The same, started by this Python without any installed package."""
    program = tmp_path / "client.pyz"
    program.write_bytes(f"#!{sys.executable} -IS\n".encode() + zipapp.read_bytes().partition(b"\n")[2])
    program.chmod(0o755)
    return program


def test_it_updates_a_device(make_device: MakeDevice, isolated: Path) -> None:
    """It generates its key, installs an update over TLS, and is called by the sub-updater for the report."""
    device = make_device(program=isolated, is_preauthorized=False)
    device.server.auto_accept = True
    assert 0 == device.run("bootstrap").returncode
    assert 0 == device.run("send-inventory").returncode
    device.id = device.server.devices()[0].id
    deployment = device.deploy("release-2")
    assert 0 == device.daemon().wait_exit()
    device.wait_status(deployment, "success")
    wait_until(lambda: not device.lock.exists())
    assert ["downloading", "installing", "success"] == device.statuses(deployment)
    assert f"MENDER_CLIENT={isolated}" in (device.root / "environment").read_text().splitlines()


def test_it_sets_a_device_up(isolated: Path, tmp_path: Path) -> None:
    """Scripts, sub-updater, update modules and units that setup installs are included."""
    root = tmp_path / "root"
    (root / "etc/mender").mkdir(parents=True)
    (root / "etc/mender/mender-connect.conf").write_text('{"User": "root"}')
    parts = ["--rootfs-part-a", "/dev/a", "--rootfs-part-b", "/dev/b"]
    wanted = [
        "--install-scripts",
        "--install-sub-updater",
        "--install-modules",
        "--install-unit",
        "--install-dbus",
        *parts,
    ]
    server = ["--server-url", "http://127.0.0.1:9", "--device-type", "board"]
    command = [str(isolated), "setup", "--yes", "--root", str(root), *server, *wanted]
    subprocess.run(command, capture_output=True, check=False)
    for directory, installed in (
        ("identity", "usr/share/mender/identity"),
        ("modules/v3", "usr/share/mender/modules/v3"),
        ("systemd", "etc/systemd/system"),
    ):
        for file in (PROJECT / "support" / directory).iterdir():
            if file.name == "mender-gateway-python.service":
                continue  # setup doesn't install a gateway
            assert file.read_bytes() == (root / installed / file.name).read_bytes()
    for file in (PROJECT / "support/dbus").iterdir():
        place = "system.d" if file.suffix == ".conf" else "system-services"
        assert file.read_bytes() == (root / "usr/share/dbus-1" / place / file.name).read_bytes()
    assert (PROJECT / "support/install").read_bytes() == (root / "usr/share/mender/install").read_bytes()


def test_it_is_small_and_has_what_it_needs(zipapp: Path) -> None:
    """It has at most 1 MiB: the client and its licence, without dev server and pytest plugin."""
    assert zipapp.stat().st_size <= ONE_MIB
    names = zipfile.ZipFile(zipapp).namelist()
    assert {"__main__.py", "mender_client", "licenses"} == {name.split("/")[0] for name in names}
    assert 1 == sum(name.startswith("licenses/") for name in names)
    assert [] == [name for name in names if "devserver" in name or "testing" in name]


def test_the_same_bytes_twice(zipapp: Path, tmp_path: Path) -> None:
    """Another directory, other times and another umask result in the same file."""
    copy = tmp_path / "elsewhere"
    for directory in ("src", "support", "tools"):
        shutil.copytree(PROJECT / directory, copy / directory, copy_function=shutil.copyfile)
    shutil.copyfile(PROJECT / "LICENSE", copy / "LICENSE")
    again = build(copy, tmp_path / "again.pyz", umask=0o077)
    assert zipapp.read_bytes() == again.read_bytes()
    assert 0o755 == again.stat().st_mode & 0o777


def test_an_old_python_is_refused_plainly(zipapp: Path) -> None:
    """Python before 3.10 prints one line that says that it is too old."""
    old = sorted(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python"))
    if not old:
        pytest.skip("there is no Python before 3.10 at hand")
    done = subprocess.run([str(old[-1]), str(zipapp)], capture_output=True, text=True, check=False)
    version = ".".join(old[-1].parts[-3].split(".")[:2])
    expected = f"mender-python-client: cannot run on Python {version}; 3.10 or newer is needed\n"
    assert (1, expected) == (done.returncode, done.stderr)


def test_what_cannot_be_called_back_says_so(make_device: MakeDevice, isolated: Path) -> None:
    """A zipapp that is not executable and is run with python warns that a sub-updater can't call it."""
    device = make_device()
    isolated.chmod(0o644)
    device.deploy("release-2")
    command = [sys.executable, "-IS", str(isolated), "--root", str(device.root), "daemon", "--no-syslog"]
    with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True) as daemon:
        said = next((line for line in daemon.stderr or () if "[FIL01]" in line), "")
        daemon.kill()
    assert f"the sub-updater cannot run {isolated} to report; make it executable [FIL01]" in said
