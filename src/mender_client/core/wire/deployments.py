"""The deployments service: requests the next deployment, reports its status, sends its log."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from urllib.parse import urlencode

from mender_client import TYPE_CHECKING
from mender_client.core.model import (
    Deployment,
    Link,
    LogMessage,
    NextForm,
    Provides,
    Status,
    Token,
    is_deployment_id,
    parse_link,
)
from mender_client.core.text import printable
from mender_client.dataclass import replace
from mender_client.errors import AbortedError, RefusedLogError, ServerError, UnknownDeploymentError

from .messages import (
    MAXIMUM_BODY_BYTES,
    Reply,
    Request,
    authorized,
    error_text,
    expect_taken,
    from_json,
    json_request,
    refuse,
    to_json,
)

if TYPE_CHECKING:
    from typing import Any

DEPLOYMENTS_PATH = "/api/devices/v1/deployments/device/deployments"
NEXT_V2_PATH = "/api/devices/v2/deployments/device/deployments/next"

MOST_NEXT_REPLY_BYTES = 256 * 1024
"""The limit for a reply with a deployment, which contains a link and lists device types."""
MAXIMUM_LOG_MESSAGE = 64 * 1024
"""The limit for a log message in characters, so that the output of a program without line ends can't fill the log."""

_MOST_MESSAGES = MAXIMUM_BODY_BYTES // 64
"""No message is shorter than 64 bytes as JSON: a million empty lines must not fill the memory."""
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
"""Control characters, line ends and lone surrogates, which no name has; compiled when the first deployment comes."""


def build_next_request(token: Token, form: NextForm, provides: Provides) -> Request:
    """Ask for the next deployment.

    The device data must remain the same while a deployment is in progress: otherwise, the server answers 409 and marks
    the deployment as failed. An absent ``artifact_provides`` differs from ``{}``.
    """
    base = {"artifact_name": provides.artifact_name, "device_type": provides.device_type}
    if form is NextForm.V1_GET:
        url = f"{token.server_url}{DEPLOYMENTS_PATH}/next?{urlencode(base)}"
        request = Request("GET", url, authorized(token))
    elif form is NextForm.V1_POST:
        v1_body: dict[str, Any] = dict(base)
        if provides.others:
            v1_body["artifact_provides"] = dict(provides.others)
        request = json_request("POST", f"{token.server_url}{DEPLOYMENTS_PATH}/next", token, v1_body)
    else:
        v2_body = {"device_provides": {**provides.others, **base}}
        request = json_request("POST", token.server_url + NEXT_V2_PATH, token, v2_body)
    return replace(request, most_reply_bytes=MOST_NEXT_REPLY_BYTES)


def parse_next_reply(reply: Reply, *, now: datetime) -> Deployment | None:
    """The deployment in a 200, or None for a 204: there is none.

    Raises:
        UnauthorizedError: 401.
        ServerError: any other reply, or a 200 without a usable deployment.
    """
    what = "check for a deployment"
    if reply.status == 204:
        return None
    if reply.status != 200:
        refuse(what, reply, now=now)
    try:
        return _decode_deployment(from_json(reply.body))
    except ValueError as error:
        raise ServerError(
            "SRV02",
            f"cannot use the deployment offered by the server: {error}",
            remedy="check whether a gateway between device and server changes its replies",
            status=reply.status,
        ) from error


def _decode_deployment(document: object) -> Deployment:
    deployment = _object(document, "the reply")
    artifact = _object(deployment.get("artifact"), '"artifact"')
    source = _object(artifact.get("source"), '"artifact.source"')
    identifier = _text(deployment, "id")
    if not is_deployment_id(identifier):
        raise ValueError(f'"id" is not a deployment ID: {printable(identifier, limit=60)!r}')
    device_types = artifact.get("device_types_compatible")
    if not isinstance(device_types, list) or not all(isinstance(item, str) for item in device_types):
        raise ValueError('"artifact.device_types_compatible" is not a list of strings')
    expire = source.get("expire")
    return Deployment(
        id=identifier,
        artifact_name=_text(artifact, "artifact_name"),
        device_types=tuple(device_types),
        link=Link(parse_link(_text(source, "uri")), expire if isinstance(expire, str) else ""),
    )


