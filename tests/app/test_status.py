"""``status`` shows what the client is doing and why, and ``history`` what it has done."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

import forking
from mender_client import __version__
from mender_client.app.command import command_of
from mender_client.app.exitcodes import ExitCode
from mender_client.app.formatting import utc
from mender_client.app.history import show_history
from mender_client.app.paths import Paths
from mender_client.app.show_status import follow_status, render
from mender_client.app.status import as_document, look
from mender_client.commandline import Options
from mender_client.core.client_status import (
    STOPPED,
    WAITING,
    Authorisation,
    ClientStatus,
    Download,
)
from mender_client.core.deciding import decided
from mender_client.core.gates import GatePoint
from mender_client.core.holding import Decision, DecisionKind, Waiting
from mender_client.core.machine import EXPLANATIONS, Event, State
from mender_client.core.model import Deployment, Link, NextForm, Provides, Status
from mender_client.core.record import Outcome, Record
from mender_client.errors import ErrorKind, NetworkError
from mender_client.system.journal import JsonJournal
from mender_client.system.locks import DaemonLock, LockFile
from mender_client.system.statusfile import StatusFile

DEPLOYMENT = Deployment("dep-1", "release-2", ("board",), Link("https://storage.example/a?secret"))
NOW = datetime(2026, 11, 23, 12, 1, tzinfo=timezone.utc)
SINCE = "2026-11-23T10:00:00+00:00"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The paths of a device with an empty data directory."""
    found = Paths.locate(root=str(tmp_path))
    found.data.mkdir(parents=True)
    return found


def begun(paths: Paths, *events: Event) -> None:
    """Record an update and the given events."""

    def change(record: Record) -> Record:
        record = record.begun(DEPLOYMENT, Provides("board", "release-1"), NextForm.V1_POST, now=SINCE)
        for event in events:
            record = record.moved("dep-1", event, now=SINCE)
        return record

    JsonJournal(paths.journal).update(change)


def text(paths: Paths) -> str:
    """Return the text output."""
    return "\n".join(render(look(paths), now=NOW))


def test_nothing_has_happened(paths: Paths) -> None:
    """On a new device, status shows that the daemon isn't running."""
    assert "nothing: the daemon is not running" in text(paths)


def test_idle_daemon(paths: Paths) -> None:
    """With an idle daemon, status shows its PID and that it is waiting for the next poll."""
    lock = DaemonLock(paths.daemon_lock)
    lock.acquire()
    try:
        program = [str(forking.python()), "-m", "mender_client", "--root", str(paths.root), "status", "--json"]
        status = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    finally:
        lock.release()
    assert isinstance(status["daemon_pid"], int)
    assert status["activity"] == "waiting for the next poll"


def test_download_of_a_dead_daemon(paths: Paths) -> None:
    """After the daemon has died, status shows what was in progress, since when, and when it continues."""
    begun(paths)
    assert f"being downloaded and verified; continues once the daemon is running, since {utc(SINCE)}" in text(paths)
    assert "release-2 (deployment dep-1), downloading" in text(paths)


def test_dead_sub_updater(paths: Paths) -> None:
    """An update lock without a running sub-updater is reported, with the time of the last change of state."""
    begun(paths, Event.FETCHED, Event.CONFIRMED, Event.STARTED)
    LockFile(paths.update_lock).write("dep-1")
    status = look(paths)
    assert status.sub_updater_pid is None
    assert status.since == SINCE
    assert "no sub-updater is running; it may be between two boots" in status.activity


def test_sub_updater_that_outlives_its_deployment(paths: Paths) -> None:
    """A sub-updater that is still running after its deployment has failed is reported."""
    JsonJournal(paths.journal).update(lambda record: record.concluded("dep-1", Event.FAILURE, now=SINCE))
    with subprocess.Popen(["sleep", "60"], env={"PATH": "/bin:/usr/bin", "MENDER_DEPLOYMENT_ID": "dep-1"}) as process:
        assert f"still running (pid {process.pid}), although its deployment is over" in text(paths)
        process.kill()


def test_sub_updater_at_work(paths: Paths) -> None:
    """A running sub-updater is found by its environment, even if its PID was never recorded."""
    begun(paths, Event.FETCHED, Event.CONFIRMED)
    LockFile(paths.update_lock).write("dep-1")
    with subprocess.Popen(["sleep", "60"], env={"PATH": "/bin:/usr/bin", "MENDER_DEPLOYMENT_ID": "dep-1"}) as process:
        try:
            assert process.pid == look(paths).sub_updater_pid
        finally:
            process.kill()


