"""Modules walked by the harness of the pytest plugin: new or old after each failure and each power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from mender_devserver.testing import ModuleUnderTest

from .board import Board
from .module import MODULES

STOCK = Path("/usr/share/mender/modules/v3")


@pytest.mark.parametrize(
    "directory",
    [pytest.param(MODULES, id="shipped"), pytest.param(STOCK, id="stock", marks=pytest.mark.nightly)],
)
def test_single_file(directory: Path, tmp_path: Path) -> None:
    """The file is the new or the old one, and nothing is left beside it."""
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
    """The new or the old partition runs, also after one more boot; an update that isn't committed boots once."""
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
