"""The client's memory as a JSON document: schema-versioned, and kind to what other versions write.

Nothing that another version wrote costs what this one understands. Messages and outcomes are read one by one; what
can't be understood, an update included, is kept verbatim and written back, so that the other version finds it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from .accepted_identity import AcceptedIdentity, NewKey
from .machine import ENDS, Flow, State
from .model import Link, Provides, Status
from .record import Message, MessageKind, Outcome, ProcessRef, Record, Unread, Update
from .resume import RemoteObject
from .wire import NextForm, is_deployment_id, parse_link

SCHEMA = 1
"""What this version writes. A document with a higher number is read like any other, as far as it can be understood."""

_STORED_STATES = {State.VERIFIED: "proven", State.INSTALLING: "in-hands", State.RECONCILING: "settling"}
"""States that version 1.0.0 stored under another name: it is kept, so that a rollback to 1.0.0 reads the file."""
_STATES = {_STORED_STATES.get(state, state.value): state for state in State}

_RECORD_FIELDS = ("schema", "update", "outbox", "outcomes", "accepted", "new_key", "identity_change", "totals")
_UPDATE_FIELDS = (
    "deployment_id", "artifact_name", "state", "since", "provides", "form", "flow", "device_types", "link", "promise",
    "seen_bytes", "writes", "tried", "hands", "began", "fetched_bytes", "resumed_bytes",
)  # fmt: skip
_ADDED: Mapping[str, Any] = {
    "flow": Flow.HANDOVER.value, "device_types": [], "link": {}, "began": "", "fetched_bytes": 0, "resumed_bytes": 0
}  # fmt: skip
"""What the first documents did not have, and what holds then."""
_Value = TypeVar("_Value")


def encode_record(record: Record) -> dict[str, Any]:
    """The record as a JSON object."""
    unread = record.unread
    document: dict[str, Any] = {
        **record.unknown,
        **unread.fields,
        "schema": SCHEMA,
        "update": unread.update if record.update is None else _encode_update(record.update),
    }
    fields: dict[str, Any] = {
        "outbox": [*unread.outbox, *map(_encode_message, record.outbox)],
        "outcomes": [*unread.outcomes, *map(_encode_outcome, record.outcomes)],
        **_encode_accepted(record),
        "totals": dict(record.totals),
    }
    # what can't be read stays until there is something to put in its place
    return {**document, **{key: value for key, value in fields.items() if value or key not in unread.fields}}


def _encode_message(message: Message) -> dict[str, Any]:
    return {
        "deployment_id": message.deployment_id,
        "kind": message.kind.value,
        "status": None if message.status is None else message.status.value,
    }


def _encode_outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "deployment_id": outcome.deployment_id,
        "status": outcome.status.value,
        "at": outcome.at,
        "artifact_name": outcome.artifact_name,
        "began": outcome.began,
        "fetched_bytes": outcome.fetched_bytes,
        "resumed_bytes": outcome.resumed_bytes,
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
        "flow": update.flow.value,
        "device_types": list(update.device_types),
        "link": {"uri": update.link.uri, "expire": update.link.expire},
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
    """Read a record; what can't be understood is in its ``unread``.

    Raises:
        ValueError: it is no JSON object.
    """
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    unread: dict[str, object] = {}
    outbox, unread_messages = _each(document, "outbox", _decode_message, unread)
    outcomes, unread_outcomes = _each(document, "outcomes", _decode_outcome, unread)
    update = _read(document, "update", _decode_update, unread)
    return Record(
        update=update,
        outbox=outbox,
        outcomes=outcomes,
        accepted=_read(document, "accepted", _decode_accepted, unread),
        new_key=_read(document, "new_key", _decode_new_key, unread),
        identity_change=_read(document, "identity_change", _decode_text, unread) or "",
        unknown=_unknown(document, _RECORD_FIELDS),
        totals=_read(document, "totals", _decode_totals, unread) or {},
        unread=Unread(unread.pop("update", None), unread_messages, unread_outcomes, MappingProxyType(unread)),
    )


def _read(
    document: Mapping[str, Any], key: str, decode: Callable[[Any], _Value], unread: dict[str, object]
) -> _Value | None:
    """A field that may be absent; one that can't be understood goes to ``unread``."""
    value = document.get(key)
    if value is None:
        return None
    try:
        return decode(value)
    except ValueError:
        unread[key] = value
        return None


