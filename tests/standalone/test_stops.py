"""Stopping before a state, continuing after a stop or a kill, and the refused commands (contract, section 6.3)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .bench import INCONSISTENT, NEW, OLD, Bench
from .test_way import (
    ASK,
    AUTOMATIC,
    BACK,
    BEGUN,
    COMMIT,
    DOWNLOAD,
    FAILURE,
    FINISH,
    INSTALL,
    INSTALLED,
    NOT_COMMITTED,
    ROLLBACK,
    STUCK,
)

Brought = Callable[[str], Bench]
STREAMED = "Streamed to storage, but not installed/enabled.\n"
INSTALL_ENTER, COMMIT_ENTER, COMMIT_LEAVE = "ArtifactInstall_Enter", "ArtifactCommit_Enter", "ArtifactCommit_Leave"
ROLLBACK_ENTER, FAILURE_ENTER, CLEANUP = "ArtifactRollback_Enter", "ArtifactFailure_Enter", "Cleanup"


def _stops(*states: str) -> list[str]:
    return [word for state in states for word in ("--stop-before", state)]


def _bench(tmp_path: Path, *, is_reversible: bool = True) -> Bench:
    return Bench(tmp_path, is_scripted=True, is_reversible=is_reversible)


def _bring(bench: Bench, position: str) -> None:
    """Bring an update to a position: with a stop, or by killing the client if no stop is possible there."""
    artifact = bench.artifact()
    deaths = {"artifact-install": "ArtifactInstall", "artifact-commit": "ArtifactCommit"}
    deaths |= {"artifact-commit-leave": "ArtifactCommit_Leave", "artifact-rollback": "ArtifactRollback"}
    deaths |= {"artifact-failure": "ArtifactFailure", "cleanup": "Cleanup"}
    if position == "artifact-install":
        bench.dies(deaths[position])
        bench.runs_and_dies("install", artifact)
    elif position == "streamed":
        bench.does("install", *_stops(INSTALL_ENTER), artifact)
    else:
        bench.does("install", artifact)
        if position == "committed":
            bench.does("commit", *_stops(COMMIT_LEAVE))
        elif position in deaths:
            bench.dies(deaths[position])
            bench.runs_and_dies("commit" if "commit" in position else "rollback")
    assert position == bench.position()
    bench.calls()


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Brought:
    """A function that returns an update at a position; each position is reached once, then copied."""
    benches: dict[str, Bench] = {}
    copies = tmp_path_factory.mktemp("copies")

    def bring(position: str) -> Bench:
        if position not in benches:
            benches[position] = _bench(tmp_path_factory.mktemp(position))
            _bring(benches[position], position)
            shutil.copytree(benches[position].root, copies / position)
            return benches[position]
        shutil.rmtree(benches[position].root)
        shutil.copytree(copies / position, benches[position].root)
        return benches[position]

    return bring


# -- the table of saved positions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "out", "calls", "provides"),
    [
        ("streamed", NOT_COMMITTED, [*INSTALL, *ASK], OLD),
        ("artifact-install", "Rolled back.\n", BACK, OLD),
        ("installed", "Committed.\n", [*COMMIT, *FINISH], NEW),
        ("artifact-commit", "Rolled back.\n", BACK, OLD),
        ("committed", "Committed.\n", FINISH, NEW),
        ("artifact-commit-leave", "Committed.\n", FINISH, NEW),
        ("artifact-rollback", "Rolled back.\n", BACK[1:], OLD),
        ("artifact-failure", "Rolled back.\n", [*FAILURE, "Cleanup"], OLD),
        ("cleanup", "Cleaned up.\nRolled back.\n", ["Cleanup"], OLD),
    ],
)
def test_resume(brought: Brought, position: str, out: str, calls: list[str], provides: dict[str, str]) -> None:
    """``resume`` continues from each position, after a stop or a kill."""
    bench = brought(position)
    assert (0, out, calls) == (*bench.does("resume"), bench.calls())
    assert provides == bench.provides()
    assert bench.has_tree is (position == "streamed")


@pytest.mark.parametrize(
    ("position", "code", "out", "calls", "provides"),
    [
        ("streamed", 1, "", [], OLD),
        ("artifact-install", 1, "", [], OLD),
        ("installed", 0, "Committed.\n", [*COMMIT, *FINISH], NEW),
        ("artifact-commit", 0, "Rolled back.\n", BACK, OLD),
        ("committed", 1, "", [], OLD),
        ("artifact-commit-leave", 1, "", [], OLD),
        ("artifact-rollback", 1, "", [], OLD),
        ("artifact-failure", 1, "Rolled back.\n", [], OLD),
        ("cleanup", 1, "Rolled back.\n", [], OLD),
    ],
)
def test_commit(
    brought: Brought, position: str, code: int, out: str, calls: list[str], provides: dict[str, str]
) -> None:
    """``commit`` commits an installed update, rolls back one interrupted in its commit, and is refused elsewhere."""
    bench = brought(position)
    assert (code, out, calls) == (*bench.does("commit"), bench.calls())
    assert (provides, None if code == 0 else position) == (bench.provides(), bench.position())


@pytest.mark.parametrize(
    ("position", "code", "out", "calls"),
    [
        ("streamed", 0, "Rolled back.\n", BACK),
        ("artifact-install", 0, "Rolled back.\n", BACK),
        ("installed", 0, "Rolled back.\n", BACK),
        ("artifact-commit", 0, "Rolled back.\n", BACK),
        ("committed", 0, "Rolled back.\n", BACK),
        ("artifact-commit-leave", 1, "", []),
        ("artifact-rollback", 0, "Rolled back.\n", BACK[1:]),
        ("artifact-failure", 1, "Rolled back.\n", []),
        ("cleanup", 1, "Rolled back.\n", []),
    ],
)
def test_rollback(brought: Brought, position: str, code: int, out: str, calls: list[str]) -> None:
    """``rollback`` is possible before ArtifactCommit_Leave and during a rollback, and refused elsewhere."""
    bench = brought(position)
    assert (code, out, calls) == (*bench.does("rollback"), bench.calls())
    assert (OLD, None if code == 0 else position) == (bench.provides(), bench.position())


@pytest.mark.parametrize(
    ("command", "death"),
    [
        *(("resume", death) for death in DOWNLOAD),
        ("commit", DOWNLOAD[0]),
        ("rollback", DOWNLOAD[-1]),
        *(
            pytest.param(command, death, marks=pytest.mark.nightly)
            for command, done in (("commit", DOWNLOAD[0]), ("rollback", DOWNLOAD[-1]))
            for death in DOWNLOAD
            if death != done
        ),
    ],
)
def test_killed_in_download(tmp_path: Path, death: str, command: str) -> None:
    """A client that is killed during the download leaves nothing to continue; the next install starts over."""
    bench = _bench(tmp_path)
    bench.dies(death)
    bench.runs_and_dies("install", bench.artifact())
    bench.calls()
    assert (2, "No update in progress.\n", []) == (*bench.does(command), bench.calls())
    assert (0, BEGUN + NOT_COMMITTED, INSTALLED) == (*bench.does("install", bench.artifact()), bench.calls())


@pytest.mark.parametrize("position", ["artifact-install", "artifact-commit"])
@pytest.mark.parametrize("answer", ["No", "Perhaps"])
def test_resume_without_rollback(brought: Brought, position: str, answer: str) -> None:
    """An interrupted update that can't be rolled back ends as inconsistent."""
    bench = brought(position)
    bench.answers("SupportsRollback", answer)
    said = STUCK if answer == "No" else "Rollback failed. System may be in an inconsistent state."
    assert (1, f"{said}\n") == bench.does("resume")
    assert ["SupportsRollback", *FAILURE, "Cleanup"] == bench.calls()
    assert (INCONSISTENT, None) == (bench.provides(), bench.position())


