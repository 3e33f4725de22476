"""The client's record: pure functions from one record to the next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mender_client.core.machine import Event, Flow, State
from mender_client.core.model import Deployment, Link, NextForm, Provides, Status
from mender_client.core.record import MAXIMUM_OUTCOMES, Message, MessageKind, Record, Unread
from mender_client.core.resume import RemoteObject
from mender_client.core.update import MAXIMUM_WRITES, LoopError, ProcessRef, Update

ID = "d-1"
DEPLOYMENT = Deployment(ID, "release-2", ("board",), Link("https://storage.invalid/x"))
PROVIDES = Provides("board", "release-1")
HANDS = ProcessRef(7, "this-boot", 99)
BEGUN = Record().begun(DEPLOYMENT, PROVIDES, NextForm.V1_POST, now="t0")
LOG, FAILURE = Message(ID, MessageKind.LOG), Message(ID, MessageKind.STATUS, Status.FAILURE)


def tried(record: Record) -> Record:
    """The record after the server has acknowledged the status ``downloading``."""
    return record.telling(ID, Status.DOWNLOADING).acknowledged(Message(ID, MessageKind.STATUS, Status.DOWNLOADING))


def update_in(record: Record) -> Update:
    """The update in progress."""
    assert record.update is not None
    return record.update


def in_state(state: State) -> Record:
    """A record with an update in a state."""
    return replace(BEGUN, update=replace(update_in(BEGUN), state=state))


def test_begun() -> None:
    """A new deployment starts with the provides that the device sent when the deployment was offered."""
    update = update_in(BEGUN)
    assert (ID, State.DOWNLOADING, PROVIDES, NextForm.V1_POST, "t0") == (
        update.deployment_id,
        update.state,
        update.provides,
        update.form,
        update.since,
    )
    assert None is BEGUN.update_of("another")


def test_begun_again() -> None:
    """Offered again, a deployment keeps what is known about it; with another Artifact it starts afresh."""
    known = BEGUN.described(ID, RemoteObject(10, "e"))
    assert known == known.begun(DEPLOYMENT, Provides("board", "another"), NextForm.V1_GET, now="t1")
    changed = known.begun(replace(DEPLOYMENT, artifact_name="release-3"), PROVIDES, NextForm.V1_POST, now="t1")
    assert (RemoteObject(), "release-3") == (update_in(changed).remote_object, update_in(changed).artifact_name)


def test_promised() -> None:
    """The size and ETag of the deployment in progress are kept; those of another deployment are ignored."""
    known = BEGUN.described(ID, RemoteObject(10, "e"))
    assert RemoteObject(10, "e") == update_in(known).remote_object
    assert known == known.described(ID, RemoteObject(10, "e"))
    assert known is known.described("another", RemoteObject(11, "f"))


def test_moved() -> None:
    """An event changes the update's state, and the process of its sub-updater is recorded."""
    moved = in_state(State.HANDING_OVER).moved(
        ID, Event.STARTED, now="t2", note=lambda update: replace(update, process=HANDS)
    )
    assert (State.INSTALLING, HANDS, "t2", 1) == (
        update_in(moved).state,
        update_in(moved).process,
        update_in(moved).since,
        update_in(moved).writes,
    )


def test_moved_too_late() -> None:
    """An event of a finished update changes nothing."""
    assert Record() == Record().moved(ID, Event.STARTED, now="t2")


@pytest.mark.parametrize("event", [Event.FAULT, Event.STARTED])
def test_moved_wrongly(event: Event) -> None:
    """An unexpected event, or one that ends the update, is refused."""
    with pytest.raises(ValueError, match=r"does not expect|ends the update"):
        BEGUN.moved(ID, event, now="t2")


def test_resumed() -> None:
    """A restart enters the state to resume in; without an update it does nothing."""
    assert (
        State.DOWNLOADING
        is update_in(in_state(State.VERIFIED).resumed(State.DOWNLOADING, bytes_on_disk=0, now="")).state
    )
    assert Record() == Record().resumed(State.DOWNLOADING, bytes_on_disk=0, now="")


