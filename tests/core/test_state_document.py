"""The record as a JSON document: whole, or refused; kind to other versions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.accepted_identity import AcceptedIdentity, NewKey
from mender_client.core.machine import ENDS, Event, State
from mender_client.core.model import Provides, Status
from mender_client.core.record import Message, MessageKind, Outcome, ProcessRef, Record, Update
from mender_client.core.resume import RemoteObject
from mender_client.core.state_document import SCHEMA, decode_record, encode_record
from mender_client.core.wire import NextForm

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
    """Through JSON."""
    return decode_record(json.loads(json.dumps(encode_record(record))))


def document(**changes: Any) -> dict[str, Any]:
    """A whole document with changes at its top."""
    return {**json.loads(json.dumps(encode_record(FULL))), **changes}


def update_document(**changes: Any) -> dict[str, Any]:
    """A whole document with changes in its update."""
    whole = document()
    return {**whole, "update": {**whole["update"], **changes}}


@pytest.mark.parametrize(
    "record",
    [Record(), FULL, replace(FULL, update=replace(UPDATE, process=None, remote_object=RemoteObject()))],
    ids=["empty", "full", "sparse"],
)
def test_there_and_back(record: Record) -> None:
    """What is written reads the same."""
    assert record == there_and_back(record)


TEXT = st.text(max_size=20)
IDS = st.text("0aZ_-", min_size=1, max_size=9)
RECORDS = st.builds(
    Record,
    update=st.none()
    | st.builds(
        Update,
        IDS,
        TEXT,
        st.sampled_from([state for state in State if state not in ENDS]),
        TEXT,
        st.builds(Provides, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3)),
        st.sampled_from(NextForm),
        st.builds(RemoteObject, st.none() | st.integers(0), st.none() | TEXT),
        st.integers(0),
        st.integers(0),
        st.booleans(),
        st.none() | st.builds(ProcessRef, st.integers(0), TEXT, st.integers(0)),
    ),
    outbox=st.lists(
        st.builds(Message, IDS, st.just(MessageKind.LOG))
        | st.builds(Message, IDS, st.just(MessageKind.STATUS), st.sampled_from(Status)),
        max_size=3,
    ).map(tuple),
    accepted=st.none() | st.builds(AcceptedIdentity, TEXT, TEXT, TEXT),
    new_key=st.none() | st.builds(NewKey, TEXT, st.booleans()),
    identity_change=TEXT,
    outcomes=st.lists(
        st.builds(Outcome, IDS, st.sampled_from([Status.SUCCESS, Status.FAILURE]), TEXT, TEXT), max_size=3
    ).map(tuple),
)


@given(RECORDS)
def test_any_record(record: Record) -> None:
    """Whatever a record holds survives."""
    assert record == there_and_back(record)


def test_unknown_fields() -> None:
    """Fields of a newer version survive a round trip, at the top and in the update."""
    newer = update_document(colour="blue") | {"extra": [1, {"two": None}]}
    assert newer == json.loads(json.dumps(encode_record(decode_record(newer))))


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        [],
        "text",
        {},
        document(schema=SCHEMA + 1),
        document(schema=None),
        document(outbox=None),
        document(outbox=["text"]),
        document(outbox=[{}]),
        document(outbox=[{"deployment_id": "d", "kind": "status", "status": "unheard-of"}]),
        document(outbox=[{"deployment_id": "d", "kind": "song"}]),
        document(outcomes=[{"deployment_id": "d", "status": "installing", "at": "", "artifact_name": ""}]),
        document(outcomes=[{"deployment_id": "d", "status": "success", "at": "", "artifact_name": 3}]),
        document(update=[]),
        document(update={}),
        *(update_document(state=state.value) for state in ENDS),
        update_document(state="unheard-of"),
        update_document(form="v9"),
        update_document(promise=None),
        update_document(promise={"total": -1}),
        update_document(promise={"total": 1, "etag": 5}),
        update_document(provides={"device_type": "b", "artifact_name": "a", "others": {"k": 1}}),
        update_document(seen_bytes=True),
        update_document(writes="4"),
        update_document(hands={"pid": 1}),
        update_document(deployment_id=None),
        update_document(deployment_id="../d"),
        document(outbox=[{"deployment_id": "", "kind": "log", "status": None}]),
        document(outcomes=[{"deployment_id": "d\n", "status": "success", "at": "", "artifact_name": ""}]),
    ],
)
def test_damaged(damaged: object) -> None:
    """A document that is damaged or foreign is refused, never half believed."""
    with pytest.raises(ValueError, match=r"."):
        decode_record(damaged)
