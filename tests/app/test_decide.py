"""Decisions about updates, as given to the commands."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mender_client.app.decide import decide, parse_end, person
from mender_client.app.exitcodes import ExitCode
from mender_client.app.paths import Paths
from mender_client.client.decisions import UpdateDecisions
from mender_client.core.holding import Decision, DecisionKind
from mender_client.errors import StorageError
from mender_client.system.files import storage_errors
from mender_client.system.snapshot import peek_record

NOW = datetime(2026, 11, 28, 15, 30, tzinfo=timezone.utc)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone to that of Berlin."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("5min", 300), ("4h", 14400), ("4 h", 14400), ("2d", 172800), ("1w", 604800)]
)
def test_length(text: str, seconds: int) -> None:
    """A postponement may be given as a duration."""
    assert NOW + timedelta(seconds=seconds) == parse_end(text, NOW)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "text", "end"),
    [
        ("2026-11-28T16:30", "22:00", "2026-11-28T21:00+00:00"),
        ("2026-11-28T16:30", "7:05", "2026-11-29T06:05+00:00"),
        ("2026-11-28T16:30", "16:30", "2026-11-29T15:30+00:00"),
        ("2026-10-24T22:00", "07:00", "2026-10-25T06:00+00:00"),
        ("2026-03-28T22:00", "07:00", "2026-03-29T05:00+00:00"),
        ("2026-11-28T16:30", "2026-12-24T22:00", "2026-12-24T21:00+00:00"),
        ("2026-11-28T16:30", "2026-12-24T22:00+05:00", "2026-12-24T17:00+00:00"),
    ],
)
def test_time(now: str, text: str, end: str) -> None:
    """A time is in the device's time zone, even if the offset changes before it, unless it has an offset of its own."""
    assert datetime.fromisoformat(end) == parse_end(text, datetime.fromisoformat(now).astimezone())


@pytest.mark.parametrize(
    "text",
    ["", "soon", "4", "4y", "-4h", "٤h", "25:00", "0h", "367d", "2020-01-01T00:00+00:00", "999999999w", "0001-01-01"],
)
def test_no_end(text: str) -> None:
    """Anything but a duration or a time is refused, as is an end in the past or too far in the future."""
    with pytest.raises(ValueError, match="is n"):
        parse_end(text, NOW)


def test_who_decides() -> None:
    """The decision is attributed to the user who called sudo, or else to the user running the command."""
    assert "anna" == person({"SUDO_USER": "anna"})
    assert pwd.getpwuid(os.getuid()).pw_name == person({})


def test_decisions_of_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A decision about all updates needs no update; it is stored with its author and reason, and may be repeated."""
    paths = Paths.locate(root=str(tmp_path))
    for _ in range(2):
        assert ExitCode.DONE is decide(paths, lambda to: to.pause("anna", "the machine runs", is_all=True))
    found = peek_record(paths.journal)[0].decisions
    assert found is not None
    assert Decision(DecisionKind.PAUSE, "anna", found.hold.at if found.hold else "", "the machine runs") == found.hold
    for _ in range(2):
        assert ExitCode.DONE is decide(paths, lambda to: to.resume("anna", is_all=True))
    assert peek_record(paths.journal)[0].decisions is None
    assert capsys.readouterr().out.splitlines() == [
        "all updates: paused by anna: the machine runs",
        "all updates: paused by anna: the machine runs",
        "all updates: no longer on hold",
        "all updates: not on hold",
    ]


def test_no_right(tmp_path: Path) -> None:
    """If the state file may not be written, the message says who may do it."""
    paths = Paths.locate(root=str(tmp_path))

    def pause(_: UpdateDecisions) -> str:
        with storage_errors("open", paths.journal):
            raise PermissionError(13, "Permission denied")

    with pytest.raises(StorageError, match=r"cannot decide .*: Permission denied") as got:
        decide(paths, pause)
    assert "run this as root, or as the client's user" == got.value.remedy


def test_no_update(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If no update is in progress, a decision about it leads to exit code 2."""
    paths = Paths.locate(root=str(tmp_path))
    assert ExitCode.NOTHING is decide(paths, lambda to: to.refuse("anna"))
    assert "no update is in progress" in capsys.readouterr().err
