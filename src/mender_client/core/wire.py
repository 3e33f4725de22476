"""The device API of a Mender server: requests are built and replies are read here, as bytes and values.

No sockets: a ``Request`` goes to whatever ``Transport`` there is, and its ``Reply`` comes back to the matching
``parse_`` function, which returns values or raises a ``ServerError`` that says what was asked.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

from mender_client.errors import AbortedError, ServerError, UnauthorizedError

from .model import Attribute, Deployment, Identity, Link, LogMessage, Provides, Status, Token
from .text import has_control, printable

AUTH_PATH = "/api/devices/v1/authentication/auth_requests"
INVENTORY_PATH = "/api/devices/v1/inventory/device/attributes"
DEPLOYMENTS_PATH = "/api/devices/v1/deployments/device/deployments"
NEXT_V2_PATH = "/api/devices/v2/deployments/device/deployments/next"

MAXIMUM_ATTRIBUTES = 100
MAXIMUM_ATTRIBUTE_NAME = 1024
MAXIMUM_BODY_BYTES = 1024 * 1024
"""The server's limit for an inventory and for a log; above it answers 400 or 413 and stores nothing."""
MAXIMUM_LOG_MESSAGE = 64 * 1024
"""The most characters of one log message that are sent; a program that prints no line ends must not use up the log."""

_MOST_MESSAGES = MAXIMUM_BODY_BYTES // 64
"""No message takes less room than that, however short it is: a million empty lines must not fill the memory."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN_HTTP = re.compile(rb"plain HTTP|HTTP request to an HTTPS server")
"""What nginx, Apache and Go's servers say to a client that speaks http to a port for https."""
_DEPLOYMENT_ID = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
_FINAL_REFUSALS = {
    400: "the server calls the request malformed",
    404: "the server doesn't know it (any more)",
    405: "the server doesn't take this request",
    409: "the server aborted it",
    413: "the server calls the request too large",
    415: "the server doesn't take this form of request",
}
_JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: the HTTP method.
        url: the whole address.
        headers: the headers; they may hold the token, so they don't print.
        body: the body, empty for none.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply; header names are lower-case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


class NextForm(Enum):
    """The three ways to ask for a deployment, newest first; a 404 or 405 means: try the one after it."""

    V2_POST = "v2 POST"
    V1_POST = "v1 POST"
    V1_GET = "v1 GET"

    @property
    def fallback(self) -> NextForm | None:
        """The form to try on a server that doesn't know this one."""
        forms = list(NextForm)
        position = forms.index(self) + 1
        return forms[position] if position < len(forms) else None


def is_deployment_id(text: str) -> bool:
    """Whether a text can be a deployment's id: safe as part of a path, of an address and of a log line."""
    return _DEPLOYMENT_ID.fullmatch(text) is not None


# -- authentication ----------------------------------------------------------------------------------------


def build_auth_body(identity: Identity, public_key_pem: str, tenant_token: str = "") -> bytes:
    """The body of an authorisation request; exactly these bytes are to be signed.

    Args:
        identity: who this device is.
        public_key_pem: its public key, PEM SubjectPublicKeyInfo.
        tenant_token: the organisation's token; left out when empty.
    """
    body = {"id_data": identity.id_data, "pubkey": public_key_pem}
    if tenant_token:
        body["tenant_token"] = tenant_token
    return _to_json(body)


def build_auth_request(server_url: str, body: bytes, signature: bytes) -> Request:
    """The authorisation request with the signature over its body."""
    headers = {
        **_JSON_HEADERS,
        "Authorization": "API_KEY",
        "X-MEN-Signature": base64.b64encode(signature).decode("ascii"),
    }
    return Request("POST", server_url + AUTH_PATH, headers, body)


def parse_auth_reply(reply: Reply, server_url: str, *, now: datetime) -> Token:
    """The token of a 200.

    Raises:
        UnauthorizedError: pending, rejected, unknown, decommissioned: the server doesn't say which.
        ServerError: anything else.
    """
    what = "authorise this device"
    if reply.status != 200:
        _refuse(what, reply, now=now)
    try:
        value = reply.body.decode("ascii").strip()
    except UnicodeDecodeError:
        value = ""
    if not re.fullmatch(r"[\x21-\x7e]{1,16384}", value):
        raise ServerError(f"cannot {what}: the server's answer holds no token", status=reply.status)
    return Token(value, server_url)


# -- deployments -------------------------------------------------------------------------------------------


