"""The record as a JSON document with a schema version.

Messages and outcomes are decoded individually, so that an unknown one doesn't invalidate the others. Whatever this
version doesn't understand, even an update, is preserved verbatim for the version that wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType

from mender_client import TYPE_CHECKING
from mender_client.dataclass import fields, is_dataclass

from .client_status import filled
from .gates import GatePoint
from .holding import Decision, DecisionKind, Decisions, Waiting
from .machine import ENDS, TRANSITIONS, Flow, Result, State
from .model import (
    AcceptedIdentity,
    Link,
    NewKey,
    NextForm,
    Provides,
    Software,
    Status,
    is_deployment_id,
    parse_link,
)
from .record import Message, MessageKind, Outcome, Record, Unread
from .resume import RemoteObject
from .standalone import Position, StandaloneUpdate
from .update import ProcessRef, Update

if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Value = TypeVar("_Value")

SCHEMA = 1
"""The schema version that is written; documents of later versions are read as far as they are understood."""

_STORED_STATES = {State.VERIFIED: "proven", State.INSTALLING: "in-hands", State.RECONCILING: "settling"}
"""States that version 1.0.0 stored under another name: it is kept so that 1.0.0 can read the file after a rollback."""
_STATES = {_STORED_STATES.get(state, state.value): state for state in State}

_STORED_FIELDS = {"remote_object": "promise", "process": "hands"}
"""Fields that version 1.0.0 stored under another name."""

_ADDED: Mapping[str, Any] = {
    "flow": Flow.HANDOVER.value, "device_types": [], "link": {}, "began": "", "fetched_bytes": 0, "resumed_bytes": 0,
    "reused_bytes": 0, "done_bytes": 0, "not_adaptive": "", "payload_type": "",
    "result": Result.CLEAN.value, "reboot": "", "reason": "", "closed_since": {},
}  # fmt: skip
"""Fields that documents of early versions lack, with their defaults."""


def encode_record(record: Record) -> dict[str, Any]:
    """The record as a JSON object."""
    unread = record.unread
    known: dict[str, Any] = {
        "outbox": [*unread.outbox, *map(_encode, record.outbox)],
        "outcomes": [*unread.outcomes, *map(_encode, record.outcomes)],
        "totals": _encode(record.totals),
    }
    for name in ("accepted", "new_key", "identity_change", "software", "standalone", "decisions"):
        if value := getattr(record, name):
            known[name] = _encode(value)
    return {
        **record.unknown,
        **unread.fields,
        "schema": SCHEMA,
        "update": unread.update if record.update is None else {**record.update.unknown, **_encode(record.update)},
        # a value that can't be read is kept until there is one to replace it
        **{key: value for key, value in known.items() if value or key not in unread.fields},
    }


def _encode(value: Any) -> Any:
    """A value as JSON: dataclasses by their fields, enums by their values."""
    if is_dataclass(value):
        return {stored: _encode(getattr(value, name)) for name, stored in _stored_fields(value)}
    if isinstance(value, State):
        return _STORED_STATES.get(value, value.value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return [_encode(one) for one in value] if isinstance(value, tuple) else value


def _stored_fields(of: Any) -> list[tuple[str, str]]:
    """The fields of a dataclass and their names in the document."""
    names = [one.name for one in fields(of) if one.name not in ("unknown", "unread")]
    return [(name, _STORED_FIELDS.get(name, name)) for name in names]


def decode_record(document: object) -> Record:
    """Decode a record; what isn't understood goes to its ``unread``.

    Raises:
        ValueError: it is not a JSON object.
    """
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
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
        unknown=_unknown(document, Record, "schema"),
        totals=_read(document, "totals", _decode_totals, unread) or {},
        software=_read(document, "software", _decode_software, unread),
        standalone=_read(document, "standalone", _decode_standalone, unread),
        decisions=_read(document, "decisions", _decode_decisions, unread),
        unread=Unread(unread.pop("update", None), unread_messages, unread_outcomes, MappingProxyType(unread)),
    )


def _read(
    document: Mapping[str, Any], key: str, decode: Callable[[Any], _Value], unread: dict[str, object]
) -> _Value | None:
    """Decode a field that may be absent; one that isn't understood goes to ``unread``."""
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
    """The entries of a list that are understood, and the others."""
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
        raise ValueError("it is not a list")
    return value


def _decode_object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value


def _decode_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not a string")
    return value