def test_kept_report(paths: Paths) -> None:
    """Pending reports are counted, and the outcome is shown."""
    begun(paths, Event.FETCHED, Event.CONFIRMED, Event.STARTED)
    LockFile(paths.update_lock).write("dep-1")
    JsonJournal(paths.journal).update(lambda record: record.concluded("dep-1", Event.SUCCESS, now=SINCE))
    assert "the sub-updater has reported; its report must reach the server and the lock must be removed" in text(paths)
    assert "1 report that the server" in text(paths)
    assert f"success of release-2 (deployment dep-1) at {utc(SINCE)}" in text(paths)


def test_damaged_journal(paths: Paths) -> None:
    """A damaged state file is reported and left alone; one that the client has set aside is named."""
    paths.journal.write_text('{"')
    assert "cannot be used: it is not valid JSON: line 1, column 2: unterminated string starting at;" in text(paths)
    assert paths.journal.exists()
    JsonJournal(paths.journal).load()
    assert ["journal.json.damaged"] == [Path(name).name[:20] for name in look(paths).damaged_journals]


def test_why_the_last_deployment_failed(paths: Paths) -> None:
    """The last outcome is shown with the reason of a failure, also for programs."""
    JsonJournal(paths.journal).update(
        lambda record: record.concluded("dep-1", Event.FAILURE, now=SINCE, reason="the disk is full")
    )
    assert f"failure of dep-1 at {utc(SINCE)}: the disk is full" in text(paths)
    assert "the disk is full" == as_document(look(paths))["last_outcome"]["reason"]


def test_configuration_with_errors(paths: Paths) -> None:
    """The first error of the configuration, with which the daemon does not start, is shown with its remedy."""
    assert "\nconfiguration" not in text(paths)
    paths.config.parent.mkdir(parents=True)
    paths.config.write_text("{,}")
    assert f"configuration  {paths.config}: is not valid JSON: line 1, column 2" in text(paths)
    assert f"python3 -m json.tool {paths.config}" in text(paths)
    paths.config.write_text('{"UpdatePollIntervalSeconds": 0}')
    assert "must be at least 1 [CFG12]; and 1 more, see 'mender-python-client config check'" in text(paths)
    assert 2 == len(as_document(look(paths))["configuration_problems"])
    paths.config.write_text('{"ServerURL": "https://a"}')
    paths.config.chmod(0o666)
    assert "configuration  " in text(paths)
    assert "another user could have written it" in text(paths)


def test_lock_without_an_id(paths: Paths) -> None:
    """A lock file with invalid content still counts as a lock, and is reported."""
    paths.update_lock.write_text("../../etc\n")
    assert "names no deployment" in text(paths)


def test_states_have_explanations(paths: Paths) -> None:
    """Every state of an update has an explanation."""
    assert set(State) == set(EXPLANATIONS)


def test_odd_names_in_the_journal(paths: Paths) -> None:
    """Control characters in the state file are replaced."""
    outcome = Outcome("d1", Status.SUCCESS, "now\x1b[2J", "release\u202e\n2")
    JsonJournal(paths.journal).update(lambda record: replace(record, outcomes=(outcome,)))
    assert "last outcome   success of release??2 (deployment d1) at now?[2J" in text(paths).splitlines()


# -- the status file ------------------------------------------------------------------------------------------


AT = "2026-11-23T12:00:00+00:00"
SITUATION = ClientStatus().begun(AT, version="1.0.0", python="3.11.2").contacted("https://mender.example.com", AT)


def leave(paths: Paths, client_status: ClientStatus) -> None:
    """Write the status file of a daemon."""
    StatusFile(paths.status).noticed(client_status)


@contextmanager
def running(paths: Paths) -> Iterator[None]:
    """Hold the daemon's lock."""
    lock = DaemonLock(paths.daemon_lock)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def test_what_comes_next(paths: Paths) -> None:
    """With a waiting daemon, status shows the next poll and inventory, the last answer and the authorisation."""
    later = "2026-11-23T12:30:00+00:00"
    waiting = SITUATION.judged(Authorisation.ACCEPTED, AT).does(WAITING, AT)
    leave(paths, waiting.planned(next_poll=later, next_inventory=later))
    with running(paths):
        said = text(paths)
    assert f"activity       waiting for the next poll, since {utc(AT)} (60 s ago)" in said
    assert f"next           poll at {utc(later)} (in 29 min), inventory at {utc(later)} (in 29 min)" in said
    assert f"server         https://mender.example.com, last answer at {utc(AT)} (60 s ago)" in said
    assert f"authorisation  accepted, since {utc(AT)}" in said
    assert "last failure" not in said


