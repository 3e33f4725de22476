"""The course of a standalone update: calls, scripts, output, exit codes and provides, row by row of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from .bench import INCONSISTENT, NEW, OLD, Bench

BEGUN = "Installing artifact...\n"
NOT_COMMITTED = "Installed, but not committed.\nUse 'commit' to update, or 'rollback' to roll back the update.\n"
AUTOMATIC = "Update Module doesn't support rollback. Committing immediately.\n"
BROKEN = "Rollback failed. System may be in an inconsistent state."
STUCK = "Update Module does not support rollback. System may be in an inconsistent state."
POST = "One or more post-commit steps failed."
REBOOT = "At least one payload requested a reboot of the device it updated."
UNTOUCHED = "Streaming failed.\nSystem not modified.\n"

DOWNLOAD = ["Download_Enter", "ProvidePayloadFileSizes", "Download", "Download_Leave"]
INSTALL = ["ArtifactInstall_Enter", "ArtifactInstall", "ArtifactInstall_Leave"]
ASK = ["NeedsArtifactReboot", "SupportsRollback"]
INSTALLED = [*DOWNLOAD, *INSTALL, *ASK]
COMMIT = ["ArtifactCommit_Enter", "ArtifactCommit"]
FINISH = ["ArtifactCommit_Leave", "Cleanup"]
ROLLBACK = ["ArtifactRollback_Enter", "ArtifactRollback", "ArtifactRollback_Leave"]
FAILURE = ["ArtifactFailure_Enter", "ArtifactFailure", "ArtifactFailure_Leave"]
BACK = ["SupportsRollback", *ROLLBACK, *FAILURE, "Cleanup"]
GIVEN_UP = ["SupportsRollback", *FAILURE, "Cleanup"]


@dataclass(frozen=True)
class Row:
    """The failures, the commands, and the result of the last command."""

    name: str
    out: str
    calls: Sequence[str]
    code: int = 1
    provides: dict[str, str] | None = None
    position: str | None = None
    commands: Sequence[str] = ("install",)
    fails: Sequence[str] = ()
    answers: Sequence[str] = ()


def _until(names: Sequence[str], last: str) -> list[str]:
    return list(names[: list(names).index(last) + 1])


INSTALLS = [
    Row("healthy", BEGUN + NOT_COMMITTED, INSTALLED, code=0, provides=OLD, position="installed"),
    Row(
        "reboot wanted",
        f"{BEGUN}{NOT_COMMITTED}{REBOOT}\n",
        INSTALLED,
        code=0,
        provides=OLD,
        position="installed",
        answers=["NeedsArtifactReboot=Yes"],
    ),
    Row(
        "automatic reboot wanted",
        f"{BEGUN}{NOT_COMMITTED}{REBOOT}\n",
        INSTALLED,
        code=0,
        provides=OLD,
        position="installed",
        answers=["NeedsArtifactReboot=Automatic"],
    ),
    Row(
        "no rollback",
        f"{BEGUN}{AUTOMATIC}Installed and committed.\n",
        [*INSTALLED, *COMMIT, *FINISH],
        code=0,
        provides=NEW,
        answers=["SupportsRollback=No"],
    ),
    Row(
        "no rollback, reboot wanted",
        f"{BEGUN}{AUTOMATIC}Installed and committed.\n{REBOOT}\n",
        [*INSTALLED, *COMMIT, *FINISH],
        code=0,
        provides=NEW,
        answers=["SupportsRollback=No", "NeedsArtifactReboot=Yes"],
    ),
    *(
        Row(
            f"{name} fails",
            f"{BEGUN}{UNTOUCHED}",
            [*_until(DOWNLOAD, name), "Download_Error", "Cleanup"],
            provides=OLD,
            fails=[name],
        )
        for name in DOWNLOAD
    ),
    Row(
        "Download and its cleanup fail",
        f"{BEGUN}Streaming failed.\nSystem not modified. Cleanup failed.\n",
        [*_until(DOWNLOAD, "Download"), "Download_Error", "Cleanup"],
        provides=OLD,
        fails=["Download", "Cleanup"],
    ),
    Row(
        "Download_Error fails, too",
        f"{BEGUN}{UNTOUCHED}",
        [*_until(DOWNLOAD, "Download"), "Download_Error", "Cleanup"],
        provides=OLD,
        fails=["Download", "Download_Error"],
    ),
    *(
        Row(
            f"{name} fails",
            f"{BEGUN}Installation failed.\nRolled back.\n",
            [*DOWNLOAD, *_until(INSTALL, name), "ArtifactInstall_Error", *BACK],
            provides=OLD,
            fails=[name],
        )
        for name in INSTALL
    ),
    *(
        Row(
            f"{name} fails, no rollback",
            f"{BEGUN}Installation failed.\n{STUCK}\n",
            [*DOWNLOAD, *_until(INSTALL, name), "ArtifactInstall_Error", *GIVEN_UP],
            provides=INCONSISTENT,
            fails=[name],
            answers=["SupportsRollback=No"],
        )
        for name in INSTALL
    ),
    Row(
        "ArtifactInstall_Error fails, too",
        f"{BEGUN}Installation failed.\nRolled back.\n",
        [*DOWNLOAD, *INSTALL[:2], "ArtifactInstall_Error", *BACK],
        provides=OLD,
        fails=["ArtifactInstall", "ArtifactInstall_Error"],
    ),
    Row(
        "NeedsArtifactReboot fails",
        f"{BEGUN}Installation failed.\nRolled back.\n",
        [*DOWNLOAD, *INSTALL, "NeedsArtifactReboot", *BACK],
        provides=OLD,
        fails=["NeedsArtifactReboot"],
    ),
    Row(
        "NeedsArtifactReboot answers something else",
        f"{BEGUN}Installation failed.\nRolled back.\n",
        [*DOWNLOAD, *INSTALL, "NeedsArtifactReboot", *BACK],
        provides=OLD,
        answers=["NeedsArtifactReboot=Maybe"],
    ),
    Row(
        "SupportsRollback fails",
        f"{BEGUN}Installation failed.\n{BROKEN}\n",
        [*INSTALLED, *GIVEN_UP],
        provides=INCONSISTENT,
        fails=["SupportsRollback"],
    ),
    *(
        Row(
            f"ArtifactInstall and {name} fail",
            f"{BEGUN}Installation failed.\n{BROKEN}\n",
            [*DOWNLOAD, *INSTALL[:2], "ArtifactInstall_Error", *BACK],
            provides=INCONSISTENT,
            fails=["ArtifactInstall", name],
        )
        for name in (*ROLLBACK, *FAILURE)
    ),
    Row(
        "ArtifactInstall and Cleanup fail",
        f"{BEGUN}Installation failed.\nRolled back. Cleanup failed.\n",
        [*DOWNLOAD, *INSTALL[:2], "ArtifactInstall_Error", *BACK],
        provides=OLD,
        fails=["ArtifactInstall", "Cleanup"],
    ),
    *(
        Row(
            f"no rollback, {name} fails",
            f"{BEGUN}{AUTOMATIC}Committing failed.\n{STUCK}\n",
            [*INSTALLED, *_until(COMMIT, name), "ArtifactCommit_Error", *GIVEN_UP],
            provides=INCONSISTENT,
            fails=[name],
            answers=["SupportsRollback=No"],
        )
        for name in COMMIT
    ),
    Row(
        "no rollback, ArtifactCommit_Leave fails",
        f"{BEGUN}{AUTOMATIC}Installed and committed.\n{POST}\n",
        [*INSTALLED, *COMMIT, *FINISH],
        provides=INCONSISTENT,
        fails=["ArtifactCommit_Leave"],
        answers=["SupportsRollback=No"],
    ),
    Row(
        "no rollback, Cleanup fails",
        f"{BEGUN}{AUTOMATIC}Installed and committed.\nCleanup failed.\n",
        [*INSTALLED, *COMMIT, *FINISH],
        provides=INCONSISTENT,
        fails=["Cleanup"],
        answers=["SupportsRollback=No"],
    ),
    Row(
        "no rollback, everything after the commit fails",
        f"{BEGUN}{AUTOMATIC}Installed and committed.\n{POST} Cleanup failed. {REBOOT}\n",
        [*INSTALLED, *COMMIT, *FINISH],
        provides=INCONSISTENT,
        fails=["ArtifactCommit_Leave", "Cleanup"],
        answers=["SupportsRollback=No", "NeedsArtifactReboot=Yes"],
    ),
]
COMMITS = [
    Row("commit", "Committed.\n", [*COMMIT, *FINISH], code=0, provides=NEW),
    Row("resume", "Committed.\n", [*COMMIT, *FINISH], code=0, provides=NEW, commands=["resume"]),
    *(
        Row(
            f"{name} fails",
            "Committing failed.\nRolled back.\n",
            [*_until(COMMIT, name), "ArtifactCommit_Error", *BACK],
            provides=OLD,
            fails=[name],
        )
        for name in COMMIT
    ),
    Row(
        "ArtifactCommit and rollback fail",
        f"Committing failed.\n{BROKEN}\n",
        [*COMMIT, "ArtifactCommit_Error", *BACK],
        provides=INCONSISTENT,
        fails=["ArtifactCommit", "ArtifactRollback"],
    ),
    Row(
        "ArtifactCommit fails, SupportsRollback, too",
        f"Committing failed.\n{BROKEN}\n",
        [*COMMIT, "ArtifactCommit_Error", *GIVEN_UP],
        provides=INCONSISTENT,
        fails=["ArtifactCommit", "SupportsRollback"],
    ),
    Row(
        "ArtifactCommit fails, and it can't be rolled back any more",
        f"Committing failed.\n{STUCK}\n",
        [*COMMIT, "ArtifactCommit_Error", *GIVEN_UP],
        provides=INCONSISTENT,
        fails=["ArtifactCommit"],
        answers=["SupportsRollback=No"],
    ),
    Row(
        "ArtifactCommit_Leave fails",
        f"Committed.\n{POST}\n",
        [*COMMIT, *FINISH],
        provides=INCONSISTENT,
        fails=["ArtifactCommit_Leave"],
    ),
    Row(
        "Cleanup fails",
        "Committed.\nCleanup failed.\n",
        [*COMMIT, *FINISH],
        provides=INCONSISTENT,
        fails=["Cleanup"],
    ),
    Row("roll back", "Rolled back.\n", BACK, code=0, provides=OLD, commands=["rollback"]),
    *(
        Row(
            f"roll back, {name} fails",
            f"{BROKEN}\n",
            BACK,
            provides=INCONSISTENT,
            fails=[name],
            commands=["rollback"],
        )
        for name in (*ROLLBACK, *FAILURE)
    ),
    Row(
        "roll back, Cleanup fails",
        "Rolled back. Cleanup failed.\n",
        BACK,
        provides=OLD,
        fails=["Cleanup"],
        commands=["rollback"],
    ),
    Row(
        "roll back what can't be",
        f"{STUCK}\n",
        ["SupportsRollback"],
        provides=OLD,
        position="installed",
        answers=["SupportsRollback=No"],
        commands=["rollback"],
    ),
    Row(
        "roll back, SupportsRollback fails",
        f"{BROKEN}\n",
        ["SupportsRollback"],
        provides=OLD,
        position="installed",
        fails=["SupportsRollback"],
        commands=["rollback"],
    ),
]


def _check(bench: Bench, row: Row, *words: str | Path) -> None:
    bench.fails(*row.fails)
    for answer in row.answers:
        bench.answers(*answer.split("=", 1))
    assert (row.code, row.out) == bench.does(*words)
    assert list(row.calls) == bench.calls()
    assert (row.position, row.position is not None) == (bench.position(), bench.has_tree)
    assert row.provides == bench.provides()


@pytest.mark.parametrize("row", INSTALLS, ids=lambda row: row.name)
def test_install(tmp_path: Path, row: Row) -> None:
    """``install`` calls the module and the scripts in the contract's order and prints the result."""
    bench = Bench(tmp_path, is_scripted=True)
    _check(bench, row, "install", bench.artifact())


