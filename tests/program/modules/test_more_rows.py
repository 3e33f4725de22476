"""Refused Artifacts, how modules take payloads, limits, provides, and scripts around polls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from core.artifact.forge import dump, tar, tar_file, type_info
from program.stage import DEVICE_TYPE

from .board import FAIL, SYNC_SCRIPTS, Board, Happening, MakeBoard, described
from .rows import (
    BACK,
    DOWNLOAD,
    HEALTHY,
    INCONSISTENT,
    NEW,
    OLD,
    PLAIN,
    YES,
    Row,
    check,
    sampled,
    until,
)


def parts(way: str, name: str = OLD, plan: Mapping[str, str] = PLAIN, **changed: Any) -> Row:
    """A row with other parts of the Artifact."""
    return Row(way=way, happening=Happening(plan=plan, parts=changed), name=name)


def keys(way: str, name: str, plan: Mapping[str, str], **changed: Any) -> Row:
    """A row with other settings of the client."""
    return Row(way=way, happening=Happening(plan={**PLAIN, **plan}, keys=changed), name=name)


_REFUSED = "[downloading] Download_Enter Download_Error [failure]"
_INSTALL_FAILS = f"{until(HEALTHY, 'ArtifactInstall')} ArtifactInstall_Error {BACK}"
STREAM = 'while f=$(cat stream-next) && [ -n "$f" ]; do cat "${f%% *}" >"tmp/$(basename "${f%% *}")"; done'

ARTIFACTS = {
    "empty payload": parts(
        "[downloading] Download_Enter Download_Leave [success]",
        NEW,
        info=described(payloads=[{"type": None}]),
        type_info=dump({"type": None}),
        files=[],
        scripts=[],
    ),
    "no module for it": parts(_REFUSED, info=described(payloads=[{"type": "none"}]), type_info=type_info(type="none")),
    "a type that leads out": parts(
        _REFUSED, info=described(payloads=[{"type": "../v3/app"}]), type_info=type_info(type="../v3/app")
    ),
    "two payloads": parts(_REFUSED, info=described(payloads=[{"type": "app"}, {"type": "app"}])),
    "no tar": parts(_REFUSED, header=b"nothing"),
    "for another board": parts(_REFUSED, info=described(artifact_depends={"device_type": ["other"]})),
    "for another name": parts(
        _REFUSED, info=described(artifact_depends={"device_type": [DEVICE_TYPE], "artifact_name": ["older"]})
    ),
    "for another group": parts(
        _REFUSED, info=described(artifact_depends={"device_type": [DEVICE_TYPE], "artifact_group": ["g"]})
    ),
    "for what is not there": parts(_REFUSED, type_info=type_info(artifact_depends={"rootfs-image.version": "2"})),
    "for what is there": parts(HEALTHY, NEW, type_info=type_info(artifact_depends={"rootfs-image.version": "1"})),
    "for one of a list": parts(
        HEALTHY, NEW, type_info=type_info(artifact_depends={"rootfs-image.version": ["0", "1"]})
    ),
    "a script with a wrong name": parts(_REFUSED, scripts=[("ArtifactInstall_Enter", b"#!/bin/sh\n")]),
    "a file with a space": parts(_REFUSED, files=[("a b", b"x")]),
    "a wrong digest": Row(
        way=f"{until(DOWNLOAD, 'Download')} Download_Error Cleanup [failure]",
        happening=Happening(
            plan={**PLAIN, "Download": STREAM},
            parts={"payload": tar(tar_file("file", b"CONTENT"))},
            keys={"SpoolArtifact": "never"},
        ),
        name=OLD,
    ),
    "a wrong digest, stored": Row(
        way=_REFUSED,
        happening=Happening(
            plan={**PLAIN, "Download": STREAM},
            parts={"payload": tar(tar_file("file", b"CONTENT"))},
            keys={"SpoolArtifact": "always"},
        ),
        name=OLD,
    ),
    "several files": parts(
        HEALTHY, NEW, {**PLAIN, "ArtifactInstall": '[ "$(cat files/a files/b files/c)" = xz ] || exit 1'},
        files=[("a", b"x"), ("b", b""), ("c", b"z")],
    ),
    "several files, streamed": parts(
        HEALTHY, NEW,
        {
            **PLAIN,
            "Download": STREAM,
            "ArtifactInstall": '[ "$(cat tmp/a tmp/b tmp/c)" = xz ] && [ ! -e files ] || exit 1',
        },
        files=[("a", b"x"), ("b", b""), ("c", b"z")],
    ),
}  # fmt: skip

_DOWNLOAD_FAILS = f"{until(DOWNLOAD, 'Download')} Download_Error Cleanup [failure]"
DOWNLOADS = {
    "reads the line only": parts(_DOWNLOAD_FAILS, plan={**PLAIN, "Download": "cat stream-next"}),
    "reads half a stream": parts(
        _DOWNLOAD_FAILS,
        plan={**PLAIN, "Download": 'f=$(cat stream-next); head -c 1000 "$f" >/dev/null'},
        files=[("file", bytes(3_000_000))],
    ),
    "reads all but the empty line": parts(
        _DOWNLOAD_FAILS, plan={**PLAIN, "Download": 'f=$(cat stream-next); cat "$f" >/dev/null'}
    ),
    "fails in the middle": parts(
        _DOWNLOAD_FAILS,
        plan={**PLAIN, "Download": 'f=$(cat stream-next); head -c 1000 "$f" >/dev/null; exit 1'},
        files=[("file", bytes(3_000_000))],
    ),
    "fails at the end": parts(_DOWNLOAD_FAILS, plan={**PLAIN, "Download": f"{STREAM}; exit 1"}),
    "is told the sizes": parts(
        HEALTHY.replace(" Download ", " DownloadWithFileSizes "),
        NEW,
        {
            **PLAIN,
            "ProvidePayloadFileSizes": "echo Yes",
            "DownloadWithFileSizes": """