def test_overdue(paths: Paths) -> None:
    """A time that has passed is shown as now, since the status file may be a minute old."""
    leave(paths, SITUATION.does(WAITING, AT).planned(next_poll=AT, next_inventory="2026-11-23T12:30:00+00:00"))
    with running(paths):
        assert "next           poll now, inventory at 2026-11-23T12:30:00Z (in 29 min)" in text(paths)


def test_installed(paths: Paths) -> None:
    """The installed Artifact and the device type are shown, or that they are unknown."""
    assert "installed      unknown Artifact, device type unknown" in text(paths)
    write(paths.config, json.dumps({"DeviceTypeFile": "/etc/type"}))
    write(paths.artifact_info, "artifact_name=release-1\n")
    write(paths.below_root("/etc/type"), "device_type=board\n")
    assert "installed      release-1, device type board" in text(paths)


def test_document(paths: Paths) -> None:
    """The JSON has a schema number, null for unknown values, no empty strings, and all times as UTC in one format."""
    begun(paths)
    leave(paths, SITUATION.judged(Authorisation.ACCEPTED, AT).does(WAITING, AT))
    document = as_document(look(paths))
    assert [(), (), (1, None, None, None, False)] == [
        tuple(places(document, "")),
        tuple(place for place in places(document, "+00:00")),
        tuple(document[key] for key in ("schema", "artifact_name", "device_type", "lock", "is_locked")),
    ]
    assert utc(SINCE) == document["update"]["since"]
    assert (utc(AT), None) == (document["client"]["since"], document["client"]["next_poll"])


def places(value: object, ending: str) -> Iterator[str]:
    """Yield the strings in a document that have the given ending; if it is empty, yield the empty strings."""
    if isinstance(value, dict):
        for one in value.values():
            yield from places(one, ending)
    elif isinstance(value, str) and (value.endswith(ending) if ending else not value):
        yield value


def write(file: Path, content: str) -> None:
    """Write a file of the device."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def test_trouble(paths: Paths) -> None:
    """During a failure, status shows what has failed, how often and since when, and that the client will retry."""
    failing = SITUATION.failed("poll", NetworkError("cannot reach it", kind=ErrorKind.REFUSED), SINCE, in_a_row=1)
    leave(
        paths,
        failing.failed("poll", NetworkError("cannot reach it", kind=ErrorKind.REFUSED), AT, in_a_row=2).does(
            WAITING, AT
        ),
    )
    with running(paths):
        said = text(paths)
    assert "waiting to try again; poll failed 2 times in a row: cannot reach it, since" in said
    often = f"2 times in a row (refused) since {utc(SINCE)}, last at {utc(AT)} (60 s ago)"
    assert f"last failure   poll failed {often}: cannot reach it" in said


@pytest.mark.parametrize(
    ("job", "in_a_row", "end"), [("poll", 1, ""), ("poll", 0, ", but succeeded later"), ("update", 0, "")]
)
def test_single_failure(paths: Paths, job: str, in_a_row: int, end: str) -> None:
    """A failure is shown with its kind and time and, unless it is that of an update, with a later success."""
    error = NetworkError("cannot reach it", kind=ErrorKind.REFUSED)
    leave(paths, SITUATION.failed(job, error, AT, in_a_row=in_a_row).does(WAITING, AT))
    assert f"last failure   {job} failed (refused) at {utc(AT)} (60 s ago){end}: cannot reach it" in text(paths)


def test_waiting_for_acceptance(paths: Paths) -> None:
    """A device that isn't accepted shows that it is pending, and on which server."""
    leave(paths, SITUATION.judged(Authorisation.WAITING, AT).does(WAITING, AT))
    with running(paths):
        said = text(paths)
    assert "pending acceptance on https://mender.example.com" in said
    assert "authorisation  pending acceptance, or rejected" in said


def test_dead_daemon(paths: Paths) -> None:
    """A daemon that ended unexpectedly is reported as such, and the last known situation is still shown."""
    leave(paths, SITUATION.does(WAITING, AT))
    status = look(paths)
    assert status.has_died
    assert "not running; it was killed, crashed or lost power after 20" in text(paths)
    assert "server         https://mender.example.com" in text(paths)