def test_loop() -> None:
    """Repeated restarts of a download without a new byte are a loop; new bytes on disk are progress."""
    record = tried(BEGUN)
    for _ in range(MAXIMUM_WRITES):
        record = tried(record.resumed(State.DOWNLOADING, bytes_on_disk=0, now=""))
    with pytest.raises(LoopError, match=f"changed {MAXIMUM_WRITES} times without progress"):
        record.resumed(State.DOWNLOADING, bytes_on_disk=0, now="")
    assert 1 == update_in(record.resumed(State.DOWNLOADING, bytes_on_disk=1, now="")).writes


@pytest.mark.parametrize(
    ("state", "event"), [(State.DOWNLOADING, Event.FETCHED), (State.VERIFIED, Event.CONFIRMED)], ids=["verify", "start"]
)
def test_loop_in_any_state(state: State, event: Event) -> None:
    """The loop guard applies to every change of state, so that no state can be entered endlessly."""
    record = in_state(state)
    looped = replace(record, update=replace(update_in(record), writes=MAXIMUM_WRITES))
    with pytest.raises(LoopError, match=f"changed {MAXIMUM_WRITES} times"):
        looped.moved(ID, event, now="")


def test_an_artifact_on_disk_is_progress_of_the_download_alone() -> None:
    """Restarts in the same state keep being counted, although the Artifact is already on disk."""
    update = replace(update_in(BEGUN), flow=Flow.MODULES, state=State.ARTIFACT_FAILURE, writes=5, fetched_bytes=9)
    resumed = update_in(replace(BEGUN, update=update).resumed(State.ARTIFACT_FAILURE, bytes_on_disk=9, now=""))
    assert (6, 9) == (resumed.writes, resumed.fetched_bytes)


def test_what_has_begun_to_install_is_no_loop() -> None:
    """An update whose sub-updater has been started is not ended, however often its state has changed before."""
    record = in_state(State.HANDING_OVER)
    late = replace(record, update=replace(update_in(record), writes=MAXIMUM_WRITES + 3))
    assert State.INSTALLING is update_in(late.moved(ID, Event.STARTED, now="")).state
    assert State.RECONCILING is update_in(late.resumed(State.RECONCILING, bytes_on_disk=0, now="")).state


def test_starts_without_a_try_are_no_loop() -> None:
    """Restarts of a device that can't reach its server are no attempts and don't count as a loop."""
    record = tried(BEGUN)
    for _ in range(3 * MAXIMUM_WRITES):
        record = record.resumed(State.DOWNLOADING, bytes_on_disk=0, now="")
    assert 1 == update_in(record).writes


def test_what_an_attempt_left_unsaid_is_said_by_the_next() -> None:
    """A status that the server didn't receive before a restart is not sent ahead of those of the next attempt."""
    record = BEGUN.telling(ID, Status.INSTALLING).resumed(State.DOWNLOADING, bytes_on_disk=0, now="")
    assert () == record.outbox


def test_the_first_report_is_final() -> None:
    """Once an outcome is known, no other report replaces it, whatever its origin, and nothing more is sent."""
    known = (
        BEGUN.moved(ID, Event.FETCHED, now="").moved(ID, Event.CONFIRMED, now="").concluded(ID, Event.SUCCESS, now="")
    )
    assert known is known.concluded(ID, Event.FAILURE, now="")
    assert known is known.concluded(ID, Event.FAULT, now="")


@pytest.mark.parametrize("state", [State.INSTALLING, State.RECONCILING])
def test_waiting_is_no_loop(state: State) -> None:
    """Restarts while the client waits for the sub-updater don't count as a loop."""
    record = in_state(state)
    assert record is record.resumed(state, bytes_on_disk=0, now="")


@pytest.mark.parametrize(
    ("event", "status", "messages"),
    [
        (Event.SUCCESS, Status.SUCCESS, (Message(ID, MessageKind.STATUS, Status.SUCCESS),)),
        (Event.FAILURE, Status.FAILURE, (LOG, FAILURE)),
        (Event.FAULT, Status.FAILURE, (LOG, FAILURE)),
    ],
)
def test_concluded(event: Event, status: Status, messages: tuple[Message, ...]) -> None:
    """The end of the update, its outcome and its reports are recorded in one change; the log precedes the failure."""
    waiting = in_state(State.INSTALLING).telling(ID, Status.INSTALLING).telling("another", Status.DOWNLOADING)
    record = waiting.concluded(ID, event, now="t9")
    outcome = record.outcome_of(ID)
    assert outcome is not None
    assert (None, status, "t9", "release-2") == (record.update, outcome.status, outcome.at, outcome.artifact_name)
    assert (Message("another", MessageKind.STATUS, Status.DOWNLOADING), *messages) == record.outbox