def build_status_request(token: Token, deployment_id: str, status: Status) -> Request:
    """Report the status of a deployment; a status may be repeated."""
    url = f"{token.server_url}{DEPLOYMENTS_PATH}/{deployment_id}/status"
    return json_request("PUT", url, token, {"status": status.value})


def parse_status_reply(reply: Reply, status: Status, *, now: datetime) -> None:
    """Check the reply to a status: return if the server has accepted it.

    Raises:
        AbortedError: 409: the deployment was aborted.
        UnknownDeploymentError: 404 with an error from the server itself; a 404 without one may come from a gateway.
        UnauthorizedError: 401.
        ServerError: any other reply.
    """
    what = f'report the status "{status.value}"'
    if reply.status == 409:
        text = f"cannot {what} of the deployment: it was aborted on the server"
        raise AbortedError("SRV03", text, status=reply.status)
    if reply.status == 404 and error_text(reply.body):
        text = f"cannot {what} of the deployment: the server does not know it"
        raise UnknownDeploymentError("SRV08", text, status=reply.status)
    expect_taken(what, reply, now=now)


def build_log_request(token: Token, deployment_id: str, messages: Sequence[LogMessage]) -> Request:
    """Send the log of a deployment, as ``fit_log`` returned it. A second log replaces the first."""
    url = f"{token.server_url}{DEPLOYMENTS_PATH}/{deployment_id}/log"
    body = {"messages": [_log_entry(message) for message in messages]}
    return json_request("PUT", url, token, body)


def parse_log_reply(reply: Reply, *, now: datetime) -> None:
    """Check the reply to a log: return if the server has accepted it.

    Raises:
        RefusedLogError: an error from the server itself shows that it will never accept this log.
        UnauthorizedError: 401.
        ServerError: any other reply.
    """
    what = "send the deployment log"
    if reply.status in (400, 404, 409, 413, 415) and error_text(reply.body):
        text = f"cannot {what}: the server refuses it with {reply.status}{error_text(reply.body)}"
        raise RefusedLogError("DEP02", text, status=reply.status)
    expect_taken(what, reply, now=now)


def fit_log(messages: Iterable[LogMessage]) -> tuple[LogMessage, ...]:
    """The messages that the server will accept: those without an empty field, as many from the end as fit.

    The server refuses a whole log for one empty field, and for a body above 1 MiB; the end of a log says more about a
    failure than its beginning. A message that is too long is truncated, and control characters are replaced.
    """
    room = MAXIMUM_BODY_BYTES - 64
    kept: list[LogMessage] = []
    for message in map(_cut, reversed(deque((m for m in messages if m.level and m.message.strip()), _MOST_MESSAGES))):
        room -= len(to_json(_log_entry(message))) + 1
        if room < 0:
            break
        kept.append(message)
    return tuple(reversed(kept))


def _cut(message: LogMessage) -> LogMessage:
    text = printable(message.message.strip().replace("\t", " "), limit=MAXIMUM_LOG_MESSAGE)
    return message if text == message.message else replace(message, message=text)


def _log_entry(message: LogMessage) -> dict[str, str]:
    timestamp = message.timestamp.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return {"timestamp": timestamp.replace("+00:00", "Z"), "level": message.level, "message": message.message}


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def _text(container: Mapping[str, Any], key: str) -> str:
    value = container.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f'"{key}" is missing or not a string')
    if key != "uri" and (re.search(_CONTROL, value) or len(value) > 1024):
        raise ValueError(f'"{key}" contains control characters or is too long')
    return value