def build_next_request(token: Token, form: NextForm, provides: Provides) -> Request:
    """Ask for the next deployment.

    The same device data must be sent for as long as a deployment lasts: a server that is asked with other data
    answers 409 and marks the deployment as failed. An absent ``artifact_provides`` differs from ``{}``.
    """
    base = {"artifact_name": provides.artifact_name, "device_type": provides.device_type}
    if form is NextForm.V1_GET:
        url = f"{token.server_url}{DEPLOYMENTS_PATH}/next?{urlencode(base)}"
        return Request("GET", url, _authorized(token))
    if form is NextForm.V1_POST:
        v1_body: dict[str, Any] = dict(base)
        if provides.others:
            v1_body["artifact_provides"] = dict(provides.others)
        return _json_request("POST", f"{token.server_url}{DEPLOYMENTS_PATH}/next", token, v1_body)
    v2_body = {"device_provides": {**provides.others, **base}}
    return _json_request("POST", token.server_url + NEXT_V2_PATH, token, v2_body)


def parse_next_reply(reply: Reply, *, now: datetime) -> Deployment | None:
    """The deployment of a 200, or None for a 204: nothing to do.

    Raises:
        UnauthorizedError: 401.
        ServerError: anything else, also a 200 that holds no usable deployment.
    """
    what = "ask for a deployment"
    if reply.status == 204:
        return None
    if reply.status != 200:
        _refuse(what, reply, now=now)
    try:
        return _decode_deployment(_from_json(reply.body))
    except ValueError as error:
        raise ServerError(f"cannot use the offered deployment: {error}", status=reply.status) from error


def _decode_deployment(document: object) -> Deployment:
    deployment = _object(document, "the answer")
    artifact = _object(deployment.get("artifact"), '"artifact"')
    source = _object(artifact.get("source"), '"artifact.source"')
    identifier = _text(deployment, "id")
    if not is_deployment_id(identifier):
        raise ValueError(f'"id" is no deployment id: {printable(identifier, limit=60)!r}')
    device_types = artifact.get("device_types_compatible")
    if not isinstance(device_types, list) or not all(isinstance(item, str) for item in device_types):
        raise ValueError('"artifact.device_types_compatible" is no list of strings')
    expire = source.get("expire")
    return Deployment(
        id=identifier,
        artifact_name=_text(artifact, "artifact_name"),
        device_types=tuple(device_types),
        link=Link(parse_link(_text(source, "uri")), expire if isinstance(expire, str) else ""),
    )


def parse_link(uri: str) -> str:
    """Check that an address can be fetched from.

    Raises:
        ValueError: it is no http or https address with a host, or holds characters that no address has.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,65536}", uri):
        raise ValueError("the link to the Artifact holds characters that no address has")
    try:
        parts = urlsplit(uri)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:  # a broken IPv6 host or port; its text would repeat what stands in the link
        is_usable = False
    if not is_usable:
        raise ValueError("the link to the Artifact is no http or https address")
    return uri


def build_status_request(token: Token, deployment_id: str, status: Status) -> Request:
    """Tell the server how far a deployment is; repeating a status does no harm."""
    url = f"{token.server_url}{DEPLOYMENTS_PATH}/{deployment_id}/status"
    return _json_request("PUT", url, token, {"status": status.value})


def parse_status_reply(reply: Reply, status: Status, *, now: datetime) -> None:
    """Accept a 204 (or 200).

    Raises:
        AbortedError: 409 (aborted), 404 (unknown to the server), or an answer that says that the request itself is
            wrong, which repeating it can't mend: stop this deployment.
        UnauthorizedError: 401.
        ServerError: anything else.
    """
    what = f'report the status "{status.value}"'
    if reply.status in _FINAL_REFUSALS:
        reason = _FINAL_REFUSALS[reply.status]
        raise AbortedError(f"cannot {what} of the deployment: {reason}", status=reply.status)
    if reply.status not in (200, 204):
        _refuse(what, reply, now=now)


def build_log_request(token: Token, deployment_id: str, messages: Sequence[LogMessage]) -> Request:
    """Send the log of a deployment; see ``fit_log`` for what the server takes. A second log replaces the first."""
    url = f"{token.server_url}{DEPLOYMENTS_PATH}/{deployment_id}/log"
    body = {"messages": [_log_entry(message) for message in messages]}
    return _json_request("PUT", url, token, body)


def fit_log(messages: Iterable[LogMessage]) -> tuple[LogMessage, ...]:
    """The messages that the server will take: none with an empty field, and of the rest the tail that fits.

    What would steer the terminal or the page of whoever reads them is replaced.

    One empty field would refuse the whole log, and so would a body above 1 MiB; the end of a log says more about a
    failure than its beginning. A message that is too long is cut.
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
    return {
        "timestamp": timestamp.replace("+00:00", "Z"),
        "level": message.level,
        "message": message.message,
    }


