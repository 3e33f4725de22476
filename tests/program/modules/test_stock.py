"""The daemon with the update modules of Debian's package mender-client, unmodified."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from core.artifact.forge import type_info

from .board import FAIL, Board, Happening, MakeBoard, described
from .rows import INCONSISTENT, NEW, OLD

STOCK = Path("/usr/share/mender/modules/v3")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not (STOCK / "single-file").exists(), reason="the package mender-client isn't installed"),
]
NO_PROGRAMS: dict[str, str] = {}
SCRIPTS = (
    "[downloading] Download_Enter Download_Leave "
    "[installing] ArtifactInstall_Enter ArtifactInstall_Leave [installing] ArtifactCommit_Enter"
)
"""The module records nothing; the scripts around it do."""


def live(
    make_board: MakeBoard, kind: str, files: dict[str, bytes], *, fails: bool, programs: dict[str, str] = NO_PROGRAMS
) -> Board:
    """Install an Artifact of the given type; the check before the commit fails if requested."""
    parts = {
        "info": described(payloads=[{"type": kind}]),
        "type_info": type_info(type=kind),
        "files": list(files.items()),
    }
    board = make_board(Happening(plan={"ArtifactCommit_Enter": FAIL} if fails else {}, parts=parts))
    for name, body in programs.items():
        board.write(f"bin/{name}", f"#!/bin/sh\n{body}\n").chmod(0o755)
    shutil.copy(STOCK / kind, board.root / "usr/share/mender/modules/v3" / kind)
    board.live()
    noted = SCRIPTS.split()
    assert noted == board.noted[: len(noted)]
    assert ("[failure]" if fails else "[success]", []) == (board.noted[-1], board.left)
    return board


@pytest.mark.parametrize("fails", [False, True])
def test_single_file(make_board: MakeBoard, tmp_path: Path, fails: bool) -> None:
    """single-file installs its file, and restores the old one."""
    target = tmp_path / "file"
    target.write_text("old")
    files = {"dest_dir": str(tmp_path).encode(), "filename": b"file", "permissions": b"640", "file": b"new"}
    board = live(make_board, "single-file", files, fails=fails)
    assert ("old" if fails else "new", OLD if fails else NEW) == (target.read_text(), board.provides["artifact_name"])


@pytest.mark.parametrize("fails", [False, True])
def test_directory(make_board: MakeBoard, tmp_path: Path, fails: bool) -> None:
    """directory installs its files, and restores the old ones."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("./new"))
    files = {"dest_dir": str(target).encode(), "update.tar": archive.getvalue()}
    board = live(make_board, "directory", files, fails=fails)
    assert ["old" if fails else "new"] == [path.name for path in target.iterdir()]
    assert (OLD if fails else NEW) == board.provides["artifact_name"]


@pytest.mark.parametrize("fails", [False, True])
def test_script(make_board: MakeBoard, tmp_path: Path, fails: bool) -> None:
    """script runs its script, which can't be rolled back."""
    script = f"#!/bin/sh\necho ran >{tmp_path}/ran\n".encode()
    board = live(make_board, "script", {"script": script}, fails=fails)
    assert "ran\n" == (tmp_path / "ran").read_text()
    assert (INCONSISTENT if fails else NEW) == board.provides["artifact_name"]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("kind", "tool", "options"), [("deb", "dpkg", "-i"), ("rpm", "rpm", "-U -v --force")])
def test_packages(make_board: MakeBoard, tmp_path: Path, kind: str, tool: str, options: str, fails: bool) -> None:
    """deb and rpm pass their packages to a tool, here a script, and can't be rolled back."""
    programs = {tool: f'echo "$*" >>{tmp_path}/called'}
    board = live(make_board, kind, {f"a.{kind}": b"package"}, fails=fails, programs=programs)
    (called,) = (tmp_path / "called").read_text().splitlines()
    assert (f"{options} ", f"files/a.{kind}") == (called[: len(options) + 1], called[-len(f"files/a.{kind}") :])
    assert (INCONSISTENT if fails else NEW) == board.provides["artifact_name"]


@pytest.mark.parametrize("fails", [False, True])
def test_docker(make_board: MakeBoard, tmp_path: Path, fails: bool) -> None:
    """docker starts its containers, and on a rollback the previous ones; Docker and jq are scripts here."""
    running = tmp_path / "running"
    running.write_text("old\n")
    docker = f"""case $1 in
ps) cat {running} ;;
stop) : >{running} ;;
run | start) for last; do :; done; echo "$last" >{running} ;;
esac"""
    programs = {"docker": docker, "jq": "case $2 in .containers*) echo new ;; esac"}
    board = live(make_board, "docker", {}, fails=fails, programs=programs)
    assert ("old" if fails else "new", OLD if fails else NEW) == (
        running.read_text().strip(),
        board.provides["artifact_name"],
    )