def _decode_update(stored: object) -> Update:
    """Decode the update in progress, which can be continued only if all its fields are understood."""
    value = {**_ADDED, **_decode_object(stored)}
    state_name = _get(value, "state", str)
    state = _STATES.get(state_name) or State(state_name)
    if state in ENDS:
        raise ValueError("an update that is over is not kept")
    flow = Flow(_get(value, "flow", str))
    if state not in TRANSITIONS[flow]:
        raise ValueError("the flow has no such state")
    remote_object = _get(value, "promise", dict)
    return Update(
        deployment_id=_identifier(value),
        artifact_name=_get(value, "artifact_name", str),
        state=state,
        since=_get(value, "since", str),
        provides=_decode_provides(_get(value, "provides", dict)),
        form=NextForm(_get(value, "form", str)),
        flow=flow,
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
        unknown=_unknown(value, Update),
        began=_get(value, "began", str),
        fetched_bytes=_get(value, "fetched_bytes", int),
        resumed_bytes=_get(value, "resumed_bytes", int),
        reused_bytes=_get(value, "reused_bytes", int),
        done_bytes=_get(value, "done_bytes", int),
        not_adaptive=_get(value, "not_adaptive", str),
        payload_type=_get(value, "payload_type", str),
        software=None if value.get("software") is None else _decode_software(value["software"]),
        result=Result(_get(value, "result", str)),
        reboot=_get(value, "reboot", str),
        reason=_get(value, "reason", str),
        waiting=_read(value, "waiting", _decode_waiting, {}),
        decisions=_read(value, "decisions", _decode_decisions, {}),
        closed_since={key: _decode_text(one) for key, one in _get(value, "closed_since", dict).items()},
    )


def _decode_link(value: Mapping[str, Any]) -> Link:
    """Decode the link; an unusable one is treated as missing, and is replaced when it is needed."""
    try:
        return Link(parse_link(_get(value, "uri", str)), _get(value, "expire", str))
    except ValueError:
        return Link("")


def _decode_software(stored: object) -> Software:
    value = _decode_object(stored)
    provides = _get(value, "provides", dict)
    return Software(
        _get(value, "artifact_name", str),
        MappingProxyType({key: _get(provides, key, str) for key in provides}),
        tuple(_decode_text(one) for one in _get(value, "clears", list)),
        _get({"seen_name": "", **value}, "seen_name", str),
    )


def _decode_standalone(stored: object) -> StandaloneUpdate:
    value = _decode_object(stored)
    return StandaloneUpdate(
        _get(value, "payload_type", str),
        _decode_software(value.get("software")),
        Position(_get(value, "position", str)),
        _get(value, "since", str),
        Result(_get(value, "result", str)),
    )


def _decode_decisions(stored: object) -> Decisions:
    value = _decode_object(stored)
    approvals = _get(value, "approvals", list)
    return Decisions(
        None if value.get("hold") is None else _decode_decision(value["hold"]),
        tuple(_decode_decision(one) for one in approvals),
    )


def _decode_decision(stored: object) -> Decision:
    value = _decode_object(stored)
    return Decision(
        DecisionKind(_get(value, "kind", str)),
        _get(value, "by", str),
        _get(value, "at", str),
        _get(value, "reason", str),
        _get(value, "until", str),
        None if value.get("point") is None else GatePoint(_get(value, "point", str)),
    )


def _decode_waiting(stored: object) -> Waiting:
    value = _decode_object(stored)
    return filled(Waiting(GatePoint(_get(value, "point", str)), "", ""), value)


def _decode_provides(value: Mapping[str, Any]) -> Provides:
    others = _get(value, "others", dict)
    checked = MappingProxyType({key: _get(others, key, str) for key in others})
    return Provides(_get(value, "device_type", str), _get(value, "artifact_name", str), checked)


def _decode_process(value: Mapping[str, Any]) -> ProcessRef:
    return ProcessRef(_get(value, "pid", int), _get(value, "boot_id", str), _get(value, "start_time", int))


def _decode_message(value: Mapping[str, Any]) -> Message:
    kind = MessageKind(_get(value, "kind", str))
    status = Status(_get(value, "status", str)) if kind is MessageKind.STATUS else None
    return Message(_identifier(value), kind, status, _get({"refused_hours": 0, **value}, "refused_hours", int))


def _decode_outcome(value: Mapping[str, Any]) -> Outcome:
    """Decode an outcome; only the deployment and the status are required."""
    status = Status(_get(value, "status", str))
    if not status.is_final:
        raise ValueError(f"{status.value} is not an outcome")

    return filled(Outcome(_identifier(value), status), value)


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
    """The deployment ID; it becomes part of URLs and of the sub-updater's environment."""
    value = _get(container, "deployment_id", str)
    if not is_deployment_id(value):
        raise ValueError('"deployment_id" is not a deployment ID')
    return value


def _unknown(container: Mapping[str, Any], of: type[Record | Update], *others: str) -> Mapping[str, Any]:
    known = {*others, *(stored for _, stored in _stored_fields(of))}
    return MappingProxyType({key: value for key, value in container.items() if key not in known})