# -- inventory ---------------------------------------------------------------------------------------------


def fit_inventory(attributes: Iterable[Attribute]) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """The attributes that the server will take, and the names of those left out.

    The server stores nothing at all when one attribute is too much: at most 100 of them and 1 MiB, names of 1 to
    1024 characters. First come, first kept.
    """
    kept: list[Attribute] = []
    left_out: list[str] = []
    room = MAXIMUM_BODY_BYTES - 2
    for attribute in attributes:
        size = len(_to_json(_attribute_entry(attribute))) + 1
        fits = len(kept) < MAXIMUM_ATTRIBUTES and 1 <= len(attribute.name) <= MAXIMUM_ATTRIBUTE_NAME and size <= room
        if fits:
            kept.append(attribute)
            room -= size
        else:
            left_out.append(attribute.name)
    return tuple(kept), tuple(left_out)


def build_inventory_request(token: Token, attributes: Sequence[Attribute]) -> Request:
    """Send the whole inventory; it replaces what the server had."""
    body = [_attribute_entry(attribute) for attribute in attributes]
    return _json_request("PUT", token.server_url + INVENTORY_PATH, token, body)


def parse_inventory_reply(reply: Reply, *, now: datetime) -> None:
    """Accept a 200.

    Raises:
        UnauthorizedError: 401.
        ServerError: anything else.
    """
    if reply.status != 200:
        _refuse("send the inventory", reply, now=now)


def _attribute_entry(attribute: Attribute) -> dict[str, object]:
    value = attribute.value
    return {"name": attribute.name, "value": value if isinstance(value, str) else list(value)}


# -- what they share ---------------------------------------------------------------------------------------


def parse_retry_after(value: str, *, now: datetime) -> float | None:
    """Seconds to wait by a ``Retry-After`` header: a number of seconds or an HTTP date (RFC 9110, 10.2.3).

    None when it is neither: the client's own back-off then holds.
    """
    text = value.strip()
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return float(text)
    try:
        seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _refuse(what: str, reply: Reply, *, now: datetime) -> NoReturn:
    reason = _redirect_text(reply) or _error_text(reply.body)
    message = f"cannot {what}: the server answered {reply.status}" + (f" ({reason})" if reason else "")
    retry_after = parse_retry_after(reply.headers.get("retry-after", ""), now=now)
    kind = UnauthorizedError if reply.status == 401 else ServerError
    raise kind(message, status=reply.status, retry_after_seconds=retry_after)


def _redirect_text(reply: Reply) -> str:
    """What to do about an answer that only says that the address is the wrong one."""
    if reply.status in REDIRECTS and (location := reply.headers.get("location", "")):
        try:
            parts = urlsplit(parse_link(location))
        except ValueError:
            return "it redirects to elsewhere; set ServerURL to the address that answers"
        target = f"{parts.scheme}://{parts.netloc}"
        return f"it redirects to {printable(target)}, where the token must not go; set ServerURL to the right address"
    if reply.status == 400 and _PLAIN_HTTP.search(reply.body):
        return "this port speaks TLS; write https instead of http in ServerURL"
    return ""


def _error_text(body: bytes) -> str:
    try:
        document = _from_json(body)
    except ValueError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return printable(error) if isinstance(error, str) else ""


def _authorized(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.value}"}


def _json_request(method: str, url: str, token: Token, document: object) -> Request:
    headers = {**_authorized(token), "Content-Type": "application/json"}
    return Request(method, url, headers, _to_json(document))


def _to_json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _from_json(body: bytes) -> object:
    """Parse JSON; every way in which it can be broken is a ValueError."""
    try:
        document: object = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is no JSON") from None
    return document


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    return value


def _text(container: Mapping[str, Any], key: str) -> str:
    value = container.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f'"{key}" is missing or no text')
    if key != "uri" and (has_control(value) or len(value) > 1024):
        raise ValueError(f'"{key}" holds control characters or is too long')
    return value
