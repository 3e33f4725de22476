"""Decoding of what devices send about a deployment: polls, statuses, logs.

Error messages are those of the real server, where it has its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from mender_client.errors import ServerError
from mender_devserver.deployments import REPORTABLE, SERVER_ONLY, Poll
from mender_devserver.messages import as_object, json_kind, load_object

LONGEST_SUBSTATE = 200
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def read_poll_query(query: str) -> Poll:
    """The v1 GET form: ``?artifact_name=…&device_type=…``."""
    fields = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    return _poll(fields.get("artifact_name"), fields.get("device_type"), None)


def read_poll_v1(body: bytes) -> Poll:
    """The v1 POST form: name and type at the top, everything else under ``artifact_provides``."""
    fields = load_object(body, "invalid schema: ")
    return _poll(fields.get("artifact_name"), fields.get("device_type"), fields.get("artifact_provides"))


def read_poll_v2(body: bytes) -> Poll:
    """The v2 form: everything in ``device_provides``."""
    fields = dict(as_object(load_object(body, "invalid schema: ").get("device_provides"), "invalid schema: "))
    name, device_type = fields.pop("artifact_name", None), fields.pop("device_type", None)
    return _poll(name, device_type, fields or None)


def _poll(name: object, device_type: object, provides: object) -> Poll:
    given = {"artifact_name": name, "device_type": device_type}
    for field, value in given.items():
        if value is not None and not isinstance(value, str):
            raise ServerError(f"invalid schema: json: cannot unmarshal field {field}: not a string", status=400)
    blank = [f"{field}: cannot be blank" for field, value in given.items() if not value]
    if blank:
        raise ServerError("; ".join(blank) + ".", status=400)
    return Poll(str(name), str(device_type), None if provides is None else _provides(provides))


def _provides(provides: object) -> tuple[tuple[str, str], ...]:
    pairs = as_object(provides, "invalid schema: ").items()
    for field, value in pairs:
        if not isinstance(value, str):
            raise ServerError(f"invalid schema: json: cannot unmarshal field {field}: not a string", status=400)
    return tuple(sorted(pairs))


def read_status(body: bytes) -> str:
    """Decode a status report.

    Raises:
        ServerError: 400; 500 for a status that is missing or null, a flaw of the real server.
    """
    fields = load_object(body)
    status, substate = fields.get("status"), fields.get("substate") or ""
    if status is None:
        raise ServerError("internal error", status=500)
    if not isinstance(status, str) or not isinstance(substate, str):
        wrong = status if not isinstance(status, str) else substate
        raise ServerError(f"json: cannot unmarshal {json_kind(wrong)} into a status report", status=400)
    if status in SERVER_ONLY:
        raise ServerError("status: must be a valid value.", status=400)
    if status not in REPORTABLE:
        raise ServerError(f"invalid status for device '{status}'", status=400)
    if len(substate) > LONGEST_SUBSTATE:
        raise ServerError(f"substate: the length must be no more than {LONGEST_SUBSTATE}.", status=400)
    return status


def read_log(body: bytes) -> list[dict[str, Any]]:
    """Decode a log upload.

    Raises:
        ServerError: 400; one invalid message makes the whole log invalid.
    """
    messages = load_object(body).get("messages")
    if not messages:
        raise ServerError("no messages: invalid deployment log", status=400)
    if not isinstance(messages, list):
        raise ServerError(f"json: cannot unmarshal {json_kind(messages)} into a list of messages", status=400)
    return [_log_message(as_object(one)) for one in messages]


def _log_message(message: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: message.get(name) for name in ("level", "message", "timestamp")}
    for name, value in fields.items():
        if value is not None and not isinstance(value, str):
            raise ServerError(f"json: cannot unmarshal {json_kind(value)} into {name} of a message", status=400)
    timestamp = fields["timestamp"]
    if timestamp is not None and not _RFC3339.fullmatch(timestamp):
        raise ServerError(f'parsing time "{timestamp}" as "2006-01-02T15:04:05Z07:00": cannot parse', status=400)
    blank = [f"{name}: cannot be blank" for name, value in fields.items() if not value]
    if blank:
        raise ServerError("; ".join(blank) + ".", status=400)
    return fields
