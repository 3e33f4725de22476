"""The record as a JSON document, tolerant of what other versions write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.gates import GatePoint
from mender_client.core.holding import Decision, DecisionKind, Decisions, Waiting
from mender_client.core.machine import ENDS, TRANSITIONS, Event, Flow, Result, State
from mender_client.core.model import AcceptedIdentity, Link, NewKey, NextForm, Provides, Status
from mender_client.core.record import Message, MessageKind, Outcome, Record
from mender_client.core.resume import RemoteObject
from mender_client.core.state_document import SCHEMA, decode_record, encode_record
from mender_client.core.update import ProcessRef, Update

UPDATE = Update(
    deployment_id="d-1",
    artifact_name="release-2",
    state=State.INSTALLING,
    since="2026-01-01T00:00:00+00:00",
    provides=Provides("board", "release-1", {"rootfs.version": "1"}),
    form=NextForm.V1_POST,
    remote_object=RemoteObject(10, "e"),
    seen_bytes=3,
    writes=4,
    process=ProcessRef(7, "this-boot", 99),
)
KNOWN = Record(
    update=UPDATE,
    accepted=AcceptedIdentity("a", "b", "/key.pem"),
    new_key=NewKey("c", is_forced=True),
    identity_change="why",
)
FULL = KNOWN.concluded("d-0", Event.FAILURE, now="t").telling("d-1", Status.INSTALLING)


def there_and_back(record: Record) -> Record:
    """The record after a round trip through JSON."""
    return decode_record(json.loads(json.dumps(encode_record(record))))


def document(**changes: Any) -> dict[str, Any]:
    """A complete document with other top-level fields."""
    return {**json.loads(json.dumps(encode_record(FULL))), **changes}


def update_document(**changes: Any) -> dict[str, Any]:
    """A complete document with other fields in its update."""
    whole = document()
    return {**whole, "update": {**whole["update"], **changes}}


@pytest.mark.parametrize(
    "record",
    [Record(), FULL, replace(FULL, update=replace(UPDATE, process=None, remote_object=RemoteObject()))],
    ids=["empty", "full", "sparse"],
)
def test_there_and_back(record: Record) -> None:
    """A record is read as it was written."""
    assert record == there_and_back(record)


TEXT = st.text(max_size=20)
IDS = st.text("0aZ_-", min_size=1, max_size=9)
UNDER_WAY = [(flow, state) for flow in Flow for state in TRANSITIONS[flow] if state not in ENDS]
DECISION = st.builds(
    Decision, st.sampled_from(DecisionKind), TEXT, TEXT, TEXT, TEXT, st.none() | st.sampled_from(GatePoint)
)
DECISIONS = st.none() | st.builds(Decisions, st.none() | DECISION, st.lists(DECISION, max_size=2).map(tuple))
RECORDS = st.builds(
    Record,
    update=st.none()
    | st.builds(
        Update,
        IDS,
        TEXT,
        st.just(State.DOWNLOADING),
        TEXT,
        st.builds(Provides, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3)),
        st.sampled_from(NextForm),
        st.just(Flow.HANDOVER),
        st.lists(TEXT, max_size=2).map(tuple),
        st.just(Link("")) | st.builds(Link, st.just("https://storage.invalid/x?secret"), TEXT),
        st.builds(RemoteObject, st.none() | st.integers(0), st.none() | TEXT),
        st.integers(0),
        st.integers(0),
        st.booleans(),
        st.none() | st.builds(ProcessRef, st.integers(0), TEXT, st.integers(0)),
        result=st.sampled_from(Result),
        reboot=TEXT,
        waiting=st.none() | st.builds(Waiting, st.sampled_from(GatePoint), TEXT, TEXT, TEXT, st.booleans(), TEXT),
        decisions=DECISIONS,
    ).flatmap(lambda update: st.sampled_from(UNDER_WAY).map(lambda at: replace(update, flow=at[0], state=at[1]))),
    outbox=st.lists(
        st.builds(Message, IDS, st.just(MessageKind.LOG))
        | st.builds(Message, IDS, st.just(MessageKind.STATUS), st.sampled_from(Status)),
        max_size=3,
    ).map(tuple),
    accepted=st.none() | st.builds(AcceptedIdentity, TEXT, TEXT, TEXT),
    new_key=st.none() | st.builds(NewKey, TEXT, st.booleans()),
    identity_change=TEXT,
    decisions=DECISIONS,
    outcomes=st.lists(
        st.builds(Outcome, IDS, st.sampled_from([Status.SUCCESS, Status.FAILURE]), TEXT, TEXT), max_size=3
    ).map(tuple),
)


@given(RECORDS)
def test_any_record(record: Record) -> None:
    """Any record survives a round trip."""
    assert record == there_and_back(record)


def test_unknown_fields() -> None:
    """Fields of a newer version survive a round trip, at the top level and in the update."""
    newer = update_document(colour="blue") | {"extra": [1, {"two": None}]}
    assert newer == json.loads(json.dumps(encode_record(decode_record(newer))))


@pytest.mark.parametrize("foreign", [None, [], "text", 7])
def test_no_object(foreign: object) -> None:
    """Only a document that isn't a JSON object is refused."""
    with pytest.raises(ValueError, match="not a JSON object"):
        decode_record(foreign)


def is_kept(changed: Mapping[str, Any]) -> bool:
    """Whether everything in a document is written back, except for the schema number."""
    return bool({**changed, "schema": SCHEMA} == json.loads(json.dumps(encode_record(decode_record(changed)))))


