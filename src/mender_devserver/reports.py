"""Decodes what devices send about a deployment: polls, statuses and logs.

Error messages are those of the real server where it defines its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from mender_client.errors import ServerError
from mender_devserver.deployments import REPORTABLE, SERVER_ONLY, Poll
from mender_devserver.messages import as_object, as_text, json_kind, load_object, pick, size_of
from mender_devserver.timestamps import check_timestamp

LONGEST_SUBSTATE_BYTES = 200
LONGEST_NAME_BYTES = 4096
_SCHEMA = "invalid schema: "
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def read_poll_query(query: str) -> Poll:
    """The v1 GET form: ``?artifact_name=…&device_type=…``."""
    fields = _query_fields(query)
    return _poll(fields.get("artifact_name", ""), fields.get("device_type", ""), None)


def _query_fields(query: str) -> dict[str, str]:
    """The fields of a query. As in Go, invalid escapes and semicolons drop a field, and the first duplicate counts."""
    fields: dict[str, str] = {}
    for pair in query.split("&"):
        if ";" not in pair and not _BAD_ESCAPE.search(pair):
            name, _, value = pair.partition("=")
            fields.setdefault(unquote_plus(name), unquote_plus(value))
    return fields


def read_poll_v1(body: bytes) -> Poll:
    """The v1 POST form: name and type at the top level, everything else under ``artifact_provides``."""
    fields = pick(load_object(body, _SCHEMA), "artifact_name", "device_type", "artifact_provides")
    name, device_type = (as_text(fields[one], _SCHEMA) for one in ("artifact_name", "device_type"))
    return _poll(name, device_type, fields["artifact_provides"])


def read_poll_v2(body: bytes) -> Poll:
    """The v2 form: everything in ``device_provides``."""
    fields = dict(as_object(pick(load_object(body, _SCHEMA), "device_provides")["device_provides"], _SCHEMA))
    name, device_type = (as_text(fields.pop(one, None), _SCHEMA) for one in ("artifact_name", "device_type"))
    return _poll(name, device_type, fields or None)


def _poll(name: str, device_type: str, provides: object) -> Poll:
    given = {"artifact_name": name, "device_type": device_type}
    if problems := [f"{field}: {problem}" for field, text in given.items() if (problem := _name_problem(text))]:
        raise ServerError("; ".join(problems) + ".", status=400)
    return Poll(name, device_type, None if provides is None else _provides(provides))


def _name_problem(text: str) -> str:
    if not text:
        return "cannot be blank"
    return f"the length must be between 1 and {LONGEST_NAME_BYTES}" if size_of(text) > LONGEST_NAME_BYTES else ""


def _provides(provides: object) -> tuple[tuple[str, str], ...]:
    pairs = as_object(provides, _SCHEMA).items()
    return tuple(sorted((name, as_text(value, _SCHEMA)) for name, value in pairs))


def read_status(body: bytes) -> str:
    """Decode a status report.

    Returns:
        the status; empty if it is missing or null, which the real server detects only later.

    Raises:
        ServerError: 400.
    """
    fields = pick(load_object(body), "status", "substate")
    substate = as_text(fields["substate"])
    if fields["status"] is None:
        status = ""
    elif (status := as_text(fields["status"])) not in REPORTABLE | SERVER_ONLY:
        raise ServerError(f"invalid status for device '{status}'", status=400)
    problems = ["status: must be a valid value"] if status in SERVER_ONLY else []
    if size_of(substate) > LONGEST_SUBSTATE_BYTES:
        problems.append(f"substate: the length must be no more than {LONGEST_SUBSTATE_BYTES}")
    if problems:
        raise ServerError("; ".join(problems) + ".", status=400)
    return status


def read_log(body: bytes) -> list[dict[str, Any]]:
    """Decode a log upload.

    Raises:
        ServerError: 400; one invalid message makes the whole log invalid.
    """
    messages = pick(load_object(body), "messages")["messages"]
    if not messages and isinstance(messages, (list, type(None))):
        raise ServerError("no messages: invalid deployment log", status=400)
    if not isinstance(messages, list):
        raise ServerError(f"json: cannot unmarshal {json_kind(messages)} into a list of messages", status=400)
    return [_log_message(as_object(one)) for one in messages]


def _log_message(message: Mapping[str, Any]) -> dict[str, Any]:
    fields = pick(message, "level", "message", "timestamp")
    texts = {name: as_text(fields[name]) for name in ("level", "message")}
    texts["timestamp"] = "" if fields["timestamp"] is None else check_timestamp(fields["timestamp"])
    if blank := [f"{name}: cannot be blank" for name, text in texts.items() if not text]:
        raise ServerError("; ".join(blank) + ".", status=400)
    return texts