@pytest.mark.parametrize("row", COMMITS, ids=lambda row: row.name)
def test_commit_and_rollback(tmp_path: Path, row: Row) -> None:
    """``commit``, ``rollback`` and ``resume`` end an update that is installed but not committed."""
    bench = Bench(tmp_path, is_scripted=True)
    assert 0 == bench.does("install", bench.artifact())[0]
    bench.calls()
    _check(bench, row, *(["commit"] if row.commands == ("install",) else row.commands))


@pytest.mark.parametrize("command", ["commit", "rollback", "resume"])
def test_nothing_in_progress(tmp_path: Path, command: str) -> None:
    """Without an update in progress there is nothing to do: exit code 2."""
    assert (2, "No update in progress.\n") == Bench(tmp_path).does(command)


def test_second_install(tmp_path: Path) -> None:
    """A second ``install`` is refused, and the pending update stays unchanged."""
    bench = Bench(tmp_path)
    artifact = bench.artifact()
    bench.does("install", artifact)
    bench.calls()
    done = bench.run("install", artifact)
    assert (1, "System not modified.\n", []) == (done.returncode, done.stdout, bench.calls())
    assert "cannot install: an update is in progress, new: installed, but not committed" in done.stderr
    assert (0, "Committed.\n") == bench.does("commit")


