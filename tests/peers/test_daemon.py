"""The daemon of Debian's client compared with ours, with our dev server: calls, lives, last status, and name.

``tests/program/modules`` compares ours with the rows of the contract. Debian's is compared with the same rows here.
Intermediate statuses, and the rows about 409, are ignored: Debian's client reports each script as a part of its state.
So is the position of queries: it asks SupportsRollback in the download, and NeedsArtifactReboot before ``_Leave``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mender_devserver import DevServer
from program.modules.rows import KILLED, OLD, ROWS, Row
from program.modules.test_more_rows import SETTINGS

from .debian import DebianBoard, needed

pytestmark = needed

_EARLY = "it asks SupportsRollback in the download, and keeps the answer"
_NO_SIZES = "ProvidePayloadFileSizes came after 3.4"
_LATE = "it asks NeedsArtifactReboot before ArtifactInstall_Leave, which then isn't run"
_LOST = "a restart in the download ends the deployment; ours begins the download again"
APART = {
    "healthy, with sizes": _NO_SIZES,
    "ProvidePayloadFileSizes": _NO_SIZES,
    "ProvidePayloadFileSizes fails": _NO_SIZES,
    "Download_Enter fails": "it tries again without end, and reports nothing",
    "Download": _LOST,
    "Download_Leave": _LOST,
    "SupportsRollback": _LOST,
    "SupportsRollback fails": _EARLY,
    "SupportsRollback says maybe": _EARLY,
    "SupportsRollback says two lines": _EARLY,
    "the first NeedsArtifactReboot fails": _LATE,
    "the first NeedsArtifactReboot says two lines": _LATE,
    "NeedsArtifactReboot": _LATE,
    "ArtifactReboot fails, no rollback": "after ArtifactReboot it rolls back even what can't be",
    "a module that stops reading": "it stops the module, and then may wait without end for the stream to be read",
    "ArtifactVerifyRollbackReboot fails once": "it runs the scripts again, too",
    "ArtifactRollbackReboot_Leave fails": "it runs no ArtifactRollbackReboot_Error",
    "Cleanup": "it reports a failure when power is lost in the Cleanup of a success",
}
"""Rows in which the clients differ, with the reason."""

CONSISTENT = {
    f"{what} fails": "only a failed ArtifactRollback is an inconsistency to it"
    for what in (
        "the second NeedsArtifactReboot", "ArtifactRollback_Enter", "ArtifactRollback_Leave", "ArtifactFailure",
        "ArtifactRollbackReboot_Enter", "ArtifactFailure_Enter", "ArtifactFailure_Leave",
    )
}  # fmt: skip
CONSISTENT["the second NeedsArtifactReboot says maybe"] = "the same"
"""Rows after which Debian's client has the old name, and ours the new one with _INCONSISTENT."""

_QUICK = "ArtifactCommit fails"
_QUERIES = ("ProvidePayloadFileSizes", "SupportsRollback", "NeedsArtifactReboot")


def _compared() -> list[object]:
    rows = {name: row for name, row in {**ROWS, **SETTINGS}.items() if name not in APART and not name.startswith("409")}
    killed = {f"killed in {name}": row for name, row in KILLED.items() if name not in APART}
    return [
        pytest.param(name, row, id=name, marks=[] if name == _QUICK else pytest.mark.nightly)
        for name, row in {**rows, **killed}.items()
    ]


def _calls(words: list[str]) -> list[str]:
    return [word for word in words if word not in _QUERIES and not word.startswith("[")]


@pytest.mark.parametrize(("name", "row"), _compared())
def test_row(tmp_path: Path, name: str, row: Row) -> None:
    """Debian's client follows the contract, except for the listed differences."""
    with DevServer(tmp_path / "server", tls=False) as server:
        board = DebianBoard(tmp_path / "device", server, row.happening)
        try:
            board.live()
        finally:
            board.close()
        words = row.way.split()
        assert (_calls(words), words[-1]) == (_calls(board.noted), board.noted[-1]), board.said
        assert (OLD if name in CONSISTENT else row.name) == board.artifact_name
        assert row.lives == len(board.codes)
