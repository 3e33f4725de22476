"""The device API of a Mender server: builds requests and parses replies.

A ``Request`` goes through a ``Transport``, and its ``Reply`` to the matching ``parse_`` function, which returns values
or raises a ``ServerError`` that says what was requested.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from urllib.parse import urlencode, urlsplit

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field, replace
from mender_client.errors import AbortedError, RefusedLogError, ServerError, UnauthorizedError, UnknownDeploymentError

from .model import Attribute, Deployment, Identity, Link, LogMessage, Provides, Status, Token
from .text import printable

if TYPE_CHECKING:
    from typing import Any, NoReturn

AUTH_PATH = "/api/devices/v1/authentication/auth_requests"
INVENTORY_PATH = "/api/devices/v1/inventory/device/attributes"
DEPLOYMENTS_PATH = "/api/devices/v1/deployments/device/deployments"
NEXT_V2_PATH = "/api/devices/v2/deployments/device/deployments/next"

MAXIMUM_ATTRIBUTES = 100
MAXIMUM_ATTRIBUTE_NAME = 1024
MAXIMUM_BODY_BYTES = 1024 * 1024
"""The server's limit for an inventory and for a log; it answers 400 or 413 to a larger one and stores nothing."""
MAXIMUM_LOG_MESSAGE = 64 * 1024
"""The most characters of one log message that are sent, so that a program without line ends can't use up the log."""

_MOST_MESSAGES = MAXIMUM_BODY_BYTES // 64
"""No message is shorter than 64 bytes as JSON: a million empty lines must not fill the memory."""

MOST_REPLY_BYTES = 64 * 1024
"""The most that a reply may have; parsed, JSON takes up to 25 times as much memory."""
MOST_NEXT_REPLY_BYTES = 256 * 1024
"""The same for a deployment, which holds a link and lists device types."""
MOST_SECONDS_BY_OUR_CLOCK = 3600.0
"""The longest wait until a date that is compared with this device's clock."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN_HTTP = re.compile(rb"plain HTTP|HTTP request to an HTTPS server")
"""What nginx, Apache and Go's servers say to a client that speaks http to a port for https."""
_DEPLOYMENT_ID = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line ends and lone surrogates, which no name has."""
_JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Attributes:
        method: the HTTP method.
        url: the whole address.
        headers: the headers; they may hold the token, so they don't print.
        body: the body, empty for none.
        most_reply_bytes: how long the body of the reply may be.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    most_reply_bytes: int = field(default=MOST_REPLY_BYTES, repr=False)


@dataclass(frozen=True)
class Reply:
    """One HTTP reply; header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


class NextForm(Enum):
    """The three forms of an update poll, newest first; after a 404 or 405 the next one is tried."""

    V2_POST = "v2 POST"
    V1_POST = "v1 POST"
    V1_GET = "v1 GET"

    @property
    def fallback(self) -> NextForm | None:
        """The form to try on a server that does not support this one."""
        return {NextForm.V2_POST: NextForm.V1_POST, NextForm.V1_POST: NextForm.V1_GET}.get(self)


def is_deployment_id(text: str) -> bool:
    """Whether a text can be a deployment ID: safe as part of a path, of a URL and of a log line."""
    return _DEPLOYMENT_ID.fullmatch(text) is not None


# -- authentication ----------------------------------------------------------------------------------------


def build_auth_body(identity: Identity, public_key_pem: str, tenant_token: str = "") -> bytes:
    """The body of an authentication request; exactly these bytes must be signed.

    Args:
        identity: of this device.
        public_key_pem: its public key, PEM SubjectPublicKeyInfo.
        tenant_token: the organisation's token; left out when empty.
    """
    body = {"id_data": identity.id_data, "pubkey": public_key_pem}
    if tenant_token:
        body["tenant_token"] = tenant_token
    return _to_json(body)


