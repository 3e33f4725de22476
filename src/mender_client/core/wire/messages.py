"""Requests and replies of the device API, and what the services have in common.

A ``Request`` is sent through a ``Transport``, and its ``Reply`` is passed to the matching ``parse_`` function, which
returns values or raises a ``ServerError`` that tells what was requested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from mender_client import TYPE_CHECKING
from mender_client.core.model import Token, parse_link
from mender_client.core.text import printable
from mender_client.dataclass import dataclass, field
from mender_client.errors import ServerError, UnauthorizedError

if TYPE_CHECKING:
    from typing import NoReturn

MAXIMUM_BODY_BYTES = 1024 * 1024
"""The server's limit for an inventory and for a log; it answers 400 or 413 to a larger one, and stores nothing."""
MOST_REPLY_BYTES = 64 * 1024
"""The limit for a reply; parsed JSON takes up to 25 times as much memory."""
MOST_SECONDS_BY_OUR_CLOCK = 3600.0
"""The longest wait until a date that is compared with the clock of this device."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN_HTTP = re.compile(rb"plain HTTP|HTTP request to an HTTPS server")
"""How nginx, Apache and Go's servers answer a client that uses http on a port for https."""


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Attributes:
        method: the HTTP method.
        url: the complete address.
        headers: the headers; they may contain the token, so they are not in the ``repr``.
        body: the body, empty for none.
        most_reply_bytes: the limit for the body of the reply.
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


def parse_retry_after(value: str, *, now: datetime, date: str = "") -> float | None:
    """The wait in seconds that a ``Retry-After`` header asks for: a number or an HTTP date (RFC 9110, 10.2.3).

    Args:
        value: the value of the header.
        now: the time according to this device's clock, which may be wrong.
        date: the ``Date`` of the same reply, with which a date is compared. Without it, the maximum is an hour.

    Returns:
        The seconds; None if the value is neither, so that the client's own back-off applies.
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
    from email.utils import parsedate_to_datetime  # seldom needed, and slow to load

    try:
        date = parsedate_to_datetime(text)
        return date if date.utcoffset() is not None else None
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def expect_taken(what: str, reply: Reply, *, now: datetime) -> None:
    """Raise unless the request was accepted: by a 2xx with an empty or a JSON body, which no captive portal sends."""
    if not 200 <= reply.status < 300:
        refuse(what, reply, now=now)
    try:
        if reply.body.strip():
            from_json(reply.body)
    except ValueError as error:
        raise ServerError(
            "SRV09",
            f"cannot {what}: the response {reply.status} is not from a Mender server",
            remedy="check whether a gateway or a captive portal between device and server answers instead",
            status=reply.status,
        ) from error


def refuse(what: str, reply: Reply, *, now: datetime) -> NoReturn:
    """Raise the error that corresponds to a reply other than the expected one."""
    status = reply.status
    if status in REDIRECTS and (location := reply.headers.get("location", "")):
        raise ServerError(
            "SRV04",
            f"cannot {what}: the server answered {status} and redirects to {_origin(location)}, to which the token "
            "must not be sent",
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
    reason = error_text(reply.body)
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
        remedy="see the server's log; the client retries automatically",
        status=status,
        retry_after_seconds=retry_after,
    )


def _origin(location: str) -> str:
    """The target of a redirect without path and query, which may contain a secret."""
    try:
        parts = urlsplit(parse_link(location))
    except ValueError:
        return "another address"
    return printable(f"{parts.scheme}://{parts.netloc}")


def error_text(body: bytes) -> str:
    """The reason given by the server, in parentheses; empty if it gives none."""
    try:
        document = from_json(body)
    except ValueError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return f" ({printable(error)})" if isinstance(error, str) and error else ""


def authorized(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.value}"}


def json_request(method: str, url: str, token: Token, document: object) -> Request:
    headers = {**authorized(token), "Content-Type": "application/json"}
    return Request(method, url, headers, to_json(document))


def to_json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def from_json(body: bytes) -> object:
    """Parse JSON; raises only ValueError."""
    try:
        document: object = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is not JSON") from None
    return document
