"""The commands without a server, Debian's client compared with ours: calls, exit codes, and the final artifact name.

``tests/standalone`` compares ours with the rows of the contract. Debian's is compared with the same rows here, and its
differences are listed with their reasons. The printed texts aren't compared, since they always differ.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from standalone.bench import Bench
from standalone.test_way import COMMITS, FAILURE, INSTALLS, Row

from .debian import DebianBench, needed

pytestmark = needed
_SAMPLE = 4

_ROLLBACKS = ("ArtifactRollback", "ArtifactRollback_Enter", "ArtifactRollback_Leave")


@dataclass(frozen=True)
class Done:
    """The result of a command: its exit code, the calls, and the name of the installed software."""

    code: int
    calls: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Difference:
    """A difference of Debian's client.

    Attributes:
        reason: the difference, and why ours doesn't behave like that.
        change: maps the expected result of our client to that of Debian's.
    """

    reason: str
    change: Callable[[Row, Done], Done]


def _without(done: Done, *names: str) -> Done:
    return replace(done, calls=tuple(name for name in done.calls if name not in names))


def _sizes_are_not_asked(row: Row, done: Done) -> Done:
    del row
    return _without(done, "ProvidePayloadFileSizes")


def _rollback_is_asked_early(row: Row, done: Done) -> Done:
    del row
    calls = list(done.calls)
    if "NeedsArtifactReboot" in calls and "SupportsRollback" in calls:
        at = calls.index("NeedsArtifactReboot") + 1
        if calls[at : at + 1] == ["SupportsRollback"] and "ArtifactRollback_Enter" not in calls:
            del calls[at]
    if "Download_Leave" in calls and "Download_Error" not in calls:
        calls.insert(calls.index("Download_Leave") + 1, "SupportsRollback")
    return replace(done, calls=tuple(calls))


def _commit_has_error_scripts(row: Row, done: Done) -> Done:
    if "ArtifactCommit_Leave" not in row.fails:
        return done
    at = done.calls.index("ArtifactCommit_Leave") + 1
    return replace(done, calls=(*done.calls[:at], "ArtifactCommit_Error", *done.calls[at:]))


def _rollback_is_no_failure(row: Row, done: Done) -> Done:
    if row.commands != ["rollback"] or {*_ROLLBACKS} & {*row.fails}:
        return done
    if {"ArtifactFailure", "ArtifactFailure_Enter", "ArtifactFailure_Leave"} & {*row.fails}:
        done = replace(done, code=0, name="old")
    return _without(done, *FAILURE)


def _scripts_of_a_failure_count_little(row: Row, done: Done) -> Done:
    is_meant = {"ArtifactFailure_Enter", "ArtifactFailure_Leave"} & {*row.fails}
    return replace(done, name="old") if is_meant else done


def _cleanup_leaves_the_name(row: Row, done: Done) -> Done:
    return replace(done, name="new") if row.fails == ["Cleanup"] and done.name == "new_INCONSISTENT" else done


def _no_cleanup_without_a_tree(row: Row, done: Done) -> Done:
    return _without(done, "Cleanup") if row.fails == ["Download_Enter"] else done


DIFFERENCES = (
    Difference("ProvidePayloadFileSizes came after 3.4; every module is fed by Download", _sizes_are_not_asked),
    Difference("SupportsRollback is asked before the installation, not after it", _rollback_is_asked_early),
    Difference("the contract has no ArtifactCommit_Error after a failed _Leave here", _commit_has_error_scripts),
    Difference("a rollback that the user asks for is no ArtifactFailure, unless it fails", _rollback_is_no_failure),
    Difference(
        "failing scripts of ArtifactFailure don't make the device inconsistent", _scripts_of_a_failure_count_little
    ),
    Difference("a failed Cleanup is told by the exit code only", _cleanup_leaves_the_name),
    Difference("Download_Enter comes before the header is read: no Cleanup when it fails", _no_cleanup_without_a_tree),
)

APART = {
    "ProvidePayloadFileSizes fails": "it isn't asked, so the update goes well",
    "SupportsRollback fails": "it is asked before the installation, so nothing has to be undone",
}
"""Rows in which nothing can be compared."""
COMPARED = [row for row in (*INSTALLS, *COMMITS) if row.name not in APART and row.commands != ["resume"]]
_CHOSEN = random.Random(5).sample([row.name for row in COMPARED], _SAMPLE)


def _as_debian(row: Row) -> Done:
    assert row.provides is not None
    done = Done(row.code, tuple(row.calls), row.provides["artifact_name"])
    for difference in DIFFERENCES:
        done = difference.change(row, done)
    return done


def _does(bench: Bench, *words: str | Path) -> Done:
    code = bench.does(*words)[0]
    return Done(code, tuple(bench.calls()), bench.does("show-artifact")[1].strip())


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.name, marks=[] if row.name in _CHOSEN else pytest.mark.nightly) for row in COMPARED],
)
def test_row(tmp_path: Path, row: Row) -> None:
    """Debian's client follows the contract, except for the listed differences."""
    bench = DebianBench(tmp_path, is_scripted=True)
    words: Sequence[str | Path] = ["install", bench.artifact()]
    if row in COMMITS:
        assert 0 == bench.does(*words)[0]
        bench.calls()
        words = ["commit"] if row.commands == ("install",) else row.commands
    bench.fails(*row.fails)
    for answer in row.answers:
        bench.answers(*answer.split("=", 1))
    assert _as_debian(row) == _does(bench, *words)