[ "$(cat stream-next)" = "streams/file 7" ] || exit 1
cat streams/file >tmp/file
cat stream-next
""",
            "ArtifactInstall": '[ "$(cat tmp/file)" = content ] || exit 1',
        },
    ),
    "finds the tree": parts(
        HEALTHY,
        NEW,
        {
            **PLAIN,
            "Download": """
[ "$2" = "$PWD" ] && [ -p stream-next ] && [ -d tmp ] && [ -z "$(ls tmp)" ] || exit 1
[ "$(cat version current_artifact_name current_device_type)" = "3
release-1
testdev" ] || exit 1
[ ! -s current_artifact_group ] && [ ! -s header/artifact_group ] || exit 1
[ "$(cat header/artifact_name):$(cat header/payload_type)" = new:app ] || exit 1
[ "$(wc -c <header/artifact_name)" -eq 3 ] && [ -s header/header-info ] && [ -s header/type-info ] || exit 1
""",
            "ArtifactInstall": """
[ ! -e stream-next ] && [ ! -e streams ] && [ "$(cat files/file)" = content ] || exit 1
""",
        },
    ),
    "removes stream-next": parts(HEALTHY, NEW, {**PLAIN, "Download": "rm stream-next"}),
    "floods the log": parts(
        HEALTHY, NEW, {**PLAIN, "ArtifactInstall": "yes x | head -c 3000000; yes y | head -c 3000000 >&2"}
    ),
    "prints a long answer": parts(
        f"{until(HEALTHY, 'NeedsArtifactReboot')} {BACK}",
        INCONSISTENT,
        {**PLAIN, "NeedsArtifactReboot": "head -c 3000000 /dev/zero | tr '\\0' Y"},
    ),
    "leaves a child behind": parts(HEALTHY, NEW, {**PLAIN, "ArtifactInstall": "sleep 3600 &"}),
}

_LIMIT_S = 5
"""Enough for a call that doesn't hang, on a busy machine too: the limit holds for all of them."""
_LIMITS = {"ModuleTimeoutSeconds": _LIMIT_S, "StateScriptTimeoutSeconds": _LIMIT_S}
_IGNORES = "trap '' TERM; while :; do sleep 0.1; done"
SETTINGS = {
    "SpoolArtifact always": keys(HEALTHY, NEW, {"Download": STREAM}, SpoolArtifact="always"),
    "SpoolArtifact never": keys(HEALTHY, NEW, {"Download": STREAM}, SpoolArtifact="never"),
    "SpoolArtifact never, files": keys(HEALTHY, NEW, {}, SpoolArtifact="never"),
    "a module that takes too long": keys(
        _INSTALL_FAILS, OLD, {"ArtifactInstall": "sleep 3600"}, ModuleTimeoutSeconds=_LIMIT_S
    ),
    "a module that never opens": keys(
        _DOWNLOAD_FAILS, OLD, {"Download": "exec sleep 3600"}, ModuleTimeoutSeconds=_LIMIT_S, SpoolArtifact="never"
    ),
    "a module that stops reading": Row(
        way=_DOWNLOAD_FAILS,
        happening=Happening(
            plan={**PLAIN, "Download": 'f=$(cat stream-next); exec 3<"$f"; exec sleep 3600'},
            parts={"files": [("file", bytes(3_000_000))]},
            keys={"ModuleTimeoutSeconds": _LIMIT_S},
        ),
        name=OLD,
    ),
    "a script that takes too long": keys(
        f"{until(HEALTHY, 'ArtifactInstall_Enter')} ArtifactInstall_Error {BACK}",
        OLD,
        {"ArtifactInstall_Enter": "sleep 3600"},
        StateScriptTimeoutSeconds=_LIMIT_S,
    ),
    "a script that wants to wait": keys(
        HEALTHY.replace(" ArtifactInstall_Enter", " ArtifactInstall_Enter ArtifactInstall_Enter"),
        NEW,
        {"ArtifactInstall_Enter": "once && exit 21; true"},
    ),
    "a module that wants to wait": keys(_INSTALL_FAILS, OLD, {"ArtifactInstall": "exit 21"}),
}


@pytest.mark.parametrize("row", sampled({**ARTIFACTS, **DOWNLOADS, **SETTINGS}, 6))
def test_row(make_board: MakeBoard, row: Row) -> None:
    """For any Artifact, module and settings, the calls, statuses and the name are those of the contract."""
    board = make_board(row.happening)
    board.write("etc/mender/artifact_info", "artifact_name=release-1\nrootfs-image.version=1\n")
    check(board, row)


@pytest.mark.nightly
def test_module_that_ignores_term(make_board: MakeBoard) -> None:
    """A module that ignores SIGTERM is killed after a grace period."""
    check(make_board(Happening(plan={**PLAIN, "ArtifactInstall": _IGNORES}, keys=_LIMITS)), _row(_INSTALL_FAILS, OLD))


@pytest.mark.nightly
def test_script_that_never_wants(make_board: MakeBoard) -> None:
    """A script that returns "retry later" for too long has failed."""
    board = make_board(
        Happening(plan={**PLAIN, "ArtifactInstall_Enter": "exit 21"}, keys={"StateScriptRetryTimeoutSeconds": 2})
    )
    board.live()
    noted = [call for call, before in zip(board.noted, ["", *board.noted], strict=False) if call != before]
    assert f"{until(HEALTHY, 'ArtifactInstall_Enter')} ArtifactInstall_Error {BACK}".split() == noted
    assert board.noted.count("ArtifactInstall_Enter") in (2, 3)


@pytest.mark.parametrize(
    "call", ["ArtifactVerifyRollbackReboot", pytest.param("ArtifactFailure", marks=pytest.mark.nightly)]
)
def test_loop(make_board: MakeBoard, call: str) -> None:
    """A rollback reboot that never succeeds, and a device that dies in one call each time, come to an end."""
    code = FAIL if call == "ArtifactVerifyRollbackReboot" else "kill -9 $PPID"
    board = make_board(Happening(plan={**YES, "ArtifactInstall": FAIL, call: code}))
    deployment = board.live()
    assert 5 <= board.noted.count(call) <= 28
    assert "failure" == board.statuses(deployment)[-1]
    assert "Cleanup" not in board.noted
    assert (INCONSISTENT, []) == (board.provides["artifact_name"], board.left)


def _row(way: str, name: str) -> Row:
    return Row(way=way, happening=Happening(), name=name)


OLD_PROVIDES = {"artifact_name": "release-1", "artifact_group": "g", "app.version": "1", "app.x.y": "2", "y": "3"}
PROVIDES = {
    "neither": ({}, {"artifact_name": "new"}),
    "clears": ({"clears_artifact_provides": ["app.*"]}, {"artifact_name": "new", "artifact_group": "g", "y": "3"}),
    "provides": ({"artifact_provides": {"app.version": "4"}}, {"artifact_name": "new", "app.version": "4"}),
    "both": (
        {"artifact_provides": {"app.version": "4"}, "clears_artifact_provides": ["app.*.y", ""]},
        {"artifact_name": "new", "artifact_group": "g", "app.version": "4", "y": "3"},
    ),
    "clears a short key": (
        {"clears_artifact_provides": ["*.y"]},
        {"artifact_name": "new", "artifact_group": "g", "app.version": "1", "y": "3"},
    ),
    "clears in the middle": (
        {"clears_artifact_provides": ["a*.*y"]},
        {"artifact_name": "new", "artifact_group": "g", "app.version": "1", "y": "3"},
    ),
    "clears the group and the name": (
        {"clears_artifact_provides": ["artifact_group", "artifact_name"]},
        {"artifact_name": "new", "app.version": "1", "app.x.y": "2", "y": "3"},
    ),
    "names in the wrong place": (
        {"artifact_provides": {"artifact_name": "x", "a": "b"}, "clears_artifact_provides": []},
        {**OLD_PROVIDES, "artifact_name": "new", "a": "b"},
    ),
    "empty provides": ({"artifact_provides": {}}, {"artifact_name": "new"}),
}


@pytest.mark.parametrize("case", sampled(PROVIDES, 1))
def test_provides(make_board: MakeBoard, case: tuple[dict[str, Any], dict[str, str]]) -> None:
    """The provides after a success follow from the previous ones and the Artifact."""
    changes, expected = case
    board = make_board(Happening(plan=PLAIN, parts={"type_info": type_info(**changes)}))
    board.write("etc/mender/artifact_info", "".join(f"{key}={value}\n" for key, value in OLD_PROVIDES.items()))
    board.live()
    assert expected == board.provides


@pytest.mark.nightly
@pytest.mark.parametrize("call", ["ArtifactInstall", "ArtifactCommit_Leave"])
def test_provides_of_what_is_inconsistent(make_board: MakeBoard, call: str) -> None:
    """An update that can't be rolled back keeps the old provides, with the new name, its suffix and the new group."""
    group = {"artifact_provides": {"artifact_name": INCONSISTENT, "artifact_group": "h"}}
    new = type_info(artifact_provides={"app.version": "4"}, clears_artifact_provides=["app.*"])
    parts = {"info": described(**group), "type_info": new}
    board = make_board(Happening(plan={call: FAIL}, parts=parts, name=INCONSISTENT))
    board.write("etc/mender/artifact_info", "".join(f"{key}={value}\n" for key, value in OLD_PROVIDES.items()))
    board.live()
    assert {**OLD_PROVIDES, "artifact_name": INCONSISTENT, "artifact_group": "h"} == board.provides


def _sync(board: Board) -> None:
    for name in SYNC_SCRIPTS:
        board.program_at(f"etc/mender/scripts/{name}_00", name)


def test_scripts_around_a_poll(make_board: MakeBoard) -> None:
    """The scripts of Idle and Sync are run around the poll that returns the deployment, Idle is entered after it."""
    board = make_board(Happening(plan=PLAIN))
    _sync(board)
    board.live()
    noted = " ".join(board.noted)
    assert noted.startswith("Idle_Enter Idle_Leave Sync_Enter ")
    assert f"Sync_Leave {HEALTHY}" in noted
    assert "Sync_Error" not in noted.partition(f"Sync_Leave {HEALTHY}")[0]  # a later poll may be cut by the end


@pytest.mark.nightly
def test_sync_that_fails(make_board: MakeBoard) -> None:
    """If Sync_Enter fails there is no poll; if Sync_Leave fails the deployment is dropped and offered again."""
    plan = {**PLAIN, "Sync_Enter": "once && exit 1; true", "Sync_Leave": "once && exit 1; true"}
    board = make_board(Happening(plan=plan))
    _sync(board)
    board.live()
    noted = " ".join(board.noted)
    assert noted.startswith("Idle_Enter Idle_Leave Sync_Enter Sync_Error Idle_Enter Idle_Leave Sync_Enter ")
    assert "Sync_Leave Sync_Error Idle_Enter" in noted
    assert f"Sync_Leave {HEALTHY}" in noted