@pytest.mark.parametrize(
    ("doing", "words"),
    [(STOPPED, "stopped"), ("installing", "started the sub-updater")],
    ids=["stopped", "handed over"],
)
def test_daemon_that_ended(paths: Paths, doing: str, words: str) -> None:
    """A daemon that exited normally isn't reported as dead."""
    leave(paths, SITUATION.does(doing, AT))
    assert not look(paths).has_died
    assert f"not running; it {words} at {utc(AT)} (60 s ago)" in text(paths)


def test_download(paths: Paths) -> None:
    """A download is shown with its size so far, its rate and the resumed share."""
    begun(paths)
    downloading = SITUATION.does("downloading", AT, deployment_id="dep-1", artifact_name="release-2")
    leave(paths, downloading.downloads(Download(3 << 20, 12 << 20, 1 << 20, 2048)))
    with running(paths):
        assert "download       3.0 MiB of 12.0 MiB (25 %), 2.0 KiB/s, 1.0 MiB of it resumed" in text(paths)


def test_other_version(paths: Paths) -> None:
    """A daemon with a version other than this program's is shown with both versions."""
    leave(paths, replace(SITUATION, version="0.9"))
    with running(paths):
        assert f"0.9 (this program is {__version__}), pid" in text(paths)


def test_nothing_steers_the_terminal(paths: Paths) -> None:
    """Control characters in messages from outside are replaced."""
    leave(paths, SITUATION.failed("poll", NetworkError("a\x1b[2Jb\nc"), AT, in_a_row=0))
    assert "a?[2Jb?c" in text(paths)


