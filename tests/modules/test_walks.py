"""Modules tested with the harness of the pytest plugin: old or new after each failure and each power cut."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mender_devserver.testing import ModuleUnderTest

from .board import Board
from .module import MODULES
from .test_programs import DOCKER

STOCK = Path("/usr/share/mender/modules/v3")


@pytest.mark.parametrize(
    "directory",
    [pytest.param(MODULES, id="shipped"), pytest.param(STOCK, id="stock", marks=pytest.mark.nightly)],
)
def test_single_file(directory: Path, tmp_path: Path) -> None:
    """The file is the old or the new one, and nothing is left next to it."""
    if not (directory / "single-file").exists():
        pytest.skip("the package mender-client isn't installed")
    target = tmp_path / "target/file"
    target.parent.mkdir()
    where = {"dest_dir": str(target.parent).encode(), "filename": b"file", "permissions": b"644"}
    payload = {"file": b"new", **where}
    module = ModuleUnderTest(tmp_path / "harness", directory / "single-file", payload)
    module.check_unknown_state()
    for walk in module.walks(lambda: target.write_text("old")):
        assert walk.installed in (target.read_text(), "unknown"), walk
        assert [target] == list(target.parent.iterdir()), walk


@pytest.mark.nightly
def test_rootfs_image(tmp_path: Path) -> None:
    """After another boot, the partition that matches the outcome is running; an uncommitted update is booted once."""
    board = Board(tmp_path / "board")
    before = board.env.read_text()
    runs: list[int] = []

    def boot() -> None:
        variables = {"bootcount": "0", **board.variables}
        number = int(variables["mender_boot_part"])
        if variables["upgrade_available"] == "1" and variables["bootcount"] != "0":
            number = 13 - number
            variables.update(mender_boot_part=str(number), upgrade_available="0", bootcount="0")
        elif variables["upgrade_available"] == "1":
            variables["bootcount"] = "1"
        board.env.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        board.run_from(number)
        runs.append(number)

    def reset() -> None:
        board.env.write_text(before)
        board.run_from(2)

    module = ModuleUnderTest(
        tmp_path / "harness", MODULES / "rootfs-image", {"image": b"new"}, environment=board.environment
    )
    module.boot = boot
    for walk in module.walks(reset):
        boot()
        assert {"new": 11, "old": 2}.get(walk.installed, runs[-1]) == runs[-1], walk
        assert walk.is_streamed or walk.road.startswith("Download")


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def program(place: Path, body: str) -> Path:
    """A shell script."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{body}\n")
    place.chmod(0o755)
    return place


@pytest.mark.nightly
def test_directory(tmp_path: Path) -> None:
    """The directory has the old or the new files, and nothing is left next to it."""
    target = tmp_path / "target/directory"
    payload = {"dest_dir": str(target).encode(), "update.tar": packed({"new": b"new"})}
    module = ModuleUnderTest(tmp_path / "harness", MODULES / "directory", payload)

    def reset() -> None:
        target.mkdir(parents=True, exist_ok=True)
        for file in target.iterdir():
            file.unlink()
        (target / "old").write_text("old")

    for walk in module.walks(reset):
        (file,) = target.iterdir()
        assert walk.installed in (file.name, "unknown"), walk
        assert [target] == list(target.parent.iterdir()), walk


@pytest.mark.nightly
def test_mender_configure(tmp_path: Path) -> None:
    """The stored configuration, the old or the new one, is applied."""
    root = tmp_path / "root"
    stored = root / "var/lib/mender-configure/device-config.json"
    program(root / "usr/lib/mender-configure/apply-device-config.d/10", f'cp "$1" {tmp_path}/applied')
    stored.parent.mkdir(parents=True)

    def reset() -> None:
        for file in (stored, tmp_path / "applied"):
            file.write_text('{"is": "old"}')

    module = ModuleUnderTest(
        tmp_path / "harness", MODULES / "mender-configure", {}, meta_data={"is": "new"},
        environment={"MENDER_ROOT": str(root)},
    )  # fmt: skip
    for walk in module.walks(reset):
        found = [json.loads(file.read_text())["is"] for file in (stored, tmp_path / "applied")]
        assert walk.installed == "unknown" or [walk.installed] * 2 == found, walk


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["script", "deb"])
def test_no_way_back(tmp_path: Path, name: str) -> None:
    """An irreversible action was run if the update succeeded, wasn't if it failed earlier, and otherwise is unknown."""
    ran = tmp_path / "ran"
    body = f"#!/bin/sh\necho ran >{ran}\n"
    program(tmp_path / "bin/dpkg", f'case "$*" in *-i*) echo ran >{ran} ;; esac')
    module = ModuleUnderTest(
        tmp_path / "harness", MODULES / name, {"a.deb": body.encode()},
        environment={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
    )  # fmt: skip
    for walk in module.walks(lambda: ran.unlink(missing_ok=True)):
        assert walk.installed in ("unknown", "new" if ran.exists() else "old"), walk


@pytest.mark.nightly
def test_docker_compose(tmp_path: Path) -> None:
    """The old or the new project runs."""
    running, data = tmp_path / "running", tmp_path / "data"
    current = data / "docker-compose/web/current/compose.yaml"
    program(tmp_path / "bin/docker", DOCKER.format(place=tmp_path))

    def reset() -> None:
        current.parent.mkdir(parents=True, exist_ok=True)
        for file in (current, running):
            file.write_text("old")

    payload = {"project_name": b"web\n", "manifests.tar": packed({"compose.yaml": b"new"})}
    module = ModuleUnderTest(
        tmp_path / "harness", MODULES / "docker-compose", payload,
        environment={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "MENDER_DATASTORE_DIR": str(data)},
    )  # fmt: skip
    for walk in module.walks(reset):
        assert walk.installed in (running.read_text(), "unknown"), walk
