"""The harness for update modules walks the paths of the contract, and detects errors of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from mender_devserver.testing import ModuleUnderTest, Trouble, Walk

PAYLOAD = {"first": b"1" * 100_000, "second": b""}
REBOOTS = "case $1 in NeedsArtifactReboot) echo {};; SupportsRollback) echo Yes;; esac"
STREAMS = """case $1 in Download) while f=$(cat stream-next) && [ "$f" ]; do cat "$f" >>tmp/all; done ;; esac"""
DOWNLOAD = ("ProvidePayloadFileSizes", "Download")
INSTALL = (*DOWNLOAD, "ArtifactInstall", "NeedsArtifactReboot")
REBOOT = (*INSTALL, "ArtifactReboot", "ArtifactVerifyReboot")
ROLLBACK = ("SupportsRollback", "ArtifactRollback", "NeedsArtifactReboot")
BACK = ("ArtifactRollbackReboot", "ArtifactVerifyRollbackReboot")
END = ("ArtifactFailure", "Cleanup")


def module(tmp_path: Path, body: str) -> ModuleUnderTest:
    """A module written in shell."""
    program = tmp_path / "app"
    program.write_text(f"#!/bin/sh\n{body}\n")
    return ModuleUnderTest(tmp_path / "harness", program, PAYLOAD)


@pytest.mark.parametrize(
    ("troubles", "calls", "installed"),
    [
        ({}, (*REBOOT, "ArtifactCommit", "Cleanup"), "new"),
        ({1: Trouble.CUT_AFTER}, (*DOWNLOAD, "Cleanup", *REBOOT, "ArtifactCommit", "Cleanup"), "new"),
        ({2: Trouble.CUT_BEFORE}, (*DOWNLOAD, *ROLLBACK, *BACK, *END), "old"),
        ({4: Trouble.CUT_AFTER}, (*REBOOT, "ArtifactCommit", "Cleanup"), "new"),
        ({5: Trouble.FAILS}, (*REBOOT, *ROLLBACK, *BACK, *END), "old"),
        ({4: Trouble.FAILS, 8: Trouble.FAILS, 9: Trouble.FAILS},
         (*INSTALL, "ArtifactReboot", *ROLLBACK, *BACK, *BACK, *END), "old"),
    ],
)  # fmt: skip
def test_calls(tmp_path: Path, troubles: dict[int, Trouble], calls: tuple[str, ...], installed: str) -> None:
    """The calls are in the order of the contract, after a power cut those of the next life."""
    walk = module(tmp_path, REBOOTS.format("Yes")).walk(troubles)
    assert (calls, installed, ()) == (walk.calls, walk.installed, walk.errors)


def test_reboot_by_the_client(tmp_path: Path) -> None:
    """A module that answers Automatic isn't called for the reboot; the device boots."""
    boots: list[str] = []
    app = module(tmp_path, REBOOTS.format("Automatic"))
    app.boot = lambda: boots.append("boot")
    assert (*INSTALL, "ArtifactVerifyReboot", "ArtifactCommit", "Cleanup") == app.walk().calls
    assert ["boot"] == boots


def test_no_rollback(tmp_path: Path) -> None:
    """After a failure the installed version is unknown if the module can't roll back."""
    walk = module(tmp_path, "").walk({2: Trouble.FAILS})
    assert ("ArtifactInstall fails", "failure", "unknown") == (walk.road, walk.status, walk.installed)


def test_streaming(tmp_path: Path) -> None:
    """A walk records whether the payload was streamed."""
    walk = module(tmp_path, STREAMS + "; [ $1 != ArtifactInstall ] || wc -c <tmp/all").walk()
    assert (True, "success", "100000") == (walk.is_streamed, walk.status, printed(walk))


def printed(walk: Walk) -> str:
    """The output of ArtifactInstall."""
    return next(line.rpartition(": ")[2] for line in walk.log.splitlines() if line.startswith("ArtifactInstall (app)"))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("[ $1 != Cleanup ] || exit 3", "Cleanup of update module app: it failed with exit code 3"),
        ("[ $1 != NeedsArtifactReboot ] || echo Perhaps", "it answers 'Perhaps' to NeedsArtifactReboot"),
        ("[ $1 != Download ] || cat stream-next", "it didn't read all files to the end"),
    ],
)
def test_errors(tmp_path: Path, body: str, error: str) -> None:
    """A call that fails by itself, a wrong answer and an unread stream fail the test, and are named."""
    with pytest.raises(AssertionError, match=error):
        list(module(tmp_path, body).walks())
