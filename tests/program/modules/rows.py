"""The paths of an update through the installer contract, one row for each possible event."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import pytest

from .board import CUT, FAIL, KILL, STOP, Board, Happening

DOWNLOAD = "[downloading] Download_Enter ProvidePayloadFileSizes Download Download_Leave"
INSTALL = "[installing] ArtifactInstall_Enter ArtifactInstall ArtifactInstall_Leave NeedsArtifactReboot"
REBOOT = "[rebooting] ArtifactReboot_Enter ArtifactReboot ArtifactVerifyReboot ArtifactReboot_Leave"
AUTO = REBOOT.replace("_Enter ArtifactReboot ", "_Enter reboot ")
COMMIT = "[installing] ArtifactCommit_Enter ArtifactCommit ArtifactCommit_Leave Cleanup [success]"
ROLLBACK = "SupportsRollback ArtifactRollback_Enter ArtifactRollback ArtifactRollback_Leave NeedsArtifactReboot"
REBOOT_BACK = (
    "ArtifactRollbackReboot_Enter ArtifactRollbackReboot ArtifactVerifyRollbackReboot ArtifactRollbackReboot_Leave"
)
AUTO_BACK = REBOOT_BACK.replace("_Enter ArtifactRollbackReboot ", "_Enter reboot ")
FAILURE = "ArtifactFailure_Enter ArtifactFailure ArtifactFailure_Leave Cleanup [failure]"

PLAIN = {"SupportsRollback": "echo Yes"}
YES = {**PLAIN, "NeedsArtifactReboot": "echo Yes"}
AUTOMATIC = {**PLAIN, "NeedsArtifactReboot": "echo Automatic", "reboot": CUT}

HEALTHY = f"{DOWNLOAD} {INSTALL} {COMMIT}"
HEALTHY_YES = f"{DOWNLOAD} {INSTALL} {REBOOT} {COMMIT}"
HEALTHY_AUTO = f"{DOWNLOAD} {INSTALL} {AUTO} {COMMIT}"
BACK = f"{ROLLBACK} {FAILURE}"
BACK_YES = f"{ROLLBACK} {REBOOT_BACK} {FAILURE}"
BACK_AUTO = f"{ROLLBACK} {AUTO_BACK} {FAILURE}"
NO_WAY_BACK = f"SupportsRollback {FAILURE}"

OLD = "release-1"
NEW = "new"
INCONSISTENT = "new_INCONSISTENT"


@dataclass(frozen=True, kw_only=True)
class Row:
    """The events, and the expected result.

    Attributes:
        way: calls, scripts and statuses, in their order.
        happening: what happens.
        name: the artifact_name in the end.
        lives: how many lives the daemon has.
    """

    way: str
    happening: Happening
    name: str
    lives: int = 1


def until(way: str, last: str, *, count: int = 1) -> str:
    """A path up to the given number of occurrences of something."""
    words = way.split()
    at = -1
    for _ in range(count):
        at = words.index(last, at + 1)
    return " ".join(words[: at + 1])


def since(way: str, first: str) -> str:
    """A path from something on."""
    words = way.split()
    return " ".join(words[words.index(first) :])


def row(way: str, name: str, plan: Mapping[str, str], *, lives: int = 1, refused: int | None = None) -> Row:
    """A row, in short form."""
    return Row(way=way, happening=Happening(plan=plan, refused=refused), name=name, lives=lives)


def _healthy() -> dict[str, Row]:
    return {
        "healthy": row(HEALTHY, NEW, PLAIN),
        "healthy, silent module": row(HEALTHY, NEW, {}),
        "healthy, Yes": row(HEALTHY_YES, NEW, YES),
        "healthy, Automatic": row(HEALTHY_AUTO, NEW, AUTOMATIC, lives=2),
        "healthy, with sizes": row(
            HEALTHY.replace(" Download ", " DownloadWithFileSizes "),
            NEW,
            {**PLAIN, "ProvidePayloadFileSizes": "echo Yes"},
        ),
        "healthy, answers without newline": row(
            HEALTHY_YES, NEW, {**YES, "NeedsArtifactReboot": "printf Y; printf es"}
        ),
    }


def _failing() -> dict[str, Row]:
    rows = {
        "Download_Enter fails": row(
            "[downloading] Download_Enter Download_Error [failure]", OLD, _fail(PLAIN, "Download_Enter")
        )
    }
    for call in ("ProvidePayloadFileSizes", "Download", "Download_Leave"):
        way = f"{until(DOWNLOAD, call)} Download_Error Cleanup [failure]"
        rows[f"{call} fails"] = row(way, OLD, _fail(PLAIN, call))
    for call in ("ArtifactInstall_Enter", "ArtifactInstall", "ArtifactInstall_Leave"):
        begun = f"{until(HEALTHY, call)} ArtifactInstall_Error"
        rows[f"{call} fails"] = row(f"{begun} {BACK}", OLD, _fail(PLAIN, call))
        rows[f"{call} fails, Yes"] = row(f"{begun} {BACK_YES}", OLD, _fail(YES, call))
        rows[f"{call} fails, Automatic"] = row(f"{begun} {BACK_AUTO}", OLD, _fail(AUTOMATIC, call), lives=2)
        rows[f"{call} fails, no rollback"] = row(f"{begun} {NO_WAY_BACK}", INCONSISTENT, {call: FAIL})
    for call in ("ArtifactReboot_Enter", "ArtifactReboot", "ArtifactVerifyReboot", "ArtifactReboot_Leave"):
        begun = f"{until(HEALTHY_YES, call)} ArtifactReboot_Error"
        rows[f"{call} fails"] = row(f"{begun} {BACK_YES}", OLD, _fail(YES, call))
        rows[f"{call} fails, no rollback"] = row(
            f"{begun} {NO_WAY_BACK}", INCONSISTENT, {"NeedsArtifactReboot": "echo Yes", call: FAIL}
        )
    for call in ("ArtifactVerifyReboot", "ArtifactReboot_Leave"):
        begun = f"{until(HEALTHY_AUTO, call)} ArtifactReboot_Error"
        rows[f"{call} fails, Automatic"] = row(f"{begun} {BACK_AUTO}", OLD, _fail(AUTOMATIC, call), lives=3)
    for call in ("ArtifactCommit_Enter", "ArtifactCommit"):
        rows[f"{call} fails"] = row(f"{until(HEALTHY, call)} ArtifactCommit_Error {BACK}", OLD, _fail(PLAIN, call))
        begun = f"{until(HEALTHY_YES, call)} ArtifactCommit_Error"
        rows[f"{call} fails, Yes"] = row(f"{begun} {BACK_YES}", OLD, _fail(YES, call))
        rows[f"{call} fails, no rollback"] = row(
            f"{until(HEALTHY, call)} ArtifactCommit_Error {NO_WAY_BACK}", INCONSISTENT, {call: FAIL}
        )
    too_late = f"{until(HEALTHY, 'ArtifactCommit_Leave')} ArtifactCommit_Error Cleanup [failure]"
    rows["ArtifactCommit_Leave fails"] = row(too_late, INCONSISTENT, _fail(PLAIN, "ArtifactCommit_Leave"))
    rows["Cleanup fails"] = row(HEALTHY.replace("success", "failure"), NEW, _fail(PLAIN, "Cleanup"))
    return rows


def _broken_rollbacks() -> dict[str, Row]:
    begun = f"{until(HEALTHY, 'ArtifactInstall')} ArtifactInstall_Error"
    plain, yes = _fail(PLAIN, "ArtifactInstall"), _fail(YES, "ArtifactInstall")
    rows = {
        "SupportsRollback fails": row(f"{begun} {NO_WAY_BACK}", INCONSISTENT, _fail(plain, "SupportsRollback")),
        "SupportsRollback says maybe": row(
            f"{begun} {NO_WAY_BACK}", INCONSISTENT, {**plain, "SupportsRollback": "echo maybe"}
        ),
        "SupportsRollback says two lines": row(
            f"{begun} {NO_WAY_BACK}", INCONSISTENT, {**plain, "SupportsRollback": "echo Yes; echo Yes"}
        ),
        "ArtifactRollback fails": row(
            f"{begun} {until(ROLLBACK, 'ArtifactRollback_Leave')} {FAILURE}",
            INCONSISTENT,
            _fail(yes, "ArtifactRollback"),
        ),
        "the second NeedsArtifactReboot fails": row(
            f"{begun} {ROLLBACK} {FAILURE}", INCONSISTENT, _fail(plain, "NeedsArtifactReboot")
        ),
        "the second NeedsArtifactReboot says maybe": row(
            f"{begun} {ROLLBACK} {FAILURE}", INCONSISTENT, {**plain, "NeedsArtifactReboot": "echo maybe"}
        ),
        "the first NeedsArtifactReboot fails": row(
            f"{until(HEALTHY, 'NeedsArtifactReboot')} {BACK}",
            OLD,
            {**PLAIN, "NeedsArtifactReboot": "once && exit 1; echo No"},
        ),
        "the first NeedsArtifactReboot says two lines": row(
            f"{until(HEALTHY, 'NeedsArtifactReboot')} {BACK}",
            OLD,
            {**PLAIN, "NeedsArtifactReboot": "once && { echo Yes; echo No; }; true"},
        ),
        "ArtifactRollbackReboot fails": row(f"{begun} {BACK_YES}", OLD, _fail(yes, "ArtifactRollbackReboot")),
        "ArtifactVerifyRollbackReboot fails once": row(
            f"{begun} {ROLLBACK} {until(REBOOT_BACK, 'ArtifactVerifyRollbackReboot')} "
            f"{since(REBOOT_BACK, 'ArtifactRollbackReboot')} {FAILURE}",
            OLD,
            {**yes, "ArtifactVerifyRollbackReboot": "once && exit 1; true"},
        ),
        "ArtifactRollbackReboot_Leave fails": row(
            f"{begun} {ROLLBACK} {REBOOT_BACK} ArtifactRollbackReboot_Error {FAILURE}",
            INCONSISTENT,
            _fail(yes, "ArtifactRollbackReboot_Leave"),
        ),
        "Cleanup fails after a rollback": row(f"{begun} {BACK}", OLD, _fail(plain, "Cleanup")),
        "Cleanup fails without a rollback": row(
            f"{begun} {NO_WAY_BACK}", INCONSISTENT, {"ArtifactInstall": FAIL, "Cleanup": FAIL}
        ),
    }
    for call in (
        "ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactRollbackReboot_Enter",
        "ArtifactFailure_Enter", "ArtifactFailure", "ArtifactFailure_Leave",
    ):  # fmt: skip
        rows[f"{call} fails"] = row(f"{begun} {BACK_YES}", INCONSISTENT, _fail(yes, call))
    for call in ("ArtifactInstall_Error", "ArtifactReboot_Error", "ArtifactCommit_Error", "Download_Error"):
        failing, way = {
            "ArtifactInstall_Error": ("ArtifactInstall", f"{begun} {BACK}"),
            "ArtifactReboot_Error": (
                "ArtifactVerifyReboot",
                f"{until(HEALTHY_YES, 'ArtifactVerifyReboot')} ArtifactReboot_Error {BACK_YES}",
            ),
            "ArtifactCommit_Error": (
                "ArtifactCommit",
                f"{until(HEALTHY, 'ArtifactCommit')} ArtifactCommit_Error {BACK}",
            ),
            "Download_Error": ("Download", f"{until(DOWNLOAD, 'Download')} Download_Error Cleanup [failure]"),
        }[call]
        plan = YES if call == "ArtifactReboot_Error" else PLAIN
        rows[f"{call} fails"] = row(way, OLD, {**plan, failing: FAIL, call: FAIL})
    return rows


def _aborted() -> dict[str, Row]:
    return {
        "409 to downloading": row("[409] [failure]", OLD, PLAIN, refused=0),
        "409 to installing": row(f"{DOWNLOAD} [409] Cleanup [failure]", OLD, PLAIN, refused=1),
        "409 to rebooting": row(f"{DOWNLOAD} {INSTALL} [409] {BACK_YES}", OLD, YES, refused=2),
        "409 to rebooting, Automatic": row(
            f"{DOWNLOAD} {INSTALL} [409] {BACK_AUTO}", OLD, AUTOMATIC, refused=2, lives=2
        ),
        "409 before the commit": row(f"{DOWNLOAD} {INSTALL} [409] {BACK}", OLD, PLAIN, refused=2),
        "409 before the commit, Yes": row(f"{DOWNLOAD} {INSTALL} {REBOOT} [409] {BACK_YES}", OLD, YES, refused=3),
        "409 before the commit, no rollback": row(
            f"{DOWNLOAD} {INSTALL} [409] {NO_WAY_BACK}", INCONSISTENT, {}, refused=2
        ),
        "409 to success": row(HEALTHY.replace("[success]", "[409]"), NEW, PLAIN, refused=3),
        "409 to failure": row(
            f"{until(HEALTHY, 'ArtifactInstall')} ArtifactInstall_Error {BACK}".replace("[failure]", "[409]"),
            OLD,
            _fail(PLAIN, "ArtifactInstall"),
            refused=2,
        ),
    }


def _killed(code: str) -> dict[str, Row]:
    """A kill by each call itself, once: the actions of the next life."""
    yes = HEALTHY_YES
    again = f"[downloading] {since(HEALTHY_YES, 'Download_Enter')}"
    rows = {
        "Download_Enter": row(f"{until(yes, 'Download_Enter')} {again}", NEW, YES, lives=2),
        "Cleanup": row(f"{until(yes, 'Cleanup')} Cleanup [success]", NEW, YES, lives=2),
        "ArtifactCommit_Leave": row(
            f"{until(yes, 'ArtifactCommit_Leave')} {since(yes, 'ArtifactCommit_Leave')}", NEW, YES, lives=2
        ),
    }
    anew = again.replace("[downloading]", "[downloading] Cleanup")
    for call in ("ProvidePayloadFileSizes", "Download", "Download_Leave"):
        rows[call] = row(f"{until(yes, call)} {anew}", NEW, YES, lives=2)
    for call in (
        "ArtifactInstall_Enter", "ArtifactInstall", "ArtifactInstall_Leave", "NeedsArtifactReboot",
        "ArtifactVerifyReboot", "ArtifactReboot_Leave", "ArtifactCommit_Enter", "ArtifactCommit",
    ):  # fmt: skip
        rows[call] = row(f"{until(yes, call)} {BACK_YES}", OLD, YES, lives=2)
    for call in ("ArtifactReboot_Enter", "ArtifactReboot"):
        rows[call] = row(f"{until(yes, call)} {since(yes, 'ArtifactVerifyReboot')}", NEW, YES, lives=2)
    begun = f"{until(yes, 'ArtifactInstall')} ArtifactInstall_Error"
    failing = _fail(YES, "ArtifactInstall")
    back = f"{begun} {BACK_YES}"
    resumed = {
        "ArtifactInstall_Error": BACK_YES,
        "SupportsRollback": BACK_YES,
        "ArtifactRollback_Enter": since(BACK_YES, "ArtifactRollback_Enter"),
        "ArtifactRollback": since(BACK_YES, "ArtifactRollback_Enter"),
        "ArtifactRollback_Leave": since(BACK_YES, "ArtifactRollback_Enter"),
        "ArtifactRollbackReboot_Enter": since(BACK_YES, "ArtifactVerifyRollbackReboot"),
        "ArtifactRollbackReboot": since(BACK_YES, "ArtifactVerifyRollbackReboot"),
        "ArtifactVerifyRollbackReboot": since(BACK_YES, "ArtifactVerifyRollbackReboot"),
        "ArtifactRollbackReboot_Leave": since(BACK_YES, "ArtifactVerifyRollbackReboot"),
        "ArtifactFailure_Enter": FAILURE,
        "ArtifactFailure": FAILURE,
        "ArtifactFailure_Leave": FAILURE,
    }
    for call, after in resumed.items():
        rows[call] = row(f"{until(back, call)} {after}", OLD, failing, lives=2)
    rows["Cleanup after a failure"] = row(f"{until(back, 'Cleanup')} Cleanup [failure]", OLD, failing, lives=2)
    inconsistent = f"{begun} {NO_WAY_BACK}"
    for call in ("ArtifactFailure", "Cleanup"):
        after = FAILURE if call == "ArtifactFailure" else "Cleanup [failure]"
        rows[f"{call} without a rollback"] = row(
            f"{until(inconsistent, call)} {after}", INCONSISTENT, {"ArtifactInstall": FAIL}, lives=2
        )
    return {f"{name}": _with(one, name.split()[0], code) for name, one in rows.items()}


def _with(one: Row, call: str, code: str) -> Row:
    plan = one.happening.plan
    own = f"{code}\n{plan.get(call, '')}"
    return row(one.way, one.name, {**plan, call: own}, lives=one.lives)


def _fail(plan: Mapping[str, str], call: str) -> dict[str, str]:
    return {**plan, call: FAIL}


ROWS = {**_healthy(), **_failing(), **_broken_rollbacks(), **_aborted()}
KILLED = _killed(KILL)
STOPPED = _killed(STOP)


_Case = TypeVar("_Case")
_SEED = 13


def sampled(cases: Mapping[str, _Case], count: int) -> list[object]:
    """All cases as parameters; all but a sample are for the nightly run."""
    chosen = random.Random(_SEED).sample(sorted(cases), count)
    return [
        pytest.param(case, id=name, marks=[] if name in chosen else pytest.mark.nightly) for name, case in cases.items()
    ]


def check(board: Board, row: Row) -> None:
    """Carry out a deployment, and compare it with its row."""
    deployment = board.live()
    noted = " ".join(board.noted)
    if row.way.endswith(" [409]"):  # the server offers it again, and gets the outcome again
        noted = until(noted, "[409]")
    assert row.way == noted, board.said
    assert (row.name, []) == (board.provides["artifact_name"], board.left)
    assert row.lives == len(board.codes), board.codes
    assert board.codes[-1] == 0
    if "[failure]" in noted:
        assert board.server.log(deployment, board.id)