def build_auth_request(server_url: str, body: bytes, signature: bytes) -> Request:
    """The authentication request with the signature of its body."""
    signed = {"Authorization": "API_KEY", "X-MEN-Signature": base64.b64encode(signature).decode("ascii")}
    return Request("POST", server_url + AUTH_PATH, {**_JSON_HEADERS, **signed}, body)


def parse_auth_reply(reply: Reply, server_url: str, *, now: datetime) -> Token:
    """The token of a 200.

    Raises:
        UnauthorizedError: 401: pending, rejected, unknown or decommissioned; the server does not say which.
        ServerError: any other reply.
    """
    what = "authorise this device"
    if reply.status != 200:
        _refuse(what, reply, now=now)
    try:
        value = reply.body.decode("ascii").strip()
    except UnicodeDecodeError:
        value = ""
    if not re.fullmatch(r"[\x21-\x7e]{1,16384}", value):
        raise ServerError(
            "SRV01",
            f"cannot {what}: the server's reply holds no token",
            remedy="check that a Mender server answers at ServerURL",
            status=reply.status,
        )
    return Token(value, server_url)


# -- deployments -------------------------------------------------------------------------------------------


def build_next_request(token: Token, form: NextForm, provides: Provides) -> Request:
    """Ask for the next deployment.

    The device data must stay the same while a deployment is in progress: to other data the server answers 409 and
    marks the deployment as failed. An absent ``artifact_provides`` differs from ``{}``.
    """
    base = {"artifact_name": provides.artifact_name, "device_type": provides.device_type}
    if form is NextForm.V1_GET:
        url = f"{token.server_url}{DEPLOYMENTS_PATH}/next?{urlencode(base)}"
        request = Request("GET", url, _authorized(token))
    elif form is NextForm.V1_POST:
        v1_body: dict[str, Any] = dict(base)
        if provides.others:
            v1_body["artifact_provides"] = dict(provides.others)
        request = _json_request("POST", f"{token.server_url}{DEPLOYMENTS_PATH}/next", token, v1_body)
    else:
        v2_body = {"device_provides": {**provides.others, **base}}
        request = _json_request("POST", token.server_url + NEXT_V2_PATH, token, v2_body)
    return replace(request, most_reply_bytes=MOST_NEXT_REPLY_BYTES)


def parse_next_reply(reply: Reply, *, now: datetime) -> Deployment | None:
    """The deployment of a 200, or None for a 204: nothing to do.

    Raises:
        UnauthorizedError: 401.
        ServerError: any other reply, or a 200 that holds no usable deployment.
    """
    what = "ask for a deployment"
    if reply.status == 204:
        return None
    if reply.status != 200:
        _refuse(what, reply, now=now)
    try:
        return _decode_deployment(_from_json(reply.body))
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