@pytest.mark.parametrize(
    "update",
    [
        *(update_document(state=state.value)["update"] for state in ENDS),
        update_document(state="unheard-of")["update"],
        update_document(flow="unheard-of")["update"],
        update_document(flow="modules")["update"],
        update_document(flow=None)["update"],
        update_document(form="v9")["update"],
        update_document(promise=None)["update"],
        update_document(promise={"total": -1})["update"],
        update_document(promise={"total": 1, "etag": 5})["update"],
        update_document(provides={"device_type": "b", "artifact_name": "a", "others": {"k": 1}})["update"],
        update_document(seen_bytes=True)["update"],
        update_document(writes="4")["update"],
        update_document(hands={"pid": 1})["update"],
        update_document(device_types=[1])["update"],
        update_document(deployment_id=None)["update"],
        update_document(deployment_id="../d")["update"],
        [],
        {},
        "text",
    ],
)
def test_update_of_another_version(update: object) -> None:
    """An update with a field that isn't understood is not continued but kept verbatim; everything else is read."""
    changed = document(update=update)
    record = decode_record(changed)
    assert (None, update, FULL.outbox, FULL.outcomes) == (
        record.update, record.unread.update, record.outbox, record.outcomes
    )  # fmt: skip
    assert is_kept(changed)
    assert "the update under way" in record.unread.summary


@pytest.mark.parametrize(
    "entry",
    [
        "text",
        {},
        {"deployment_id": "d", "kind": "status", "status": "unheard-of"},
        {"deployment_id": "d", "kind": "song"},
        {"deployment_id": "", "kind": "log", "status": None},
    ],
    ids=str,
)
def test_message_of_another_version(entry: object) -> None:
    """A pending report that can't be understood is kept verbatim, before the others."""
    changed = document(outbox=[entry, *document()["outbox"]])
    record = decode_record(changed)
    assert (FULL.outbox, (entry,), FULL.update) == (record.outbox, record.unread.outbox, record.update)
    assert is_kept(changed)
    assert "1 pending report" == record.unread.summary


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {"deployment_id": "d", "status": "installing", "at": "", "artifact_name": ""},
        {"deployment_id": "d", "status": "skipped", "at": "", "artifact_name": ""},
        {"deployment_id": "d\n", "status": "success", "at": "", "artifact_name": ""},
    ],
    ids=str,
)
def test_outcome_of_another_version(entry: object) -> None:
    """An outcome that can't be understood is kept verbatim, before the others."""
    changed = document(outcomes=[entry, entry, *document()["outcomes"]])
    record = decode_record(changed)
    assert (FULL.outcomes, (entry, entry)) == (record.outcomes, record.unread.outcomes)
    assert is_kept(changed)
    assert "2 outcomes" == record.unread.summary


def test_outcome_with_an_odd_field() -> None:
    """An outcome needs a deployment id and a status; fields that are only displayed may be missing."""
    record = decode_record({"outcomes": [{"deployment_id": "d", "status": "success", "artifact_name": 3, "began": []}]})
    assert (Outcome("d", Status.SUCCESS),) == record.outcomes


@pytest.mark.parametrize(
    "odd", [{"outbox": {}}, {"outcomes": 7}, {"accepted": {"key": 1}}, {"new_key": []}, {"totals": {"a": "b"}},
            {"identity_change": 3}], ids=str
)  # fmt: skip
def test_field_of_another_version(odd: Mapping[str, object]) -> None:
    """A field whose type this version doesn't expect is kept until the version has a value of its own for it."""
    changed = {**document(), **odd}
    record = decode_record(changed)
    assert FULL.update == record.update
    assert is_kept(changed)
    (key,) = odd
    assert key == record.unread.summary
    filled = encode_record(replace(record.concluded("d-7", Event.FAILURE, now=""), identity_change="y"))
    assert (filled[key] != odd[key]) is (key not in ("accepted", "new_key"))


@pytest.mark.parametrize("schema", [SCHEMA + 1, "2", None])
def test_another_schema(schema: object) -> None:
    """A document with another schema number is read as far as it is understood."""
    assert FULL == decode_record(document(schema=schema))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=5), children, max_size=2),
    max_leaves=5,
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path in a JSON value."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in entries:
        yield from places(child, (*path, key))


def mutated(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    """The value with another value at one path; an ellipsis removes the entry."""
    copied = json.loads(json.dumps(value))
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    if new is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return copied


MANY = FULL.concluded("d-2", Event.SUCCESS, now="t").telling("d-3", Status.DOWNLOADING)
WHOLE = json.loads(json.dumps(encode_record(MANY)))


@given(st.sampled_from([path for path in places(WHOLE) if path]), st.just(...) | JSON)
def test_whatever_another_version_changes(path: tuple[str | int, ...], new: object) -> None:
    """Whatever replaces one value of a document, all other pending reports and outcomes are read, in their order."""
    record = decode_record(mutated(WHOLE, path, new))
    for key, found, whole in (("outbox", record.outbox, MANY.outbox), ("outcomes", record.outcomes, MANY.outcomes)):
        spoilt = path[1] if path[0] == key and len(path) > 1 else None
        rest = iter(found)
        assert path == (key,) or all(one in rest for number, one in enumerate(whole) if number != spoilt)
    assert record == there_and_back(record)