@pytest.mark.parametrize(
    ("reboot", "is_reversible", "code"), [("No", True, 0), ("Yes", True, 4), ("Automatic", True, 4), ("Yes", False, 4)]
)
def test_reboot_exit_code(tmp_path: Path, reboot: str, is_reversible: bool, code: int) -> None:
    """With ``--reboot-exit-code``, a successful ``install`` exits with 4 if the module requests a reboot."""
    bench = Bench(tmp_path, reboot=reboot, is_reversible=is_reversible)
    assert code == bench.does("install", "--reboot-exit-code", bench.artifact())[0]


def test_reboot_exit_code_of_resume(tmp_path: Path) -> None:
    """``resume`` supports ``--reboot-exit-code`` as well; a failed ``install`` exits with 1 all the same."""
    bench = Bench(tmp_path, reboot="Yes")
    assert (
        0 == bench.does("install", "--reboot-exit-code", "--stop-before", "ArtifactInstall_Enter", bench.artifact())[0]
    )
    assert 4 == bench.does("resume", "--reboot-exit-code")[0]
    bench.does("rollback")
    bench.answers("SupportsRollback", "No")
    bench.fails("ArtifactCommit")
    assert 1 == bench.does("install", "--reboot-exit-code", bench.artifact())[0]


def test_scripts_that_fail_are_followed_by_the_rest(tmp_path: Path) -> None:
    """The scripts of ArtifactRollback, ArtifactFailure and ArtifactCommit_Leave are all run, even if some fail."""
    bench = Bench(tmp_path, is_scripted=True)
    for name in ("ArtifactRollback_Enter", "ArtifactCommit_Leave"):
        text = dict(bench.scripts)[f"{name}_00"]
        bench.scripts.append((f"{name}_01", text))
    bench.does("install", bench.artifact())
    bench.fails("ArtifactRollback_Enter")
    bench.calls()
    bench.does("rollback")
    assert 2 == bench.calls().count("ArtifactRollback_Enter")
    bench.heal()
    bench.does("install", bench.artifact())
    bench.fails("ArtifactCommit_Leave")
    bench.calls()
    bench.does("commit")
    assert 2 == bench.calls().count("ArtifactCommit_Leave")


def test_module_in_a_directory(tmp_path: Path) -> None:
    """A command that runs update modules with ``--root`` warns once that they are not confined to the directory."""
    bench = Bench(tmp_path)
    done = bench.run("install", bench.artifact())
    assert (0, 1) == (done.returncode, done.stderr.count("[FIL23]"))
    assert (
        f"update modules and state scripts are not confined to {tmp_path}: they may change this machine" in done.stderr
    )


def test_modules_that_heed_the_directory(tmp_path: Path) -> None:
    """There is no such warning if the only update modules are those of the client that heed the directory."""
    bench = Bench(tmp_path)
    modules = tmp_path / "usr/share/mender/modules/v3"
    (modules / "app").rename(modules / "rootfs-image")
    assert "[FIL23]" not in bench.run("commit").stderr