@pytest.mark.parametrize("position", ["streamed", "artifact-install", "installed", "artifact-commit", "committed"])
def test_rollback_that_is_not_supported(brought: Brought, position: str) -> None:
    """A rollback that the module doesn't support is refused: nothing is done, and the update stays pending."""
    bench = brought(position)
    bench.answers("SupportsRollback", "No")
    assert (1, f"{STUCK}\n", ["SupportsRollback"]) == (*bench.does("rollback"), bench.calls())
    assert (OLD, position) == (bench.provides(), bench.position())


# -- stops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stops", "is_reversible", "out", "calls", "position"),
    [
        ([INSTALL_ENTER], True, STREAMED, DOWNLOAD, "streamed"),
        ([INSTALL_ENTER, COMMIT_ENTER], True, STREAMED, DOWNLOAD, "streamed"),
        ([COMMIT_ENTER], True, NOT_COMMITTED, INSTALLED, "installed"),
        ([COMMIT_ENTER], False, NOT_COMMITTED, INSTALLED, "installed"),
        ([COMMIT_LEAVE], True, NOT_COMMITTED, INSTALLED, "installed"),
        ([COMMIT_LEAVE], False, f"{AUTOMATIC}Installed and committed.\n", [*INSTALLED, *COMMIT], "committed"),
        (
            [CLEANUP],
            False,
            f"{AUTOMATIC}Installed and committed.\n",
            [*INSTALLED, *COMMIT, "ArtifactCommit_Leave"],
            "cleanup",
        ),
        ([ROLLBACK_ENTER, FAILURE_ENTER], True, NOT_COMMITTED, INSTALLED, "installed"),
    ],
)
def test_stop_of_install(
    tmp_path: Path, stops: list[str], is_reversible: bool, out: str, calls: list[str], position: str
) -> None:
    """``install`` stops before a state: everything before it has run, and the position is stored."""
    bench = _bench(tmp_path, is_reversible=is_reversible)
    assert (0, BEGUN + out) == bench.does("install", *_stops(*stops), bench.artifact())
    assert (calls, position, OLD) == (bench.calls(), bench.position(), bench.provides())