def test_aborted() -> None:
    """An aborted deployment leaves neither an outcome nor pending reports."""
    over = BEGUN.telling(ID, Status.DOWNLOADING).concluded(ID, Event.ABORT, now="t9")
    assert Record(totals={"aborted": 1}) == over


def test_concluded_by_somebody_else() -> None:
    """A deployment of another client can be concluded too, without any effect on the update in progress."""
    record = BEGUN.concluded("another", Event.SUCCESS, now="t9")
    assert BEGUN.update == record.update
    outcome = record.outcome_of("another")
    assert outcome is not None
    assert "" == outcome.artifact_name


def test_update_that_cannot_be_read() -> None:
    """An update of another version is concluded by its deployment id; the other entries of that version stay."""
    unread = Unread({"deployment_id": ID, "state": "cleanup", "artifact_name": "release-2"}, ("a song",))
    record = Record(unread=unread).concluded(ID, Event.FAULT, now="t9")
    assert ((LOG, FAILURE), Unread(outbox=("a song",))) == (record.outbox, record.unread)
    assert ["release-2"] == [one.artifact_name for one in record.outcomes]


def test_update_that_cannot_be_read_and_whose_outcome_is_known() -> None:
    """An outcome that another version has stored is final; only the update is removed."""
    known = Record().concluded(ID, Event.SUCCESS, now="t1")
    record = replace(known, unread=Unread({"deployment_id": ID, "state": "cleanup"}))
    assert known == record.concluded(ID, Event.FAULT, now="t9")


def test_new_update_in_place_of_one_that_cannot_be_read() -> None:
    """An unreadable update without a deployment id is replaced by the next update."""
    assert BEGUN == Record(unread=Unread({"state": "x"})).begun(DEPLOYMENT, PROVIDES, NextForm.V1_POST, now="t0")


def test_outcomes_are_bounded() -> None:
    """The last hundred outcomes are kept."""
    record = Record()
    for number in range(MAXIMUM_OUTCOMES + 5):
        record = record.concluded(f"d-{number}", Event.SUCCESS, now="")
    assert MAXIMUM_OUTCOMES == len(record.outcomes)
    assert None is record.outcome_of("d-4")
    assert record.outcome_of("d-5") is not None


def test_outbox() -> None:
    """Pending reports keep their order, are added once, and are removed when acknowledged or silenced."""
    record = Record().telling(ID, Status.DOWNLOADING).telling(ID, Status.INSTALLING)
    first, second = record.outbox
    assert record is record.telling(ID, Status.INSTALLING)
    assert (second,) == record.acknowledged(first).outbox
    assert record == record.acknowledged(LOG)
    assert () == record.silenced(ID).outbox
    assert record == record.silenced("another")


@pytest.mark.parametrize(
    ("process", "age"),
    [
        (ProcessRef(7, "this-boot", 2_000), 80.0),
        (ProcessRef(7, "this-boot", 20_000), 0.0),
        (ProcessRef(7, "this-boot", 0), 0.0),
        (ProcessRef(7, "another-boot", 2_000), 0.0),
    ],
    ids=["this boot", "in the future", "unknown", "another boot"],
)
def test_age(process: ProcessRef, age: float) -> None:
    """The age of a process is the time since boot minus its start time; for a process of another boot it is unknown."""
    assert age == process.age_seconds("this-boot", 100.0, 100)


def test_nothing_follows_the_outcome() -> None:
    """A status after the outcome is not reported any more."""
    record = Record().concluded("d", Event.SUCCESS, now="")
    assert record == record.telling("d", Status.REBOOTING)
    assert 2 == len(record.telling("another", Status.REBOOTING).outbox)
