"""Range and Content-Range arithmetic: whether the body of a response continues the bytes that we have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from mender_client.dataclass import dataclass

_CONTENT_RANGE = r"bytes (?:([0-9]{1,19})-([0-9]{1,19})|\*)/([0-9]{1,19}|\*)"
_LENGTH = "[0-9]{1,19}"
_ETAG = r"[\x20-\x7e\x80-\xff]{1,256}"
"""Longer values and those with control characters are ignored: an ETag is stored in the state file, whose size must be
bounded."""


@dataclass(frozen=True)
class ContentRange:
    """A parsed ``Content-Range`` header; ``first`` and ``last`` are None in the ``*/TOTAL`` form of a 416."""

    first: int | None
    last: int | None
    total: int | None


def parse_content_range(value: str) -> ContentRange | None:
    """Parse a ``Content-Range`` header (RFC 9110, 14.4); None when it is not a consistent byte range."""
    match = re.fullmatch(_CONTENT_RANGE, value.strip())
    if match is None:
        return None
    first, last, total = (None if part in (None, "*") else int(part) for part in match.groups())
    if first is not None and last is not None and (last < first or (total is not None and last >= total)):
        return None
    return ContentRange(first, last, total)


def parse_content_length(headers: Mapping[str, str]) -> int | None:
    """The ``Content-Length`` of a response, or None if it is missing or not a plain number."""
    value = headers.get("content-length", "").strip()
    return int(value) if re.fullmatch(_LENGTH, value) else None


def _etag(headers: Mapping[str, str]) -> str | None:
    value = headers.get("etag", "")
    return value if re.fullmatch(_ETAG, value) else None


def range_header(offset: int, end: int | None = None) -> dict[str, str]:
    """The request header for the bytes from ``offset`` up to, but not including, ``end``; empty for all bytes."""
    if end is not None:
        return {"Range": f"bytes={offset}-{end - 1}"}
    return {"Range": f"bytes={offset}-"} if offset else {}


@dataclass(frozen=True)
class RemoteObject:
    """What the server said about the whole object: its length in bytes and its ETag, each None if not given."""

    total: int | None = None
    etag: str | None = None


class Continuation(Enum):
    """What the response to a download request means for the bytes that we have."""

    CONTINUE = "its body continues where our bytes end"
    RESTART = "it is another object, or starts elsewhere: start from the beginning"
    COMPLETE = "we have every byte already"
    NEW_LINK = "the link does not work (any more): ask the server for a fresh one, keep the bytes"
    RETRY = "the storage is in trouble: try again later"


def judge(
    status: int, headers: Mapping[str, str], *, offset: int, known: RemoteObject, is_bounded: bool = False
) -> tuple[Continuation, RemoteObject]:
    """Decide whether a response continues a download; whether the bytes fit together is verified at the end.

    Object stores may ignore ``If-Range``, so total and ETag are compared here (protocol: Range rules). The nodes of a
    store may give the same object different ETags, so another ETag with the same total is no reason to start over.

    Args:
        status: the HTTP status of the response.
        headers: its headers, names lower-case.
        offset: how many bytes we have; the request asked for the rest.
        known: what earlier responses said about the object.
        is_bounded: whether the request specified an end, so that the response may be partial even at offset 0.

    Returns:
        The verdict, and what is now known about the object.
    """
    if status == 200:
        said = RemoteObject(parse_content_length(headers), _etag(headers))
        return (Continuation.CONTINUE, said) if offset == 0 else (Continuation.RESTART, known)
    if status == 206:
        return _judge_partial(headers, offset, known, is_ranged=is_bounded or offset > 0)
    if status == 416:
        answer = parse_content_range(headers.get("content-range", ""))
        is_complete = answer is not None and answer.total == offset and known.total in (None, offset)
        return (Continuation.COMPLETE if is_complete else Continuation.RESTART), known
    if status in (400, 401, 403, 404, 410):  # 400: an expired link at Google's store
        return Continuation.NEW_LINK, known
    return Continuation.RETRY, known


def _judge_partial(
    headers: Mapping[str, str], offset: int, known: RemoteObject, *, is_ranged: bool
) -> tuple[Continuation, RemoteObject]:
    answer = parse_content_range(headers.get("content-range", ""))
    if answer is None or answer.first != offset or not is_ranged:
        return Continuation.RESTART, known
    etag = _etag(headers)
    if known.total is not None and answer.total is not None and answer.total != known.total:
        return Continuation.RESTART, known
    is_size_known = known.total is not None and answer.total is not None
    if known.etag is not None and etag is not None and etag != known.etag and not is_size_known:
        return Continuation.RESTART, known
    return Continuation.CONTINUE, RemoteObject(
        total=known.total if known.total is not None else answer.total,
        etag=known.etag if known.etag is not None else etag,
    )
