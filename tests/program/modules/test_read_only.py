"""A read-only root file system: artifact_info stays unchanged, and the installed software is known nevertheless."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import wait_until

from .board import FAIL, Board, Happening, MakeBoard


@pytest.fixture
def mounted() -> Iterator[list[Path]]:
    """The directories that ``_make_read_only`` has made so; they are writable again after the test."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _make_read_only(path: Path, mounted: list[Path]) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", str(path), str(path)], check=False).returncode != 0:
        pytest.skip("mounting isn't allowed here")
    mounted.append(path)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)


def _polls_with(board: Board) -> str:
    """The name with which a new daemon polls for a deployment, of which there is none."""
    seen = len(board.server.requests)
    daemon = board.begin_life()
    wait_until(
        lambda: any(one.status == 204 for one in board.server.requests[seen:]), what=lambda: f"a poll ({board.said})"
    )
    daemon.stop()
    return str(board.server.inventory(board.id)["artifact_name"])


@pytest.mark.parametrize(("fails", "name"), [("", "new"), ("ArtifactCommit", "release-1")])
def test_artifact_info_is_read_only(make_board: MakeBoard, mounted: list[Path], fails: str, name: str) -> None:
    """After an update, and after one that was rolled back, the state file has what is installed, until another name
    comes to stand in artifact_info."""
    board = make_board(Happening(plan={"SupportsRollback": "echo Yes", **({fails: FAIL} if fails else {})}))
    directory = board.root / "etc/mender"
    _make_read_only(directory, mounted)
    before = (directory / "artifact_info").read_bytes()
    board.live()
    assert ["[failure]" if fails else "[success]"] == board.noted[-1:]
    assert (before, name, name) == (
        (directory / "artifact_info").read_bytes(), board.provides["artifact_name"], _polls_with(board)
    )  # fmt: skip
    subprocess.run(["umount", str(mounted.pop())], check=True)
    board.write("etc/mender/artifact_info", "artifact_name=another\n")
    assert "another" == board.provides["artifact_name"]