def _each(
    document: Mapping[str, Any], key: str, decode: Callable[[Mapping[str, Any]], _Value], unread: dict[str, object]
) -> tuple[tuple[_Value, ...], tuple[object, ...]]:
    """The entries of a list that can be understood, and the others."""
    entries = _read(document, key, _decode_list, unread) or []
    known: list[_Value] = []
    others: list[object] = []
    for entry in entries:
        try:
            known.append(decode(_decode_object(entry)))
        except ValueError:
            others.append(entry)
    return tuple(known), tuple(others)


def _decode_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("it is no list")
    return value


def _decode_object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _decode_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it is no text")
    return value


def _decode_update(stored: object) -> Update:
    """Read the update under way; only one that is understood in all its fields can be continued."""
    value = {**_ADDED, **_decode_object(stored)}
    state_name = _get(value, "state", str)
    state = _STATES.get(state_name) or State(state_name)
    if state in ENDS:
        raise ValueError("an update that is over is not kept")
    remote_object = _get(value, "promise", dict)
    return Update(
        deployment_id=_identifier(value),
        artifact_name=_get(value, "artifact_name", str),
        state=state,
        since=_get(value, "since", str),
        provides=_decode_provides(_get(value, "provides", dict)),
        form=NextForm(_get(value, "form", str)),
        flow=Flow(_get(value, "flow", str)),
        device_types=tuple(_decode_text(one) for one in _get(value, "device_types", list)),
        link=_decode_link(_get(value, "link", dict)),
        remote_object=RemoteObject(
            None if remote_object.get("total") is None else _get(remote_object, "total", int),
            None if remote_object.get("etag") is None else _get(remote_object, "etag", str),
        ),
        seen_bytes=_get(value, "seen_bytes", int),
        writes=_get(value, "writes", int),
        tried=value.get("tried") is True,
        process=None if value.get("hands") is None else _decode_process(_get(value, "hands", dict)),
        unknown=_unknown(value, _UPDATE_FIELDS),
        began=_get(value, "began", str),
        fetched_bytes=_get(value, "fetched_bytes", int),
        resumed_bytes=_get(value, "resumed_bytes", int),
    )


def _decode_link(value: Mapping[str, Any]) -> Link:
    """The link; one that can't be used is replaced by a fresh one as soon as it is needed."""
    try:
        return Link(parse_link(_get(value, "uri", str)), _get(value, "expire", str))
    except ValueError:
        return Link("")


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
    """Read an outcome; what only people look at may be missing."""
    status = Status(_get(value, "status", str))
    if not status.is_final:
        raise ValueError(f"{status.value} is no outcome")

    def known(key: str, default: _Value) -> _Value:
        try:
            return _get(value, key, type(default))
        except ValueError:
            return default

    return Outcome(
        _identifier(value),
        status,
        at=known("at", ""),
        artifact_name=known("artifact_name", ""),
        began=known("began", ""),
        fetched_bytes=known("fetched_bytes", 0),
        resumed_bytes=known("resumed_bytes", 0),
    )


def _decode_totals(value: object) -> Mapping[str, int]:
    found = _decode_object(value)
    return MappingProxyType({key: _get(found, key, int) for key in found})


def _decode_accepted(stored: object) -> AcceptedIdentity:
    value = _decode_object(stored)
    return AcceptedIdentity(_get(value, "identity", str), _get(value, "key", str), _get(value, "key_location", str))


def _decode_new_key(stored: object) -> NewKey:
    value = _decode_object(stored)
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


def _unknown(container: Mapping[str, Any], known: tuple[str, ...]) -> Mapping[str, Any]:
    return MappingProxyType({key: value for key, value in container.items() if key not in known})