# -- cases that aren't rows of the contract: both clients, one after the other -----------------------------------------

_BODY = "#!/bin/sh\necho {name} >>{out}/calls\n{rest}\n"
_ONCE = "[ -e {out}/once ] || {{ : >{out}/once; exit 21; }}"
_BOARD = {"device_type": ["board"]}


@dataclass(frozen=True)
class Case:
    """An Artifact on a device.

    Attributes:
        calls: the calls that both clients make.
        code: the exit code of both.
        name: the name of the installed software afterwards.
        parts: the parts of the Artifact.
        arrange: prepares the device.
        before: the additional calls that Debian's client makes first.
        reason: the reason for these calls.
    """

    calls: Sequence[str]
    code: int = 1
    name: str = "old"
    parts: Any = None
    arrange: Callable[[Bench], object] = lambda _: None
    before: Sequence[str] = ()
    reason: str = ""


def _script(state: str, rest: str) -> Callable[[Bench], object]:
    """Another script in the Artifact."""

    def arrange(bench: Bench) -> None:
        text = _BODY.format(name=f"{state}_01", out=bench.out, rest=rest.format(out=bench.out))
        bench.scripts.append((f"{state}_01", text.encode()))

    return arrange


def _module(bench: Bench) -> Path:
    return bench.root / "usr/share/mender/modules/v3/app"


def _streams(bench: Bench) -> None:
    states = """case $1 in
Download) cat "$(cat stream-next)" >tmp/file && [ -z "$(cat stream-next)" ] || exit 1 ;;
ArtifactInstall) [ "$(cat tmp/file)" = content ] && [ ! -e files ] || exit 1 ;;
esac
exit 0
"""
    text = _module(bench).read_text()
    _module(bench).write_text(text.replace("exit 0\n", states))


