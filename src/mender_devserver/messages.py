"""Requests and replies as plain objects, so that the server can be tested without sockets.

JSON is written in the form of the real server, compact and with ``&``, ``<`` and ``>`` escaped, because a client must
be able to parse a link in that form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from mender_client.errors import ServerError

BODY_LIMIT_BYTES = 1024 * 1024
"""The largest JSON body; a larger one is answered with 413."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Args:
        method: the method in upper case.
        path: the decoded path, without the query.
        query: the query as it was sent, without the question mark.
        headers: the headers, with names in lower case.
        body: the whole body.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A part of a file, sent in pieces.

    Args:
        path: the file.
        start: the first byte.
        length: the number of bytes.
    """

    path: Path
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, with a body from memory or from a file."""

    status: int
    body: bytes | FileSlice = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """The number of body bytes."""
        return self.body.length if isinstance(self.body, FileSlice) else len(self.body)


def dump_json(value: object) -> bytes:
    """Write ``value`` as the real server does (Go's encoder)."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "&<>":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace")


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply with a JSON body."""
    return Reply(status, dump_json(value), {"Content-Type": "application/json; charset=utf-8", **(headers or {})})


def error_reply(status: int, message: str, request_id: str = "", headers: Mapping[str, str] | None = None) -> Reply:
    """An error in the format of all Mender services, ``{"error", "request_id"}``; some omit the id."""
    body = {"error": message, "request_id": request_id} if request_id else {"error": message}
    return json_reply(body, status, headers)


def require_json_type(request: Request) -> None:
    """Refuse a body that isn't declared as JSON. An empty body needs no content type.

    Raises:
        ServerError: 415 for another type, 400 for none.
    """
    if not request.body:
        return
    declared = request.headers.get("content-type", "")
    if not declared.strip():
        raise ServerError("Invalid value for Content-Type header: mime: no media type", status=400)
    message = Message()
    message["Content-Type"] = declared.encode("ascii", "replace").decode()  # the parser fails on other characters
    charset = message.get_param("charset", "utf-8")
    if message.get_content_type() != "application/json" or str(charset).lower() != "utf-8":
        raise ServerError("Bad Content-Type, expected 'application/json'", status=415)


def load_json(body: bytes, prefix: str = "", *, whole: bool = False) -> Any:
    """Decode a body as Go's decoder does: ignore data after the value, and replace bytes that aren't UTF-8.

    Args:
        body: the bytes as received.
        prefix: the prefix that the service adds to its decoder's error message.
        whole: refuse data after the value; some services use a stricter function.

    Raises:
        ServerError: 400, with a message close to that of the real server.
    """
    text = body.decode("utf-8", "replace").strip(_BLANKS)
    if not text:
        raise ServerError(prefix + ("unexpected end of JSON input" if whole else "EOF"), status=400)
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        reason = _syntax(error.doc[error.pos : error.pos + 1], "looking for beginning of value")
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "exceeded max depth"
    else:
        if not whole or end == len(text):
            return value
        reason = _syntax(text[end:].lstrip(_BLANKS)[:1], "after top-level value")
    raise ServerError(prefix + reason, status=400)


def _syntax(character: str, where: str) -> str:
    return f"invalid character '{character}' {where}" if character else "unexpected EOF"


def _number(text: str) -> int | float:
    """A number, which Go parses as a float64: ``1.0`` equals ``1``, and a number out of range is an error."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"json: cannot unmarshal number {text[:40]} into Go value of type float64")
    return int(value) if value.is_integer() and abs(value) < _LARGEST_PLAIN else value


def _refuse_constant(text: str) -> float:
    raise ValueError(_syntax(text.lstrip("-")[:1], "looking for beginning of value"))


_BLANKS = " \t\r\n"
_LARGEST_PLAIN = 1e21
"""Go writes larger numbers with an exponent."""
_DECODER = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_refuse_constant)


def load_object(body: bytes, prefix: str = "", *, whole: bool = False) -> dict[str, Any]:
    """Decode a body that must be an object; ``null`` counts as an empty one, as on the real server."""
    return as_object(load_json(body, prefix, whole=whole), prefix)


def as_object(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return ``value`` if it is an object.

    Raises:
        ServerError: 400 for anything else.
    """
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise ServerError(f"{prefix}json: cannot unmarshal {json_kind(value)} into an object", status=400)


def pick(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The named fields of an object. As in Go's decoder, names are case-insensitive, and the last duplicate counts."""
    folded = {name.casefold(): value for name, value in fields.items()}
    return {name: folded.get(name) for name in names}


def as_text(value: Any, prefix: str = "") -> str:
    """Return a field that must be a string; ``null`` counts as an empty one, as on the real server.

    Raises:
        ServerError: 400 for anything else.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise ServerError(f"{prefix}json: cannot unmarshal {json_kind(value)} into a string", status=400)


def size_of(text: str) -> int:
    """The length of a text in bytes, the unit of the real server's limits."""
    return len(text.encode("utf-8", "replace"))


def json_kind(value: object) -> str:
    """The name of a value's JSON type in the error messages of the real server."""
    kinds = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return kinds.get(type(value), "null")


def collapse_slashes(path: str) -> str:
    """Replace repeated slashes by a single one, as the gateway does."""
    return re.sub("/{2,}", "/", path)
