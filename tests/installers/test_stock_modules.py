"""The update modules of Debian's package mender-client, run unmodified."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from core.artifact.forge import info, type_info

from .bench import Bench

STOCK = Path("/usr/share/mender/modules/v3")
STATES = (
    *(f"Artifact{name}" for name in ("Install", "Reboot", "VerifyReboot", "Commit", "Rollback", "RollbackReboot")),
    *("ArtifactVerifyRollbackReboot", "ArtifactFailure", "Cleanup"),
)
pytestmark = pytest.mark.skipif(
    not (STOCK / "single-file").exists(), reason="the package mender-client isn't installed"
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A device with these modules."""
    place = tmp_path / "device"
    place.mkdir(mode=0o755)
    made = Bench(place)
    shutil.copytree(STOCK, place / "modules", dirs_exist_ok=True)
    return made


def download(bench: Bench, payload_type: str, files: dict[str, bytes]) -> None:
    """Download an Artifact of the given type."""
    kind = {"info": info(payloads=[{"type": payload_type}]), "type_info": type_info(type=payload_type)}
    bench.download(payload_type, files=list(files.items()), **kind)


def clean_up(bench: Bench, payload_type: str) -> None:
    """End an update."""
    bench.modules.run(payload_type, "Cleanup")
    bench.modules.remove_tree()


def test_single_file(bench: Bench) -> None:
    """single-file installs its file, and restores the old one."""
    target = bench.out / "file"
    target.write_text("old")
    download(
        bench,
        "single-file",
        {"dest_dir": str(bench.out).encode(), "filename": b"file", "permissions": b"640", "file": b"new"},
    )
    assert ("No", "Yes") == (
        bench.modules.ask("single-file", "NeedsArtifactReboot"),
        bench.modules.ask("single-file", "SupportsRollback"),
    )
    bench.modules.run("single-file", "ArtifactInstall")
    assert ("new", 0o640) == (target.read_text(), target.stat().st_mode & 0o777)
    bench.modules.run("single-file", "ArtifactRollback")
    bench.modules.run("single-file", "ArtifactFailure")
    assert "old" == target.read_text()
    clean_up(bench, "single-file")


def test_directory(bench: Bench) -> None:
    """directory installs its files, and restores the old ones."""
    target = bench.out / "target"
    target.mkdir()
    (target / "old").touch()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("./new"))
    download(bench, "directory", {"dest_dir": str(target).encode(), "update.tar": archive.getvalue()})
    bench.modules.run("directory", "ArtifactInstall")
    assert ["new"] == [path.name for path in target.iterdir()]
    assert "Yes" == bench.modules.ask("directory", "SupportsRollback")
    bench.modules.run("directory", "ArtifactRollback")
    assert ["old"] == [path.name for path in target.iterdir()]
    clean_up(bench, "directory")


def test_script(bench: Bench) -> None:
    """script runs its files."""
    download(bench, "script", {"do": b'#!/bin/sh\necho done > "$OUT/done"\n'})
    bench.modules.run("script", "ArtifactInstall")
    assert "done\n" == (bench.out / "done").read_text()
    assert "No" == bench.modules.ask("script", "SupportsRollback")
    clean_up(bench, "script")


def test_every_state(bench: Bench) -> None:
    """Each of these modules succeeds in the states that it doesn't implement."""
    for module in sorted((bench.place / "modules").iterdir()):
        others = [state for state in STATES if f"{state})" not in module.read_text()]
        assert "ArtifactVerifyReboot" in others
        download(bench, module.name, {"file": b"x"})
        for state in others:
            bench.modules.run(module.name, state)
        bench.modules.remove_tree()
