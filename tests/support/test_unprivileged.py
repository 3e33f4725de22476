"""A non-root client: the request to root, what root accepts of it, and how restricted the unit is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.device import SUPPORT

KIT = SUPPORT / "unprivileged"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DEPLOYMENT = "b1946ac9-2492-4d23-9c5d-000000000001"
EXPOSURE_BAR = 2.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device with the kit installed, and a sub-updater that records how it was called."""
    for directory in ("run/mender-hand-over", "usr/lib/mender", "var/lib/mender"):
        (tmp_path / directory).mkdir(parents=True)
    sub_updater = tmp_path / "usr/lib/mender/sub-updater"
    sub_updater.write_text('#!/bin/sh\necho "argument=$1"; env | grep ^MENDER_ | sort\n')
    sub_updater.chmod(0o755)
    return tmp_path


def run(script: str, root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the kit."""
    environment = {"PATH": PATH, "MENDER_ROOT": str(root), **variables}
    return subprocess.run([KIT / script], env=environment, capture_output=True, text=True, check=False)


def test_hand_over(root: Path) -> None:
    """The client's request starts root's sub-updater once, with the partitions that root knows."""
    name = "release 2 $(touch x); 'y'"
    asked = run(
        "hand-over",
        root,
        MENDER_DEPLOYMENT_ID=DEPLOYMENT,
        MENDER_ARTIFACT_NAME=name,
        MENDER_PAYLOAD_TYPE="rootfs-image",
    )
    assert (0, "") == (asked.returncode, asked.stderr)
    done = run("install-as-root", root, MENDER_ROOTFS_PART_A="/dev/a", MENDER_ROOTFS_PART_B="/dev/b", SECRET="x")
    data = root / "var/lib/mender"
    assert [
        f"argument={data}/artifact.mender",
        f"MENDER_ARTIFACT_NAME={name}",
        f"MENDER_ARTIFACT_PATH={data}/artifact.mender",
        f"MENDER_CLIENT={root}/usr/lib/mender/client-as-mender",
        f"MENDER_DATA_DIR={data}",
        f"MENDER_DEPLOYMENT_ID={DEPLOYMENT}",
        "MENDER_PAYLOAD_TYPE=rootfs-image",
        f"MENDER_ROOT={root}",
        "MENDER_ROOTFS_PART_A=/dev/a",
        "MENDER_ROOTFS_PART_B=/dev/b",
    ] == done.stdout.splitlines()
    assert 1 == run("install-as-root", root).returncode


@pytest.mark.parametrize(
    "request_text",
    ["", "deployment=\n", "deployment=../../etc\nartifact=x\n", "artifact=x\n", "deployment=a b\n"],
)
def test_bad_request(root: Path, request_text: str) -> None:
    """A request without a deployment id starts nothing, and is removed."""
    request = root / "run/mender-hand-over/request"
    request.write_text(request_text)
    done = run("install-as-root", root)
    assert (1, "") == (done.returncode, done.stdout)
    assert "the request names no deployment" in done.stderr
    assert not request.exists()


def test_planted_link(root: Path, tmp_path: Path) -> None:
    """A request that is a symbolic link is not read."""
    (tmp_path / "shadow").write_text(f"deployment={DEPLOYMENT}\n")
    (root / "run/mender-hand-over/request").symlink_to(tmp_path / "shadow")
    done = run("install-as-root", root)
    assert (1, "") == (done.returncode, done.stdout)
    assert "is not a file" in done.stderr


def test_exposure(tmp_path: Path) -> None:
    """systemd rates the exposure of the unprivileged client as low."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze isn't installed")
    unit = tmp_path / "mender-python-client.service"
    unit.write_text((KIT / unit.name).read_text().replace("/usr/bin/mender-python-client daemon", "/bin/true"))
    done = subprocess.run(
        [analyze, "security", "--offline=true", str(unit)],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if level is None:
        pytest.skip(f"this systemd-analyze can't work offline: {done.stderr.strip()}")
    assert float(level[1]) <= EXPOSURE_BAR