@pytest.mark.parametrize(
    ("stop", "out", "calls", "position"),
    [
        (ROLLBACK_ENTER, "", ["SupportsRollback"], "artifact-rollback"),
        (FAILURE_ENTER, "Rolled back.\n", ["SupportsRollback", *ROLLBACK], "artifact-failure"),
        (CLEANUP, "Rolled back.\n", ["SupportsRollback", *ROLLBACK, *FAILURE], "cleanup"),
    ],
)
def test_stop_in_a_rollback(tmp_path: Path, stop: str, out: str, calls: list[str], position: str) -> None:
    """A stop in a rollback after a failure has the exit code of the failure; in a requested rollback it is 0."""
    bench = _bench(tmp_path)
    bench.fails("ArtifactInstall")
    assert (1, f"{BEGUN}Installation failed.\n{out}") == bench.does("install", *_stops(stop), bench.artifact())
    assert [*DOWNLOAD, *INSTALL[:2], "ArtifactInstall_Error", *calls] == bench.calls()
    assert (0, out, []) == (*bench.does("resume", *_stops(stop)), bench.calls())
    done = "Cleaned up.\nRolled back.\n" if stop == CLEANUP else "Rolled back.\n"
    assert (0, done) == bench.does("resume")
    bench.heal()
    bench.does("install", bench.artifact())
    bench.calls()
    assert (0, out, calls) == (*bench.does("rollback", *_stops(stop)), bench.calls())
    assert (position, OLD) == (bench.position(), bench.provides())
    assert (0, done) == bench.does("resume")
    assert (None, OLD, False) == (bench.position(), bench.provides(), bench.has_tree)


