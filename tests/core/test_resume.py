"""Whether the bytes of a response continue the bytes on disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.resume import (
    ContentRange,
    Continuation,
    RemoteObject,
    judge,
    parse_content_length,
    parse_content_range,
    range_header,
)

CONTENT_RANGES: list[tuple[str, ContentRange | None]] = [
    ("bytes 0-9/10", ContentRange(0, 9, 10)),
    ("bytes 5-9/*", ContentRange(5, 9, None)),
    ("bytes */10", ContentRange(None, None, 10)),
    ("bytes */*", ContentRange(None, None, None)),
    (" bytes 0-0/1 ", ContentRange(0, 0, 1)),
    ("", None),
    ("bytes", None),
    ("bytes 9-5/10", None),
    ("bytes 0-10/10", None),
    ("bytes -5-9/10", None),
    ("bytes 0-9", None),
    ("bytes 0-9/-1", None),
    ("items 0-9/10", None),
    ("bytes 0-9/10, bytes 3-4/10", None),
    ("bytes \u0660-\u0669/\u0661\u0660", None),
    ("bytes 0-9/" + "9" * 20, None),
    ("bytes 0x0-0x9/10", None),
]


@pytest.mark.parametrize(("value", "expected"), CONTENT_RANGES)
def test_content_range(value: str, expected: ContentRange | None) -> None:
    """A Content-Range is a consistent byte range, or it is ignored."""
    assert expected == parse_content_range(value)


CONTENT_LENGTHS: list[tuple[str, int | None]] = [
    ("0", 0),
    (" 12 ", 12),
    ("", None),
    ("-1", None),
    ("+1", None),
    ("1.0", None),
    ("1_000", None),
    ("\u0661", None),
    ("1, 1", None),
    ("9" * 20, None),
]


@pytest.mark.parametrize(("value", "expected"), CONTENT_LENGTHS)
def test_content_length(value: str, expected: int | None) -> None:
    """A Content-Length is a plain number, or it is ignored."""
    assert expected == parse_content_length({"content-length": value})


def test_no_content_length() -> None:
    """A response may come without a Content-Length."""
    assert None is parse_content_length({})


def test_range_header() -> None:
    """A download sends a Range header only if there are bytes on disk."""
    assert {} == range_header(0)
    assert {"Range": "bytes=7-"} == range_header(7)


NOTHING = RemoteObject()
KNOWN = RemoteObject(100, '"a"')
RIGHT = {"content-range": "bytes 40-99/100", "etag": '"a"'}

VERDICTS: list[tuple[str, int, dict[str, str], int, RemoteObject, Continuation, RemoteObject]] = [
    ("the whole", 200, {"content-length": "100", "etag": '"a"'}, 0, NOTHING, Continuation.CONTINUE, KNOWN),
    ("the whole, unknown length", 200, {}, 0, NOTHING, Continuation.CONTINUE, NOTHING),
    (
        "from zero again, another object",
        200,
        {"content-length": "7"},
        0,
        KNOWN,
        Continuation.CONTINUE,
        RemoteObject(7, None),
    ),
    ("Range ignored", 200, {"content-length": "100", "etag": '"a"'}, 40, KNOWN, Continuation.RESTART, KNOWN),
    ("the rest", 206, RIGHT, 40, KNOWN, Continuation.CONTINUE, KNOWN),
    ("the rest, promise learnt", 206, RIGHT, 40, NOTHING, Continuation.CONTINUE, KNOWN),
    ("the rest, total unsaid", 206, {"content-range": "bytes 40-99/*"}, 40, KNOWN, Continuation.CONTINUE, KNOWN),
    ("a part of the rest", 206, {"content-range": "bytes 40-50/100"}, 40, KNOWN, Continuation.CONTINUE, KNOWN),
    ("starts earlier", 206, {"content-range": "bytes 39-99/100"}, 40, KNOWN, Continuation.RESTART, KNOWN),
    ("starts later", 206, {"content-range": "bytes 41-99/100"}, 40, KNOWN, Continuation.RESTART, KNOWN),
    ("another total", 206, {"content-range": "bytes 40-98/99"}, 40, KNOWN, Continuation.RESTART, KNOWN),
    ("another node's ETag", 206, {**RIGHT, "etag": '"b"'}, 40, KNOWN, Continuation.CONTINUE, KNOWN),
    ("no Content-Range", 206, {"etag": '"a"'}, 40, KNOWN, Continuation.RESTART, KNOWN),
    ("broken Content-Range", 206, {"content-range": "bytes 40-"}, 40, KNOWN, Continuation.RESTART, KNOWN),
    (
        "part although all was asked for",
        206,
        {"content-range": "bytes 0-99/100"},
        0,
        NOTHING,
        Continuation.RESTART,
        NOTHING,
    ),
    ("416 at the end", 416, {"content-range": "bytes */100"}, 100, KNOWN, Continuation.COMPLETE, KNOWN),
    (
        "416 at the end, total unknown",
        416,
        {"content-range": "bytes */100"},
        100,
        NOTHING,
        Continuation.COMPLETE,
        NOTHING,
    ),
    ("416, the object shrank", 416, {"content-range": "bytes */90"}, 100, KNOWN, Continuation.RESTART, KNOWN),
    ("416, another promise", 416, {"content-range": "bytes */40"}, 40, KNOWN, Continuation.RESTART, KNOWN),
    ("416 without a range", 416, {}, 100, KNOWN, Continuation.RESTART, KNOWN),
    ("link expired", 403, {}, 40, KNOWN, Continuation.NEW_LINK, KNOWN),
    ("link refused", 401, {}, 40, KNOWN, Continuation.NEW_LINK, KNOWN),
    ("object deleted", 404, {}, 40, KNOWN, Continuation.NEW_LINK, KNOWN),
    ("link expired, by Google", 400, {}, 40, KNOWN, Continuation.NEW_LINK, KNOWN),
    ("object gone", 410, {}, 40, KNOWN, Continuation.NEW_LINK, KNOWN),
    ("too many requests", 429, {}, 40, KNOWN, Continuation.RETRY, KNOWN),
    ("storage in trouble", 500, {}, 40, KNOWN, Continuation.RETRY, KNOWN),
    ("gateway in trouble", 502, {}, 0, NOTHING, Continuation.RETRY, NOTHING),
    ("no content", 204, {}, 0, NOTHING, Continuation.RETRY, NOTHING),
]


@pytest.mark.parametrize("case", VERDICTS, ids=lambda case: case[0])
def test_verdicts(case: tuple[str, int, dict[str, str], int, RemoteObject, Continuation, RemoteObject]) -> None:
    """Each storage response has one verdict: continue, start over, complete, fetch a new link, gone, or retry later."""
    _, status, headers, offset, known, continuation, remote_object = case
    assert (continuation, remote_object) == judge(status, headers, offset=offset, known=known)


_NUMBERS = st.integers(0, 6)
_ETAGS = st.none() | st.sampled_from(['"a"', '"b"'])
_RANGES = st.one_of(
    st.builds(lambda first, last, total: f"bytes {first}-{last}/{total}", _NUMBERS, _NUMBERS, _NUMBERS),
    st.builds(lambda total: f"bytes */{total}", _NUMBERS),
    st.builds(lambda first, last: f"bytes {first}-{last}/*", _NUMBERS, _NUMBERS),
    st.text(max_size=20),
)


@given(
    status=st.sampled_from([200, 204, 206, 301, 403, 404, 416, 429, 500]),
    content_range=st.none() | _RANGES,
    etag=_ETAGS,
    length=st.none() | _NUMBERS,
    offset=_NUMBERS,
    known=st.builds(RemoteObject, st.none() | _NUMBERS, _ETAGS),
)
def test_nothing_is_spliced(
    status: int, content_range: str | None, etag: str | None, length: int | None, offset: int, known: RemoteObject
) -> None:
    """Bytes are never appended to those of an object with another size, or at another offset.

    If no size is known, different ETags also rule it out.
    """
    headers = {"content-range": content_range, "etag": etag, "content-length": None if length is None else str(length)}
    present = {name: value for name, value in headers.items() if value is not None}
    continuation, remote_object = judge(status, present, offset=offset, known=known)
    answer = parse_content_range(content_range or "")
    if continuation is Continuation.CONTINUE and offset > 0:
        assert 206 == status
        assert answer is not None
        assert offset == answer.first
        assert None in (known.total, answer.total) or known.total == answer.total
        assert None not in (known.total, answer.total) or None in (known.etag, etag) or known.etag == etag
        assert remote_object.total == (known.total if known.total is not None else answer.total)
        assert remote_object.etag == (known.etag if known.etag is not None else etag)
    elif continuation is Continuation.CONTINUE:
        assert 200 == status
    else:
        assert known == remote_object
    if continuation is Continuation.COMPLETE:
        assert known.total in (None, offset)


@pytest.mark.parametrize("etag", ["x" * 300, '"a\r\n b"', "", "\x1b[2J"])
@pytest.mark.parametrize("status", [200, 206])
def test_odd_etags_are_none(etag: str, status: int) -> None:
    """An ETag that is too long or has control characters is ignored, since it would be stored in the state file."""
    offset = 0 if status == 200 else 5
    headers = {"content-range": "bytes 5-9/10", "content-length": "10", "etag": etag}
    assert (Continuation.CONTINUE, RemoteObject(10)) == judge(status, headers, offset=offset, known=RemoteObject())
