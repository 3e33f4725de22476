"""The client's memory as a JSON document: schema-versioned, and kind to the fields of other versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from .accepted_identity import AcceptedIdentity, NewKey
from .machine import ENDS, State
from .model import Provides, Status
from .record import Message, MessageKind, Outcome, ProcessRef, Record, Update
from .resume import RemoteObject
from .text import printable
from .wire import NextForm, is_deployment_id

SCHEMA = 1

_STORED_STATES = {State.VERIFIED: "proven", State.INSTALLING: "in-hands", State.RECONCILING: "settling"}
"""States that version 1.0.0 stored under another name: it is kept, so that a rollback to 1.0.0 reads the file."""
_STATES = {_STORED_STATES.get(state, state.value): state for state in State}

_RECORD_FIELDS = ("schema", "update", "outbox", "outcomes", "accepted", "new_key", "identity_change", "totals")
_UPDATE_FIELDS = (
    "deployment_id", "artifact_name", "state", "since", "provides", "form", "promise", "seen_bytes", "writes",
    "tried", "hands", "began", "fetched_bytes", "resumed_bytes",
)  # fmt: skip
_ADDED: Mapping[str, Any] = {"began": "", "fetched_bytes": 0, "resumed_bytes": 0}
"""What the first documents did not have, and what holds then."""
_Value = TypeVar("_Value")


def encode_record(record: Record) -> dict[str, Any]:
    """The record as a JSON object."""
    return {
        **record.unknown,
        "schema": SCHEMA,
        "update": None if record.update is None else _encode_update(record.update),
        "outbox": [
            {
                "deployment_id": message.deployment_id,
                "kind": message.kind.value,
                "status": None if message.status is None else message.status.value,
            }
            for message in record.outbox
        ],
        "outcomes": [
            {
                "deployment_id": outcome.deployment_id,
                "status": outcome.status.value,
                "at": outcome.at,
                "artifact_name": outcome.artifact_name,
                "began": outcome.began,
                "fetched_bytes": outcome.fetched_bytes,
                "resumed_bytes": outcome.resumed_bytes,
            }
            for outcome in record.outcomes
        ],
        **_encode_accepted(record),
        "totals": dict(record.totals),
    }


def _encode_accepted(record: Record) -> dict[str, Any]:
    """As what the server accepted the device; absent until it has."""
    accepted, new_key = record.accepted, record.new_key
    fields: dict[str, Any] = {}
    if accepted is not None:
        fields["accepted"] = {
            "identity": accepted.identity,
            "key": accepted.key,
            "key_location": accepted.key_location,
        }
    if new_key is not None:
        fields["new_key"] = {"key": new_key.key, "is_forced": new_key.is_forced}
    if record.identity_change:
        fields["identity_change"] = record.identity_change
    return fields


def _encode_update(update: Update) -> dict[str, Any]:
    provides, process = update.provides, update.process
    return {
        **update.unknown,
        "deployment_id": update.deployment_id,
        "artifact_name": update.artifact_name,
        "state": _STORED_STATES.get(update.state, update.state.value),
        "since": update.since,
        "provides": {
            "device_type": provides.device_type,
            "artifact_name": provides.artifact_name,
            "others": dict(provides.others),
        },
        "form": update.form.value,
        "promise": {"total": update.remote_object.total, "etag": update.remote_object.etag},
        "seen_bytes": update.seen_bytes,
        "writes": update.writes,
        "tried": update.tried,
        "hands": None
        if process is None
        else {"pid": process.pid, "boot_id": process.boot_id, "start_time": process.start_time},
        "began": update.began,
        "fetched_bytes": update.fetched_bytes,
        "resumed_bytes": update.resumed_bytes,
    }


def decode_record(document: object) -> Record:
    """Read a record.

    Raises:
        ValueError: it is damaged, or no record of this client.
    """
    if not isinstance(document, dict) or "schema" not in document:
        raise ValueError("it is no record of this client")
    if document["schema"] != SCHEMA:
        schema = printable(str(document["schema"]), limit=20)
        raise ValueError(f"its schema is {schema}, and this version knows {SCHEMA}: another version wrote it")
    return Record(
        update=_optional(document.get("update"), _decode_update),
        outbox=_each(document, "outbox", _decode_message),
        outcomes=_each(document, "outcomes", _decode_outcome),
        accepted=_optional(document.get("accepted"), _decode_accepted),
        new_key=_optional(document.get("new_key"), _decode_new_key),
        identity_change=_get(document, "identity_change", str) if "identity_change" in document else "",
        unknown=_unknown(document, _RECORD_FIELDS),
        totals=_decode_totals(document.get("totals", {})),
    )


def _decode_update(value: Mapping[str, Any]) -> Update:
    stored = _get(value, "state", str)
    state = _STATES.get(stored) or State(stored)
    if state in ENDS:
        raise ValueError("an update that is over is not kept")
    remote_object = _get(value, "promise", dict)
    whole = {**_ADDED, **value}
    return Update(
        deployment_id=_identifier(value),
        artifact_name=_get(value, "artifact_name", str),
        state=state,
        since=_get(value, "since", str),
        provides=_decode_provides(_get(value, "provides", dict)),
        form=NextForm(_get(value, "form", str)),
        remote_object=RemoteObject(
            None if remote_object.get("total") is None else _get(remote_object, "total", int),
            None if remote_object.get("etag") is None else _get(remote_object, "etag", str),
        ),
        seen_bytes=_get(value, "seen_bytes", int),
        writes=_get(value, "writes", int),
        tried=value.get("tried") is True,
        process=_optional(value.get("hands"), _decode_process),
        unknown=_unknown(value, _UPDATE_FIELDS),
        began=_get(whole, "began", str),
        fetched_bytes=_get(whole, "fetched_bytes", int),
        resumed_bytes=_get(whole, "resumed_bytes", int),
    )


def _decode_provides(value: Mapping[str, Any]) -> Provides:
    others = _get(value, "others", dict)
    return Provides(
        _get(value, "device_type", str),
        _get(value, "artifact_name", str),
        MappingProxyType({key: _get(others, key, str) for key in others}),
    )


def _decode_process(value: Mapping[str, Any]) -> ProcessRef:
    return ProcessRef(_get(value, "pid", int), _get(value, "boot_id", str), _get(value, "start_time", int))


def _decode_message(value: Mapping[str, Any]) -> Message:
    kind = MessageKind(_get(value, "kind", str))
    status = Status(_get(value, "status", str)) if kind is MessageKind.STATUS else None
    return Message(_identifier(value), kind, status)


def _decode_outcome(value: Mapping[str, Any]) -> Outcome:
    status = Status(_get(value, "status", str))
    if not status.is_final:
        raise ValueError(f"{status.value} is no outcome")
    name = _get(value, "artifact_name", str)
    whole = {**_ADDED, **value}
    return Outcome(
        _identifier(value),
        status,
        _get(value, "at", str),
        name,
        _get(whole, "began", str),
        _get(whole, "fetched_bytes", int),
        _get(whole, "resumed_bytes", int),
    )


def _decode_totals(value: object) -> Mapping[str, int]:
    if not isinstance(value, dict):
        raise ValueError('"totals" is no object')
    return MappingProxyType({key: _get(value, key, int) for key in value})


def _decode_accepted(value: Mapping[str, Any]) -> AcceptedIdentity:
    return AcceptedIdentity(_get(value, "identity", str), _get(value, "key", str), _get(value, "key_location", str))


def _decode_new_key(value: Mapping[str, Any]) -> NewKey:
    return NewKey(_get(value, "key", str), value.get("is_forced") is True)


def _get(container: Mapping[str, Any], key: str, kind: type[_Value]) -> _Value:
    value = container.get(key)
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
        raise ValueError(f'"{key}" is missing or of the wrong type')
    return value


def _identifier(container: Mapping[str, Any]) -> str:
    """A deployment id: it becomes part of addresses and of the sub-updater's environment."""
    value = _get(container, "deployment_id", str)
    if not is_deployment_id(value):
        raise ValueError('"deployment_id" is no deployment id')
    return value


def _optional(value: object, decode: Callable[[Mapping[str, Any]], _Value]) -> _Value | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("an object is missing")
    return decode(value)


def _each(container: Mapping[str, Any], key: str, decode: Callable[[Mapping[str, Any]], _Value]) -> tuple[_Value, ...]:
    values = _get(container, key, list)
    if not all(isinstance(value, dict) for value in values):
        raise ValueError(f'"{key}" holds something that is no object')
    return tuple(decode(value) for value in values)


def _unknown(container: Mapping[str, Any], known: tuple[str, ...]) -> Mapping[str, Any]:
    return MappingProxyType({key: value for key, value in container.items() if key not in known})