def test_follow(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """``status --follow --json`` prints one line for each change until Ctrl-C, and nothing in between."""
    turns = iter([None, SITUATION, None])

    def sleep(seconds: float) -> None:
        try:
            client_status = next(turns)
        except StopIteration:
            raise KeyboardInterrupt from None
        if client_status is not None:
            leave(paths, client_status)

    assert ExitCode.DONE is follow_status(paths, is_json=True, sleep=sleep)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [None, "https://mender.example.com"] == [line["client"] and line["client"]["server_url"] for line in lines]


# -- history --------------------------------------------------------------------------------------------------


def test_no_history(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """Without finished deployments, history says so."""
    show_history(paths, is_json=False)
    assert "no deployment has finished on this device\n" == capsys.readouterr().out


def test_history(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """The history shows outcome, reason, start and duration of each deployment, and the bytes fetched and resumed."""
    begun(paths)
    cost = {"received": 5 << 20, "kept": 1 << 20}
    JsonJournal(paths.journal).update(
        lambda record: record.concluded(
            "dep-1", Event.FAULT, now=AT, note=lambda update: update.fetched(**cost), reason="the disk is full"
        )
    )
    JsonJournal(paths.journal).update(lambda record: record.concluded("dep-0", Event.SUCCESS, now=AT, reason="none"))
    show_history(paths, is_json=False)
    first, second = capsys.readouterr().out.splitlines()
    what = f"release-2  deployment dep-1  began {utc(SINCE)}  took 2:00:00  5.0 MiB fetched, 1.0 MiB resumed"
    what += "  reason: the disk is full"
    assert f"{utc(AT)}  failure  {what}" == first
    assert f"{utc(AT)}  success  (unknown Artifact)  deployment dep-0" == second
    show_history(paths, is_json=True)
    document = json.loads(capsys.readouterr().out)
    whole, bare = document["deployments"]
    assert (1, None) == (document["schema"], document["journal_problem"])
    assert ("the disk is full", utc(SINCE)) == (whole["reason"], whole["began"])
    assert (None, None, None) == (bare["reason"], bare["began"], bare["artifact_name"])
    assert (7200.0, 5 << 20, 1 << 20) == (whole["duration_seconds"], whole["fetched_bytes"], whole["resumed_bytes"])
    assert None is bare["duration_seconds"]


def test_history_of_a_damaged_journal(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged state file is reported and left alone."""
    paths.journal.write_text("{")
    show_history(paths, is_json=False)
    assert "cannot use the state file" in capsys.readouterr().out
    assert paths.journal.exists()


def waits(paths: Paths, waiting: Waiting, hold: Decision | None = None, *, is_all: bool = False) -> list[str]:
    """Return the text output for an update that waits."""
    begun(paths)

    def change(record: Record) -> Record:
        record = record.waits("dep-1", waiting, lambda update: update)
        return record if hold is None else decided(record, hold, is_all=is_all)

    JsonJournal(paths.journal).update(change)
    return render(look(paths), now=NOW)


ASKING = Waiting(GatePoint.INSTALL, "nobody has approved it yet", SINCE, needs_approval=True)
PAUSED = Decision(DecisionKind.PAUSE, "anna", SINCE, "the machine runs")


def test_waits_for_approval(paths: Paths) -> None:
    """For a waiting update, status shows the gate, the reason, since when it is closed, and how to continue."""
    lines = waits(paths, ASKING)
    since = "closed since 2026-11-23T10:00:00Z (2 h ago)"
    assert "activity       waiting before the installation; continues once the daemon is running" in lines
    assert f"gate           before the installation, {since}: nobody has approved it yet" in lines
    assert "continues      with 'mender-python-client approve'" in lines


@pytest.mark.parametrize(("is_all", "option"), [(False, ""), (True, " --all")])
def test_paused(paths: Paths, is_all: bool, option: str) -> None:
    """A pause is ended with ``continue``, or with ``continue --all`` if it applies to all updates."""
    waiting = replace(ASKING, reason=PAUSED.text, needs_approval=False)
    lines = waits(paths, waiting, PAUSED, is_all=is_all)
    assert f"continues      with 'mender-python-client continue{option}'" in lines


def test_waits_for_window(paths: Paths) -> None:
    """If a gate opens by itself, the time of the next check is shown."""
    lines = waits(paths, replace(ASKING, needs_approval=False, until="2026-11-23T22:00:00+00:00"))
    assert "continues      when the gate is open; it is checked again at 2026-11-23T22:00:00Z (in 10 h)" in lines


def test_paused_and_not_asked_yet(paths: Paths) -> None:
    """An update paused at a gate that needs an approval must be continued first."""
    assert "continues      with 'mender-python-client continue'" in waits(paths, ASKING, PAUSED)


def test_postponed_for_a_time_that_is_over(paths: Paths) -> None:
    """A postponement that has expired has no effect."""
    over = replace(PAUSED, kind=DecisionKind.POSTPONE, until="2026-11-23T11:00:00+00:00")
    assert "continues      with 'mender-python-client approve'" in waits(paths, ASKING, over)
    begun(paths)
    JsonJournal(paths.journal).update(lambda record: decided(record, over, is_all=True))
    assert [] == [line for line in render(look(paths), now=NOW) if line.startswith(("held", "all updates"))]


def test_command_for_this_device(paths: Paths) -> None:
    """The command to continue includes the options that select this device."""
    waits(paths, ASKING)
    named = Options(root="/a device", data=None, devices=None, device="pump")
    lines = render(look(paths), now=NOW, command=command_of(named))
    assert "continues      with 'mender-python-client --root '/a device' --device pump approve'" in lines


def test_approval_of_all(paths: Paths) -> None:
    """A standing approval of all future updates is shown."""
    approval = Decision(DecisionKind.APPROVE, "anna", SINCE, "trusted", point=GatePoint.INSTALL)
    JsonJournal(paths.journal).update(lambda record: decided(record, approval, is_all=True))
    status = look(paths)
    expected = "all updates    approved by anna before the installation: trusted, until they are refused"
    assert expected in render(status, now=NOW)
    given = {"point": "install", "by": "anna", "at": "2026-11-23T10:00:00Z", "reason": "trusted"}
    assert [given] == as_document(status)["approvals_of_all"]


def test_pause_of_all_without_an_update(paths: Paths) -> None:
    """A pause of all updates is shown even if no update is in progress."""
    JsonJournal(paths.journal).update(lambda record: decided(record, PAUSED, is_all=True))
    lines = render(look(paths), now=NOW)
    how = "'mender-python-client continue --all' lifts this"
    assert f"all updates    paused by anna: the machine runs; {how}" in lines


def test_gate_for_programs(paths: Paths) -> None:
    """The JSON contains the gate and the decisions."""
    waits(paths, ASKING, PAUSED)
    document = as_document(look(paths))
    assert {
        "point": "install",
        "reason": "nobody has approved it yet",
        "since": "2026-11-23T10:00:00Z",
        "until": None,
        "needs_approval": True,
    } == document["update"]["gate"]
    assert ("pause", "anna", None) == tuple(document["update"]["hold"][key] for key in ("kind", "by", "until"))
    assert (None, [], []) == (
        document["hold_of_all"], document["approvals_of_all"], document["update"]["approvals"]
    )  # fmt: skip