def parse_link(uri: str) -> str:
    """Check that a URL can be fetched from.

    Raises:
        ValueError: it is not an http or https URL with a host, or holds characters that no URL has.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,65536}", uri):
        raise ValueError("the link to the Artifact holds invalid characters")
    try:
        parts = urlsplit(uri)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:  # a malformed IPv6 host or port; the text of the error would repeat the link
        is_usable = False
    if not is_usable:
        raise ValueError("the link to the Artifact is not an http or https URL")
    return uri


def build_status_request(token: Token, deployment_id: str, status: Status) -> Request:
    """Report the status of a deployment; a status may be repeated."""
    url = f"{token.server_url}{DEPLOYMENTS_PATH}/{deployment_id}/status"
    return _json_request("PUT", url, token, {"status": status.value})


def parse_status_reply(reply: Reply, status: Status, *, now: datetime) -> None:
    """Accept the answer to a status that the server has taken; any other one may be a gateway's.

    Raises:
        AbortedError: 409: stop this deployment.
        UnknownDeploymentError: 404 with the server's own error.
        UnauthorizedError: 401.
        ServerError: any other reply.
    """
    what = f'report the status "{status.value}"'
    if reply.status == 409:
        text = f"cannot {what} of the deployment: it was aborted on the server"
        raise AbortedError("SRV03", text, status=reply.status)
    if reply.status == 404 and _error_text(reply.body):
        text = f"cannot {what} of the deployment: the server does not know it (any more)"
        raise UnknownDeploymentError("SRV08", text, status=reply.status)
    _expect_taken(what, reply, now=now)


def build_log_request(token: Token, deployment_id: str, messages: Sequence[LogMessage]) -> Request:
    """Send the log of a deployment, as ``fit_log`` returned it. A second log replaces the first."""
    url = f"{token.server_url}{DEPLOYMENTS_PATH}/{deployment_id}/log"
    body = {"messages": [_log_entry(message) for message in messages]}
    return _json_request("PUT", url, token, body)


def parse_log_reply(reply: Reply, *, now: datetime) -> None:
    """Accept the answer to a log that the server has taken.

    Raises:
        RefusedLogError: the server's own error says that it never takes this log.
        UnauthorizedError: 401.
        ServerError: any other reply.
    """
    what = "send the deployment log"
    if reply.status in (400, 404, 409, 413, 415) and _error_text(reply.body):
        text = f"cannot {what}: the server refuses it with {reply.status}{_error_text(reply.body)}"
        raise RefusedLogError("DEP02", text, status=reply.status)
    _expect_taken(what, reply, now=now)


def fit_log(messages: Iterable[LogMessage]) -> tuple[LogMessage, ...]:
    """The messages that the server will accept: none with an empty field, and of the rest the tail that fits.

    The server refuses a whole log for one empty field, and for a body above 1 MiB; the end of a log says more about a
    failure than its beginning. A message that is too long is cut, and control characters are replaced.
    """
    room = MAXIMUM_BODY_BYTES - 64
    kept: list[LogMessage] = []
    for message in map(_cut, reversed(deque((m for m in messages if m.level and m.message.strip()), _MOST_MESSAGES))):
        room -= len(_to_json(_log_entry(message))) + 1
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


# -- inventory ---------------------------------------------------------------------------------------------


def fit_inventory(attributes: Iterable[Attribute]) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """The attributes that the server will accept, and the names of those left out.

    The server stores nothing at all when a limit is exceeded: 100 attributes, 1 MiB, names of 1 to 1024 bytes without
    a NUL. The first attributes are kept.
    """
    kept: list[Attribute] = []
    left_out: list[str] = []
    room = MAXIMUM_BODY_BYTES - 2
    for attribute in attributes:
        size = len(_to_json(_attribute_entry(attribute))) + 1
        if len(kept) < MAXIMUM_ATTRIBUTES and _is_attribute_name(attribute.name) and size <= room:
            kept.append(attribute)
            room -= size
        else:
            left_out.append(attribute.name)
    return tuple(kept), tuple(left_out)


def _is_attribute_name(name: str) -> bool:
    return 1 <= len(name.encode("utf-8", "replace")) <= MAXIMUM_ATTRIBUTE_NAME and "\0" not in name


def build_inventory_request(token: Token, attributes: Sequence[Attribute]) -> Request:
    """Send the whole inventory; it replaces the one on the server."""
    body = [_attribute_entry(attribute) for attribute in attributes]
    return _json_request("PUT", token.server_url + INVENTORY_PATH, token, body)


def parse_inventory_reply(reply: Reply, *, now: datetime) -> None:
    """Accept the answer to an inventory that the server has taken.

    Raises:
        UnauthorizedError: 401.
        ServerError: any other reply.
    """
    _expect_taken("send the inventory", reply, now=now)


def _attribute_entry(attribute: Attribute) -> dict[str, object]:
    value = attribute.value
    return {"name": attribute.name, "value": value if isinstance(value, str) else list(value)}


# -- what they share ---------------------------------------------------------------------------------------


def parse_retry_after(value: str, *, now: datetime, date: str = "") -> float | None:
    """Seconds to wait by a ``Retry-After`` header: a number of seconds or an HTTP date (RFC 9110, 10.2.3).

    Args:
        value: the header.
        now: by this device's clock, which may be wrong.
        date: the ``Date`` of the same reply, with which a date is compared. Without it, an hour is the most.

    Returns:
        None when it is neither: then the client's own back-off applies.
    """
    text = value.strip()
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return float(text)
    until, said = _parse_date(text), _parse_date(date)
    if until is None:
        return None
    seconds = max((until - (said or now)).total_seconds(), 0.0)
    return seconds if said is not None else min(seconds, MOST_SECONDS_BY_OUR_CLOCK)


def _parse_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        return date if date.utcoffset() is not None else None
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _expect_taken(what: str, reply: Reply, *, now: datetime) -> None:
    """Raise unless a request was taken: by a 2xx without a body or with a JSON one, which no captive portal sends."""
    if not 200 <= reply.status < 300:
        _refuse(what, reply, now=now)
    try:
        if reply.body.strip():
            _from_json(reply.body)
    except ValueError as error:
        raise ServerError(
            "SRV09",
            f"cannot {what}: the answer {reply.status} is not a Mender server's",
            remedy="check whether a gateway or a captive portal between device and server answers in its place",
            status=reply.status,
        ) from error


def _refuse(what: str, reply: Reply, *, now: datetime) -> NoReturn:
    """Raise what a reply means that is not the one asked for."""
    status = reply.status
    if status in REDIRECTS and (location := reply.headers.get("location", "")):
        raise ServerError(
            "SRV04",
            f"cannot {what}: the server answered {status} and redirects to {_origin(location)}, where the token must "
            "not go",
            remedy="set ServerURL to the address at which the server answers",
            status=status,
        )
    if status == 400 and _PLAIN_HTTP.search(reply.body):
        raise ServerError(
            "SRV05",
            f"cannot {what}: the server answered {status}, because it expects TLS on this port",
            remedy="write https instead of http in ServerURL",
            status=status,
        )
    reason = _error_text(reply.body)
    headers = reply.headers
    retry_after = parse_retry_after(headers.get("retry-after", ""), now=now, date=headers.get("date", ""))
    if status == 401:
        raise UnauthorizedError(
            "SRV06",
            f"cannot {what}: the server answered {status}{reason}",
            status=status,
            retry_after_seconds=retry_after,
        )
    raise ServerError(
        "SRV07",
        f"cannot {what}: the server answered {status}{reason}",
        remedy="see the server's log; the client tries again by itself",
        status=status,
        retry_after_seconds=retry_after,
    )


def _origin(location: str) -> str:
    """Where a redirect leads, without its path and query; they may hold a secret."""
    try:
        parts = urlsplit(parse_link(location))
    except ValueError:
        return "another address"
    return printable(f"{parts.scheme}://{parts.netloc}")


def _error_text(body: bytes) -> str:
    """The reason that the server gives, in parentheses; empty when it gives none."""
    try:
        document = _from_json(body)
    except ValueError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return f" ({printable(error)})" if isinstance(error, str) and error else ""


def _authorized(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.value}"}


def _json_request(method: str, url: str, token: Token, document: object) -> Request:
    headers = {**_authorized(token), "Content-Type": "application/json"}
    return Request(method, url, headers, _to_json(document))


def _to_json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _from_json(body: bytes) -> object:
    """Parse JSON; raises only ValueError."""
    try:
        document: object = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is not JSON") from None
    return document


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def _text(container: Mapping[str, Any], key: str) -> str:
    value = container.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f'"{key}" is missing or not a string')
    if key != "uri" and (_CONTROL.search(value) or len(value) > 1024):
        raise ValueError(f'"{key}" holds control characters or is too long')
    return value