@pytest.mark.parametrize(
    ("stop", "position", "calls"),
    [
        (COMMIT_LEAVE, "committed", COMMIT),
        (CLEANUP, "cleanup", [*COMMIT, "ArtifactCommit_Leave"]),
    ],
)
@pytest.mark.parametrize("command", ["commit", "resume"])
def test_stop_of_commit(tmp_path: Path, command: str, stop: str, position: str, calls: list[str]) -> None:
    """``commit`` and ``resume`` can stop after the commit; another ``resume`` completes the update."""
    bench = _bench(tmp_path)
    bench.does("install", bench.artifact())
    bench.calls()
    assert (0, "Committed.\n", calls) == (*bench.does(command, *_stops(stop)), bench.calls())
    assert (position, OLD) == (bench.position(), bench.provides())
    assert (0, "", []) == (*bench.does("resume", *_stops(stop)), bench.calls())
    assert 0 == bench.does("resume")[0]
    assert (None, NEW) == (bench.position(), bench.provides())


@pytest.mark.parametrize(
    ("position", "stop", "command"),
    [
        ("streamed", INSTALL_ENTER, "resume"),
        ("installed", COMMIT_ENTER, "resume"),
        ("installed", COMMIT_ENTER, "commit"),
        ("committed", COMMIT_LEAVE, "resume"),
    ],
)
def test_same_stop_twice(brought: Brought, position: str, stop: str, command: str) -> None:
    """Repeating the same stop does nothing, prints nothing, and is no failure."""
    bench = brought(position)
    assert (0, "", [], position) == (*bench.does(command, *_stops(stop)), bench.calls(), bench.position())


def test_every_stop_on_the_way(tmp_path: Path) -> None:
    """An update can be resumed from stop to stop, and each call is made once."""
    bench = _bench(tmp_path)
    bench.does("install", *_stops(INSTALL_ENTER), bench.artifact())
    for stop in (COMMIT_ENTER, COMMIT_LEAVE, CLEANUP):
        assert 0 == bench.does("resume", *_stops(stop))[0]
    assert (0, "Cleaned up.\n") == bench.does("resume")
    assert [*INSTALLED, *COMMIT, *FINISH] == bench.calls()
    assert NEW == bench.provides()


def test_failures_of_a_rollback_are_kept_over_a_stop(tmp_path: Path) -> None:
    """A rollback that failed before a stop ends as inconsistent."""
    bench = _bench(tmp_path)
    bench.does("install", bench.artifact())
    bench.fails("ArtifactRollback")
    said = "Rollback failed. System may be in an inconsistent state.\n"
    assert (1, said) == bench.does("rollback", *_stops(FAILURE_ENTER))
    assert (0, "") == bench.does("resume", *_stops(FAILURE_ENTER))
    assert (1, said) == bench.does("resume")
    assert INCONSISTENT == bench.provides()


def test_post_commit_failure_is_kept_over_a_stop(tmp_path: Path) -> None:
    """A failure after the commit marks the name as inconsistent, even if the update was stopped in between."""
    bench = _bench(tmp_path)
    bench.does("install", bench.artifact())
    bench.fails("ArtifactCommit_Leave")
    post = "One or more post-commit steps failed.\n"
    assert (1, f"Committed.\n{post}") == bench.does("commit", *_stops(CLEANUP))
    assert (0, "Cleaned up.\n") == bench.does("resume")
    assert INCONSISTENT == bench.provides()


def test_unknown_stop(tmp_path: Path) -> None:
    """A state before which no stop is possible is refused before anything is done."""
    bench = _bench(tmp_path)
    artifact = bench.artifact()
    for state in ("ArtifactReboot_Enter", "Download", "artifactinstall_enter", ""):
        done = bench.run("install", "--stop-before", state, artifact)
        assert (64, "", []) == (done.returncode, done.stdout, bench.calls())
