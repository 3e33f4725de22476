"""Modules walked by the harness of the pytest plugin: new or old after each failure and each power cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from mender_devserver.testing import ModuleUnderTest

from .module import MODULES

STOCK = Path("/usr/share/mender/modules/v3")


@pytest.mark.parametrize("directory", [MODULES, STOCK], ids=["shipped", "stock"])
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