_FORTH = ["Download_Enter", "Download", "Download_Leave", "ArtifactInstall_Enter"]
_REST = ["ArtifactInstall", "ArtifactInstall_Leave", "NeedsArtifactReboot"]
_BACK = [
    "ArtifactInstall_Error", "ArtifactRollback_Enter", "ArtifactRollback", "ArtifactRollback_Leave",
    "ArtifactFailure_Enter", "ArtifactFailure", "ArtifactFailure_Leave", "Cleanup",
]  # fmt: skip
_HEADER = "the scripts of Download run before the header is read"
CASES = {
    "a script that wants to wait once": Case(
        [*_FORTH, "ArtifactInstall_Enter_01", "ArtifactInstall_Enter_01", *_REST],
        code=0,
        arrange=_script("ArtifactInstall_Enter", _ONCE),
    ),
    "a script that wants to wait for ever": Case(
        [*_FORTH, "ArtifactInstall_Enter_01", *_BACK], arrange=_script("ArtifactInstall_Enter", "exit 21")
    ),
    "a script that takes too long": Case(
        [*_FORTH, "ArtifactInstall_Enter_01", *_BACK], arrange=_script("ArtifactInstall_Enter", "sleep 3600")
    ),
    "a module that wants to wait": Case(
        [*_FORTH, "ArtifactInstall", *_BACK], arrange=lambda bench: bench.fails("ArtifactInstall", code=21)
    ),
    "a module that streams": Case([*_FORTH, *_REST], code=0, arrange=_streams),
    "no module": Case(["Download_Enter", "Download_Error"], arrange=lambda bench: _module(bench).unlink()),
    "a module that can't be run": Case(
        ["Download_Enter", "Download_Error"], arrange=lambda bench: _module(bench).chmod(0o644)
    ),
    "for another device": Case(
        [],
        parts={"info": {"artifact_depends": {"device_type": ["other"]}}},
        before=["Download_Enter", "Download_Error"],
        reason=_HEADER,
    ),
    "for another name": Case(
        [],
        parts={"info": {"artifact_depends": {**_BOARD, "artifact_name": ["older"]}}},
        before=["Download_Enter"],
        reason=_HEADER,
    ),
    "for this name": Case(
        [*_FORTH, *_REST], code=0, parts={"info": {"artifact_depends": {**_BOARD, "artifact_name": ["old"]}}}
    ),
    "for what isn't provided": Case(
        [], parts={"type_info": {"artifact_depends": {"x": "1"}}}, before=["Download_Enter"], reason=_HEADER
    ),
    "no Artifact": Case([], parts={"header": b"nothing"}, before=["Download_Enter", "Download_Error"], reason=_HEADER),
}
_QUICK = ("a module that streams", "for another device")


@pytest.mark.parametrize("kind", [Bench, DebianBench])
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=[] if name in _QUICK else pytest.mark.nightly) for name, case in CASES.items()],
)
def test_case(tmp_path: Path, case: Case, kind: type[Bench]) -> None:
    """Both clients have the same result, except for listed calls of Debian's. Queries and repetitions are ignored."""
    bench = kind(tmp_path, is_scripted=True)
    limits = {"StateScriptRetryIntervalSeconds": 1, "StateScriptRetryTimeoutSeconds": 2, "StateScriptTimeoutSeconds": 2}
    settings = {"ServerURL": "https://unused.example", **limits}
    (tmp_path / "etc/mender/mender.conf").write_text(json.dumps(settings))
    case.arrange(bench)
    done = _does(bench, "install", bench.artifact(**(case.parts or {})))
    calls = [call for call in done.calls if call not in ("ProvidePayloadFileSizes", "SupportsRollback")]
    if case.code != 0:
        calls = list(dict.fromkeys(calls))
    expected = list(case.calls) if kind is Bench else [*case.before, *case.calls]
    assert (case.code, expected, case.name) == (done.code, calls, done.name)


@pytest.mark.parametrize("kind", [Bench, DebianBench])
def test_reboot_exit_code(tmp_path: Path, kind: type[Bench]) -> None:
    """Both exit with 4 if a reboot is required, then accept ``commit``; without an update, they exit with 2."""
    bench = kind(tmp_path, reboot="Automatic")
    assert 2 == bench.does("commit")[0]
    assert 2 == bench.does("rollback")[0]
    assert 4 == bench.does("install", "--reboot-exit-code", bench.artifact())[0]
    assert 0 == bench.does("commit")[0]
    assert "new\n" == bench.does("show-artifact")[1]
    provides = dict(line.split("=", 1) for line in bench.does("show-provides")[1].splitlines())
    # ours starts with artifact_info, which contains more than the name; Debian's with only the name
    inherited = {"rootfs-image.checksum": "1"} if kind is Bench else {}
    assert {"artifact_name": "new", "app.version": "2", **inherited} == provides


def test_second_install(tmp_path: Path) -> None:
    """Debian's client accepts a second update without cleaning up the pending one; the contract refuses that."""
    bench = DebianBench(tmp_path)
    assert [0, 0] == [bench.does("install", bench.artifact())[0] for _ in range(2)]
    assert "Cleanup" not in bench.calls()
