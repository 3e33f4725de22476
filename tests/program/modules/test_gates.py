"""An update with an update module that has to be approved before its download, installation, reboot and commit."""

from __future__ import annotations

import os

import pytest

from mender_client.app.decide import person
from waiting import wait_until

from .board import Board, Happening, MakeBoard

GATES = {"Download": "ask", "Install": "ask", "Reboot": "ask", "Commit": "ask"}
PLAN = {"NeedsArtifactReboot": "echo Yes", "SupportsRollback": "echo Yes"}


def waits(board: Board, point: str) -> None:
    """Wait until the update waits at the gate."""
    wait_until(
        lambda: ((board.journal.get("update") or {}).get("waiting") or {}).get("point") == point,
        what=lambda: f"a wait before the {point} ({board.said})",
    )


@pytest.mark.parametrize("is_killed", [False, True], ids=["", "killed"])
def test_all_gates(make_board: MakeBoard, is_killed: bool) -> None:
    """Each gate is checked before anything of its state happens, and nothing happens twice if the client is killed."""
    board = make_board(Happening(plan=PLAN, keys={"UpdateGates": GATES}))
    deployment = board.deploy("new", file=board.artifact())
    daemon = board.begin_life()
    for point in ("download", "install", "reboot", "commit"):
        waits(board, point)
        if point != "download":
            status = {"install": "installing", "reboot": "rebooting", "commit": "committing"}[point]
            board.wait_status(deployment, f"pause_before_{status}")
        if is_killed:
            daemon.kill()
            daemon = board.begin_life()
            waits(board, point)
        assert 0 == board.run("approve").returncode
    wait_until(lambda: "[success]" in board.noted, what=board.said)
    daemon.stop()
    assert [
        *("[downloading]", "Download_Enter", "ProvidePayloadFileSizes", "Download", "Download_Leave"),
        *("[pause_before_installing]", "[installing]"),
        *("ArtifactInstall_Enter", "ArtifactInstall", "ArtifactInstall_Leave", "NeedsArtifactReboot"),
        *("[pause_before_rebooting]", "[rebooting]"),
        *("ArtifactReboot_Enter", "ArtifactReboot", "ArtifactVerifyReboot", "ArtifactReboot_Leave"),
        *("[pause_before_committing]", "[installing]"),
        *("ArtifactCommit_Enter", "ArtifactCommit", "ArtifactCommit_Leave", "Cleanup", "[success]"),
    ] == board.noted


def test_refused_before_the_commit(make_board: MakeBoard) -> None:
    """An update that is refused before its commit is rolled back; the log that the server gets says by whom and why."""
    board = make_board(Happening(plan=PLAN, keys={"UpdateGates": {"Commit": "ask"}}))
    deployment = board.deploy("new", file=board.artifact())
    daemon = board.begin_life()
    waits(board, "commit")
    assert 0 == board.run("refuse", "--reason", "it rattles").returncode
    wait_until(lambda: "[failure]" in board.noted, what=board.said)
    assert f"refused by {person(os.environ)}: it rattles" in board.log_of(deployment)
    assert "ArtifactRollback" in board.noted
    daemon.stop()
