"""``status``: what the client is doing and why."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mender_client.app.paths import Paths
from mender_client.app.status import look, render
from mender_client.core.machine import Event, State
from mender_client.core.model import Deployment, Link, Provides, Status
from mender_client.core.record import Outcome, Record
from mender_client.core.wire import NextForm
from mender_client.system.files import DaemonLock, LockFile
from mender_client.system.journal import JsonJournal

DEPLOYMENT = Deployment("dep-1", "release-2", ("board",), Link("https://storage.example/a?secret"))
SINCE = "2026-11-23T10:00:00+00:00"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A data folder of its own."""
    found = Paths.locate(root=str(tmp_path))
    found.data.mkdir(parents=True)
    return found


def begun(paths: Paths, *events: Event) -> None:
    """Note an update that these events have happened to."""

    def change(record: Record) -> Record:
        record = record.begun(DEPLOYMENT, Provides("board", "release-1"), NextForm.V1_POST, now=SINCE)
        for event in events:
            record = record.moved("dep-1", event, now=SINCE)
        return record

    JsonJournal(paths.journal).update(change)


def text(paths: Paths) -> str:
    """What a person reads."""
    return "\n".join(render(look(paths)))


def test_nothing_has_happened(paths: Paths) -> None:
    """On a new device status says that the daemon does not run."""
    assert "nothing: the daemon does not run" in text(paths)


def test_idle_daemon(paths: Paths) -> None:
    """Beside an idle daemon status names its pid and what comes next."""
    lock = DaemonLock(paths.daemon_lock)
    lock.acquire()
    try:
        program = [sys.executable, "-m", "mender_client", "--root", str(paths.root), "status", "--json"]
        status = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    finally:
        lock.release()
    assert isinstance(status["daemon_pid"], int)
    assert status["activity"] == "waiting for the next poll"


def test_download_of_a_dead_daemon(paths: Paths) -> None:
    """After the daemon has died, status says what was under way, since when, and what it takes to go on."""
    begun(paths)
    assert f"being fetched and proven; goes on when the daemon runs, since {SINCE}" in text(paths)
    assert "release-2 (deployment dep-1), downloading" in text(paths)


def test_dead_sub_updater(paths: Paths) -> None:
    """A lock without a living sub-updater is called by its name, with the time since when."""
    begun(paths, Event.FETCHED, Event.WANTED, Event.HANDED)
    LockFile(paths.update_lock).write("dep-1")
    status = look(paths)
    assert status.sub_updater_pid is None
    assert status.since == SINCE
    assert "no process of it is to be seen: between two boots, or dead" in status.activity


def test_sub_updater_at_work(paths: Paths) -> None:
    """A sub-updater at work is found by its environment, also when its pid was never noted."""
    begun(paths, Event.FETCHED, Event.WANTED)
    LockFile(paths.update_lock).write("dep-1")
    with subprocess.Popen(["sleep", "60"], env={"PATH": "/bin:/usr/bin", "MENDER_DEPLOYMENT_ID": "dep-1"}) as process:
        try:
            assert process.pid == look(paths).sub_updater_pid
        finally:
            process.kill()


def test_kept_report(paths: Paths) -> None:
    """A report that the server has not heard yet is counted, and the outcome is shown."""
    begun(paths, Event.FETCHED, Event.WANTED, Event.HANDED)
    LockFile(paths.update_lock).write("dep-1")
    JsonJournal(paths.journal).update(lambda record: record.concluded("dep-1", Event.SUCCESS, now=SINCE))
    assert "the sub-updater has reported; the server must hear it and the lock must go" in text(paths)
    assert "1 message(s)" in text(paths)
    assert f"success of release-2 (deployment dep-1) at {SINCE}" in text(paths)


def test_damaged_journal(paths: Paths) -> None:
    """A journal that can't be used is left alone and told of; one that was set aside by the client is named."""
    paths.journal.write_text("{")
    assert "can't be used" in text(paths)
    assert paths.journal.exists()
    JsonJournal(paths.journal).load()
    assert ["journal.json.damaged"] == [Path(name).name[:20] for name in look(paths).damaged_journals]


def test_lock_without_an_id(paths: Paths) -> None:
    """A lock file that holds something else is still a lock, and status says so."""
    paths.update_lock.write_text("../../etc\n")
    assert "holds no deployment id" in text(paths)


def test_states_have_explanations(paths: Paths) -> None:
    """Every state in which an update can be is explained."""
    from mender_client.app.status import _EXPLANATIONS
    from mender_client.core.machine import ENDS

    assert set(State) - ENDS == set(_EXPLANATIONS)


def test_odd_names_in_the_journal(paths: Paths) -> None:
    """What stands in the journal can't steer the terminal of whoever asks for the status."""
    outcome = Outcome("d1", Status.SUCCESS, "now\x1b[2J", "release\u202e\n2")
    JsonJournal(paths.journal).update(lambda record: replace(record, outcomes=(outcome,)))
    assert "last outcome   success of release??2 (deployment d1) at now?[2J" in render(look(paths))
