"""The device API: the requests that are sent, and the replies that may come."""

from __future__ import annotations

import base64
import contextlib
import json
import tracemalloc
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mender_client.core.model import (
    Attribute,
    Deployment,
    Identity,
    Link,
    LogMessage,
    NextForm,
    Provides,
    Status,
    Token,
)
from mender_client.core.wire.authentication import AUTH_PATH, build_auth_body, build_auth_request, parse_auth_reply
from mender_client.core.wire.deployments import (
    DEPLOYMENTS_PATH,
    MOST_NEXT_REPLY_BYTES,
    NEXT_V2_PATH,
    build_log_request,
    build_next_request,
    build_status_request,
    fit_log,
    parse_log_reply,
    parse_next_reply,
    parse_status_reply,
)
from mender_client.core.wire.inventory import (
    INVENTORY_PATH,
    build_inventory_request,
    fit_inventory,
    parse_inventory_reply,
)
from mender_client.core.wire.messages import MAXIMUM_BODY_BYTES, MOST_REPLY_BYTES, Reply, parse_retry_after
from mender_client.errors import (
    AbortedError,
    RefusedLogError,
    ServerError,
    UnauthorizedError,
    UnknownDeploymentError,
)

SERVER = "https://server.example:8443"
TOKEN = Token("the.jwt.token", SERVER)
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
RECORDING = Path(__file__).parents[1] / "contract" / "device-api.jsonl"
BEARER = {"Authorization": "Bearer the.jwt.token"}
JSON = {"Content-Type": "application/json"}


def reply(status: int, body: object = b"", **headers: str) -> Reply:
    """A reply with a JSON body, or with these bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


# -- requests ----------------------------------------------------------------------------------------------


def test_auth_body() -> None:
    """The identity is sent as a string that contains JSON; an empty tenant token is left out."""
    identity = Identity('{"mac":"x"}')
    assert {"id_data": '{"mac":"x"}', "pubkey": "PEM"} == json.loads(build_auth_body(identity, "PEM"))
    assert {"id_data": '{"mac":"x"}', "pubkey": "PEM", "tenant_token": "t"} == json.loads(
        build_auth_body(identity, "PEM", "t")
    )


def test_auth_request() -> None:
    """The request has exactly the signed bytes as its body, and their signature in base64 in a header."""
    request = build_auth_request(SERVER, b"the body", b"\xff\x00signature")
    assert ("POST", SERVER + AUTH_PATH, b"the body") == (request.method, request.url, request.body)
    assert {
        **JSON,
        "Accept": "application/json",
        "Authorization": "API_KEY",
        "X-MEN-Signature": base64.b64encode(b"\xff\x00signature").decode(),
    } == request.headers


PROVIDES = Provides("a type", "a&name=\u00e4", {"rootfs-image.checksum": "1"})
BASE = {"device_type": "a type", "artifact_name": "a&name=\u00e4"}


def test_next_v2() -> None:
    """The v2 request has all provides in one object."""
    request = build_next_request(TOKEN, NextForm.V2_POST, PROVIDES)
    assert ("POST", SERVER + NEXT_V2_PATH, {**BEARER, **JSON}) == (request.method, request.url, request.headers)
    assert {"device_provides": {**BASE, "rootfs-image.checksum": "1"}} == json.loads(request.body)


def test_next_v2_own_keys_win() -> None:
    """An artifact_name among the other provides doesn't replace the real one."""
    request = build_next_request(TOKEN, NextForm.V2_POST, Provides("t", "n", {"artifact_name": "other"}))
    assert {"device_provides": {"device_type": "t", "artifact_name": "n"}} == json.loads(request.body)


@pytest.mark.parametrize(
    ("others", "expected"), [({"a": "1"}, {"artifact_provides": {"a": "1"}}), ({}, {})], ids=["some", "none"]
)
def test_next_v1_post(others: dict[str, str], expected: dict[str, Any]) -> None:
    """The v1 request omits artifact_provides if there are none: to the server, absent and {} differ."""
    request = build_next_request(TOKEN, NextForm.V1_POST, Provides("t", "n", others))
    assert ("POST", f"{SERVER}{DEPLOYMENTS_PATH}/next") == (request.method, request.url)
    assert {"device_type": "t", "artifact_name": "n", **expected} == json.loads(request.body)


def test_next_v1_get() -> None:
    """The oldest form is a GET request with both names URL-encoded."""
    request = build_next_request(TOKEN, NextForm.V1_GET, PROVIDES)
    parts = urlsplit(request.url)
    assert ("GET", b"", BEARER) == (request.method, request.body, request.headers)
    assert f"{DEPLOYMENTS_PATH}/next" == parts.path
    assert {name: [value] for name, value in BASE.items()} == parse_qs(parts.query, strict_parsing=True)


def test_fallback_order() -> None:
    """The forms are tried from the newest to the oldest."""
    assert [NextForm.V1_POST, NextForm.V1_GET, None] == [form.fallback for form in NextForm]


@pytest.mark.parametrize("status", Status)
def test_status_request(status: Status) -> None:
    """A status is sent to the address of its deployment."""
    request = build_status_request(TOKEN, "an-id", status)
    assert ("PUT", f"{SERVER}{DEPLOYMENTS_PATH}/an-id/status") == (request.method, request.url)
    assert ({"status": status.value}, {**BEARER, **JSON}) == (json.loads(request.body), request.headers)


def test_log_request() -> None:
    """Log time stamps are sent in UTC with a zone, whatever their original time zone."""
    moment = datetime(2026, 1, 1, 1, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=1)))
    request = build_log_request(TOKEN, "an-id", [LogMessage(moment, "info", "a\nb")])
    assert ("PUT", f"{SERVER}{DEPLOYMENTS_PATH}/an-id/log") == (request.method, request.url)
    assert {"messages": [{"timestamp": "2026-01-01T00:00:00.500Z", "level": "info", "message": "a\nb"}]} == json.loads(
        request.body
    )


def test_inventory_request() -> None:
    """The inventory replaces the previous one on the server; several values become a list."""
    request = build_inventory_request(TOKEN, [Attribute("a", "1"), Attribute("b", ("1", "2"))])
    assert ("PUT", SERVER + INVENTORY_PATH, {**BEARER, **JSON}) == (request.method, request.url, request.headers)
    assert [{"name": "a", "value": "1"}, {"name": "b", "value": ["1", "2"]}] == json.loads(request.body)


def test_requests_and_replies_hide_secrets() -> None:
    """The repr of a request or a reply shows neither the token nor the query of the URL nor the body."""
    request = build_next_request(TOKEN, NextForm.V1_GET, PROVIDES)
    assert "Request(method='GET')" == repr(request)
    assert "secret" not in repr(reply(200, b"secret"))


# -- limits ------------------------------------------------------------------------------------------------


def message(text: str, level: str = "info") -> LogMessage:
    """A log message with the current time."""
    return LogMessage(NOW, level, text)


def test_log_leaves_out_what_would_refuse_it() -> None:
    """A message with an empty field is left out, since the server would refuse the whole log."""
    messages = [message("a"), message(""), message(" \n"), message("b", level=""), message("c")]
    assert (message("a"), message("c")) == fit_log(messages)


def test_log_keeps_the_tail() -> None:
    """A log above the server's limit keeps its end, in order, and no more is cut than necessary."""
    messages = [message(f"{number} " + "x" * 1000) for number in range(2000)]
    kept = fit_log(messages)
    assert messages[-len(kept) :] == list(kept)
    size = len(build_log_request(TOKEN, "id", kept).body)
    assert MAXIMUM_BODY_BYTES - 2000 < size <= MAXIMUM_BODY_BYTES


def test_log_of_one_huge_line() -> None:
    """A single message above the limit is shortened, since the server would refuse an empty log, without the cause."""
    kept = fit_log([message("before"), message("x" * 3_000_000)])
    assert 2 == len(kept)
    assert len(build_log_request(TOKEN, "id", kept).body) <= MAXIMUM_BODY_BYTES


def test_inventory_limit_of_attributes() -> None:
    """At most 100 attributes are sent; the names of the others are returned, to be reported."""
    attributes = [Attribute(f"a{number}", "1") for number in range(103)]
    assert (tuple(attributes[:100]), ("a100", "a101", "a102")) == fit_inventory(attributes)


def test_inventory_limit_of_names() -> None:
    """An attribute with an empty name, or one of more than 1024 characters, is left out."""
    good = Attribute("n" * 1024, "1")
    assert ((good,), ("", "m" * 1025)) == fit_inventory([Attribute("", "1"), Attribute("m" * 1025, "1"), good])


def test_inventory_names_in_bytes() -> None:
    """The limit of names counts bytes in UTF-8, as on the server, and a name with a NUL is left out."""
    good, odd = Attribute("\u00fc" * 512, "1"), ("\u00fc" * 600, "a\0b")
    assert ((good,), odd) == fit_inventory([*(Attribute(name, "1") for name in odd), good])


def test_inventory_limit_of_size() -> None:
    """The body, with escapes, stays within 1 MiB, and a small attribute after a huge one is kept."""
    attributes = [Attribute("a", "\u00e4" * 100_000), Attribute("b", "\u00e4" * 100_000), Attribute("c", "1")]
    kept, left_out = fit_inventory(attributes)
    assert ((attributes[0], attributes[2]), ("b",)) == (kept, left_out)
    assert len(build_inventory_request(TOKEN, kept).body) <= MAXIMUM_BODY_BYTES


def test_inventory_just_below_the_limit() -> None:
    """An inventory of one byte less than 1 MiB is sent."""
    empty = len(build_inventory_request(TOKEN, [Attribute("a", "")]).body) + 1
    attribute = Attribute("a", "x" * (MAXIMUM_BODY_BYTES - empty))
    kept, left_out = fit_inventory([attribute])
    assert (1, ()) == (len(kept), left_out)
    assert len(build_inventory_request(TOKEN, kept).body) <= MAXIMUM_BODY_BYTES


# -- replies: success --------------------------------------------------------------------------------------


def offer(**changes: object) -> dict[str, Any]:
    """A deployment as a server offers it, with changes to its Artifact."""
    return {
        "id": "7e3c1b1b-6df9",
        "artifact": {
            "id": "x",
            "artifact_name": "release-2",
            "source": {"uri": "https://store.example/a?X-Amz-Signature=secret", "expire": "2026-11-24T12:00:00Z"},
            "device_types_compatible": ["qemu"],
            **changes,
        },
    }


def test_token() -> None:
    """The body of a 200 is the token; white space that a proxy added around it is ignored."""
    assert Token("a.b.c", SERVER) == parse_auth_reply(reply(200, b" a.b.c\r\n"), SERVER, now=NOW)


def test_deployment() -> None:
    """A 200 contains the deployment and its link."""
    expected = Deployment(
        "7e3c1b1b-6df9",
        "release-2",
        ("qemu",),
        Link("https://store.example/a?X-Amz-Signature=secret", "2026-11-24T12:00:00Z"),
    )
    assert expected == parse_next_reply(reply(200, offer()), now=NOW)


@pytest.mark.parametrize("expire", [None, 5, []])
def test_link_without_expiry(expire: object) -> None:
    """A missing or malformed expiry time of the link doesn't invalidate the offer."""
    document = offer(source={"uri": "http://store/a", "expire": expire})
    deployment = parse_next_reply(reply(200, document), now=NOW)
    assert deployment is not None
    assert Link("http://store/a") == deployment.link


def test_no_deployment() -> None:
    """A 204 means that there is no deployment."""
    assert None is parse_next_reply(reply(204), now=NOW)


@pytest.mark.parametrize("status", [200, 204])
def test_status_accepted(status: int) -> None:
    """A status is accepted with 204, and also with 200."""
    parse_status_reply(reply(status), Status.INSTALLING, now=NOW)


def test_inventory_accepted() -> None:
    """An inventory is accepted with 200 and an empty body."""
    parse_inventory_reply(reply(200), now=NOW)


# -- replies: refusals -------------------------------------------------------------------------------------

Parse = Callable[[Reply], object]
PARSERS: dict[str, Parse] = {
    "auth": lambda answer: parse_auth_reply(answer, SERVER, now=NOW),
    "next": lambda answer: parse_next_reply(answer, now=NOW),
    "status": lambda answer: parse_status_reply(answer, Status.DOWNLOADING, now=NOW),
    "inventory": lambda answer: parse_inventory_reply(answer, now=NOW),
}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("status", [301, 400, 401, 403, 405, 413, 415, 418, 429, 500, 502, 503])
def test_refusals_name_what_was_asked(parser: str, status: int) -> None:
    """Any other status raises an error that names the request and the status; 401 has an error class of its own."""
    with pytest.raises(ServerError, match=rf"cannot .*: the server answered {status} \(why not\)") as caught:
        PARSERS[parser](reply(status, {"error": "why not"}))
    assert status == caught.value.status
    assert (UnauthorizedError if status == 401 else ServerError) is type(caught.value)


@pytest.mark.parametrize("parser", ["auth", "next", "inventory"])
@pytest.mark.parametrize("status", [404, 409])
def test_404_and_409_are_ordinary_elsewhere(parser: str, status: int) -> None:
    """Only the reply to a status can say that a deployment is over."""
    with pytest.raises(ServerError) as caught:
        PARSERS[parser](reply(status))
    assert ServerError is type(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":"why not"}'])
def test_aborted(body: bytes) -> None:
    """409 in reply to a status means that the deployment was aborted, and no other status does."""
    with pytest.raises(AbortedError, match="it was aborted on the server") as caught:
        parse_status_reply(reply(409, body), Status.FAILURE, now=NOW)
    assert 409 == caught.value.status


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b'{"error":"not found"}', UnknownDeploymentError), (b"404 page not found", ServerError), (b"{}", ServerError)],
)
def test_unknown_deployment(body: bytes, kind: type[ServerError]) -> None:
    """A 404 says that the deployment is unknown only with the server's own error body, not with a proxy's page."""
    with pytest.raises(ServerError) as caught:
        parse_status_reply(reply(404, body), Status.FAILURE, now=NOW)
    assert kind is type(caught.value)


TAKERS: dict[str, Parse] = {
    "status": PARSERS["status"],
    "log": lambda answer: parse_log_reply(answer, now=NOW),
    "inventory": PARSERS["inventory"],
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_taken(taker: str, status: int) -> None:
    """A request is accepted with a 2xx that has no body or a JSON body."""
    for body in (b"", b"\r\n", b"{}", b"null"):
        TAKERS[taker](reply(status, body))


@pytest.mark.parametrize("taker", TAKERS)
def test_captive_portal(taker: str) -> None:
    """A web page with status 200, as captive portals and gateways send it, isn't accepted as the server's reply."""
    with pytest.raises(ServerError, match="the response 200 is not from a Mender server") as caught:
        TAKERS[taker](reply(200, b"<html>please log in</html>"))
    assert ServerError is type(caught.value)


@pytest.mark.parametrize("status", [400, 404, 409, 413])
def test_refused_log(status: int) -> None:
    """A log is refused for good only by the server's own error."""
    for body, kind in ((b'{"error":"why"}', RefusedLogError), (b"<html>", ServerError)):
        with pytest.raises(ServerError) as caught:
            parse_log_reply(reply(status, body), now=NOW)
        assert kind is type(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"Bad Gateway", b"<?xml version='1.0'?>", b"{}", b"[]", b"null", b'{"error":null}', b'{"error":5}',
        b'{"error":""}', b'{"error":', b"\xff\xfe\xff", b"[" * 100_000, b"1" * 10_000,
    ],
    ids=range(13),
)  # fmt: skip
def test_refusal_without_a_reason(body: bytes) -> None:
    """A refusal without a usable body is reported with its status alone."""
    with pytest.raises(ServerError) as caught:
        parse_inventory_reply(reply(502, body), now=NOW)
    assert "cannot send the inventory: the server answered 502" == caught.value.text


def test_reason_of_the_server_is_made_printable() -> None:
    """A reason from the server can't forge log lines, and its length is limited."""
    with pytest.raises(ServerError) as caught:
        parse_inventory_reply(reply(400, {"error": "a\n\x1b[31m\u2028b\x7f\ud800\u202e" + "x" * 1000}), now=NOW)
    assert "cannot send the inventory: the server answered 400 (a??[31m?b???x" in str(caught.value)
    assert len(caught.value.text) < 300


TOKENS = [b"", b"  ", b"a b", b"a\r\nX-Evil: 1", b"\xff\xfe", "tok\u00e9n".encode(), b"x" * 16385, b"a\0b", b"a\x7f"]


@pytest.mark.parametrize("body", TOKENS, ids=range(len(TOKENS)))
def test_no_token(body: bytes) -> None:
    """A 200 with an invalid token, which could forge a header, is refused."""
    with pytest.raises(ServerError, match="cannot authorise this device: the server's reply contains no token"):
        parse_auth_reply(reply(200, body), SERVER, now=NOW)


def without(key: str) -> dict[str, Any]:
    """The Artifact of an offer without one key."""
    document = offer()
    del document["artifact"][key]
    return document


def with_id(identifier: object) -> dict[str, Any]:
    """An offer with another deployment id."""
    return {**offer(), "id": identifier}


def with_link(uri: object) -> dict[str, Any]:
    """An offer with another link."""
    return offer(source={"uri": uri})


BAD_OFFERS: dict[str, tuple[object, str]] = {
    "empty": (b"", "it is not JSON"),
    "html": (b"<html>", "it is not JSON"),
    "binary": (b"\xff\xfe\x00\x01\x02", "it is not JSON"),
    "cut off": (json.dumps(offer()).encode()[:-5], "it is not JSON"),
    "a thousand levels deep": (b'{"id":' * 100_000, "it is nested too deeply"),
    "a list": ([], "the reply is not a JSON object"),
    "null": (None, "the reply is not a JSON object"),
    "a number beyond 64 bits": (b"9" * 5000, "it is not JSON"),
    "no artifact": ({"id": "a"}, '"artifact" is not a JSON object'),
    "artifact null": ({"id": "a", "artifact": None}, '"artifact" is not a JSON object'),
    "no source": (without("source"), '"artifact.source" is not a JSON object'),
    "no name": (without("artifact_name"), '"artifact_name" is missing or not a string'),
    "name a number": (offer(artifact_name=5), '"artifact_name" is missing or not a string'),
    "name empty": (offer(artifact_name=""), '"artifact_name" is missing or not a string'),
    "name with a line end": (offer(artifact_name="a\nb"), '"artifact_name" contains control characters'),
    "name with a NUL": (offer(artifact_name="a\0b"), '"artifact_name" contains control characters'),
    "name a mile long": (offer(artifact_name="a" * 1025), '"artifact_name" contains control characters or is too long'),
    "no device types": (without("device_types_compatible"), "is not a list of strings"),
    "device types text": (offer(device_types_compatible="qemu"), "is not a list of strings"),
    "device types mixed": (offer(device_types_compatible=["qemu", 5]), "is not a list of strings"),
    "no id": (with_id(None), '"id" is missing or not a string'),
    "id a number": (with_id(5), '"id" is missing or not a string'),
    "id empty": (with_id(""), '"id" is missing or not a string'),
    "id with traversal": (with_id("../../../etc/passwd"), '"id" is not a deployment ID'),
    "id of dots": (with_id(".."), '"id" is not a deployment ID'),
    "id with a slash": (with_id("a/b"), '"id" is not a deployment ID'),
    "id with a query": (with_id("a?b"), '"id" is not a deployment ID'),
    "id with a space": (with_id("a b"), '"id" is not a deployment ID'),
    "id with a line end": (with_id("a\n"), '"id" contains control characters'),
    "id with other digits": (with_id("\u0661"), '"id" is not a deployment ID'),
    "id too long": (with_id("a" * 129), '"id" is not a deployment ID'),
    "no link": (with_link(None), '"uri" is missing or not a string'),
    "link empty": (with_link(""), '"uri" is missing or not a string'),
    "link to a file": (with_link("file:///etc/passwd"), "not an http or https URL"),
    "link by ftp": (with_link("ftp://host/a"), "not an http or https URL"),
    "link relative": (with_link("/a/b"), "not an http or https URL"),
    "link without host": (with_link("https:///a"), "not an http or https URL"),
    "link with a user": (with_link("https://user:pw@host/a"), "not an http or https URL"),
    "link with a space": (with_link("https://host/a b"), "contains invalid characters"),
    "link with a line end": (with_link("https://host/a\r\nX: 1"), "contains invalid characters"),
    "link with other letters": (with_link("https://host/\u00e4"), "contains invalid characters"),
    "link too long": (with_link("https://host/" + "a" * 65536), "contains invalid characters"),
    "link to no port": (with_link("https://host:99999/a"), "cannot use the deployment offered by the server"),
    "link to a broken address": (with_link("https://[::1/a"), "cannot use the deployment offered by the server"),
    "link with a trick host": (
        with_link("https://secret\u2100\x1bb/?secret"),
        "cannot use the deployment offered by the server",
    ),
}


@pytest.mark.parametrize("name", BAD_OFFERS)
def test_unusable_offers(name: str) -> None:
    """A 200 without a usable deployment is reported as the server's error, in one printable line without the link."""
    body, reason = BAD_OFFERS[name]
    with pytest.raises(ServerError) as caught:
        parse_next_reply(reply(200, body), now=NOW)
    text = str(caught.value)
    assert text.startswith("cannot use the deployment offered by the server: ")
    assert reason in text
    assert text.isprintable()
    assert "secret" not in text
    assert 200 == caught.value.status


RETRY_AFTER: list[tuple[str, float | None]] = [
    ("9", 9),
    (" 120 ", 120),
    ("0", 0),
    ("Mon, 23 Nov 2026 12:00:30 GMT", 30),
    ("Mon, 23 Nov 2026 13:00:30 +0100", 30),
    ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
    ("", None),
    ("soon", None),
    ("-5", None),
    ("1.5", None),
    ("\u0661", None),
    ("9" * 30, None),
    ("Mon, 23 Nov 2026 12:00:30 -0000", None),
    ("Mon, 99 Nov 2026 12:00:30 GMT", None),
    ("Mon, 23 Nov 2026 14:00:00 GMT", 3600),
    ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
]


@pytest.mark.parametrize(("value", "expected"), RETRY_AFTER)
def test_retry_after(value: str, expected: float | None) -> None:
    """Retry-After is a number of seconds or an HTTP date; any other value is ignored."""
    seconds = parse_retry_after(value, now=NOW)
    assert expected == (seconds if expected is None else pytest.approx(seconds, rel=0.01))


BY_DATE: list[tuple[str, float | None]] = [
    ("Mon, 01 Jan 2001 00:00:00 GMT", 5),
    ("Mon, 01 Jan 2001 01:00:00 +0100", 5),
    ("Sun, 31 Dec 2000 23:00:00 GMT", 3605),
    ("Sun, 31 Dec 2000 12:00:00 GMT", 12 * 3600 + 5),
    ("Mon, 01 Jan 2001 00:00:09 GMT", 0),
    ("", 0),
    ("yesterday", 0),
    ("Mon, 01 Jan 2001 00:00:00 -0000", 0),
]


@pytest.mark.parametrize(("date", "expected"), BY_DATE)
@pytest.mark.parametrize("parser", PARSERS)
def test_retry_after_by_the_clock_of_the_server(parser: str, date: str, expected: float) -> None:
    """A Retry-After date is compared with the Date of the same reply, since the device's clock may be wrong."""
    with pytest.raises(ServerError) as caught:
        PARSERS[parser](reply(503, retry_after="Mon, 01 Jan 2001 00:00:05 GMT", date=date))
    assert expected == caught.value.retry_after_seconds


@given(
    st.text()
    | st.lists(st.sampled_from(["Mon,", "1", "Jan", "0000", "99", "12:00", "+2359", "-0000", "GMT", ":", "-"])).map(
        " ".join
    )
)
@example("Mon, 1 Jan 0001 00:00:00 +2359")
@example("1 jan 99999999999 0:0:0")
def test_retry_after_takes_anything(value: str) -> None:
    """Any Retry-After header gives a delay that isn't negative, or is ignored."""
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("parser", PARSERS)
def test_refusals_carry_retry_after(parser: str) -> None:
    """The error of a refusal has the delay of its Retry-After."""
    with pytest.raises(ServerError) as caught:
        PARSERS[parser](reply(429, retry_after="9"))
    assert 9 == caught.value.retry_after_seconds


_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "artifact", "artifact_name", "source", "uri", "expire", "device_types_compatible", "error", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@st.composite
def _mutated_offers(draw: st.DrawFn) -> dict[str, Any]:
    """A valid offer with one or two parts replaced by anything."""
    document = offer()
    for _ in range(draw(st.integers(1, 2))):
        path = draw(
            st.sampled_from(
                [
                    ("id",),
                    ("artifact",),
                    ("artifact", "artifact_name"),
                    ("artifact", "source"),
                    ("artifact", "source", "uri"),
                    ("artifact", "source", "expire"),
                    ("artifact", "device_types_compatible"),
                ]
            )
        )
        place: Any = document
        for key in path[:-1]:
            place = place[key] if isinstance(place.get(key), dict) else {}
        place[path[-1]] = draw(_DOCUMENTS | st.text().map(lambda text: "https://" + text))
    return document


_BODIES = st.one_of(
    st.binary(max_size=200),
    _DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    _mutated_offers().map(lambda document: json.dumps(document).encode()),
)


@given(
    parser=st.sampled_from(sorted(PARSERS)),
    status=st.sampled_from([200, 200, 200, 204, 301, 400, 401, 404, 409, 413, 429, 500, 502]),
    body=_BODIES,
    retry_after=st.none() | st.text(max_size=20),
)
def test_only_our_errors_come_out(parser: str, status: int, body: bytes, retry_after: str | None) -> None:
    """For any reply, a parser returns a value or raises a ServerError with one printable line."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    try:
        result = PARSERS[parser](Reply(status, headers, body))
    except ServerError as error:
        result = error
    if isinstance(result, ServerError):
        assert status == result.status
        assert str(result).isprintable()
        assert len(str(result)) < 2000
    elif isinstance(result, Deployment):
        assert result.id.replace("-", "").replace("_", "").isalnum() or set(result.id) <= {"-", "_"}
        assert urlsplit(result.link.uri).scheme in ("http", "https")


# -- compared with the replies of a real server ------------------------------------------------------------


def recorded() -> list[dict[str, Any]]:
    """The recorded exchanges."""
    with RECORDING.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _parser_of(exchange: dict[str, Any]) -> str | None:
    path = exchange["request"]["path"].partition("?")[0]
    if path == AUTH_PATH:
        return "auth"
    if path == INVENTORY_PATH:
        return "inventory"
    if path in (f"{DEPLOYMENTS_PATH}/next", NEXT_V2_PATH):
        return "next"
    return "status" if path.startswith(DEPLOYMENTS_PATH) and path.endswith("/status") else None


EXCHANGES = [exchange for exchange in recorded() if _parser_of(exchange) is not None]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_recorded_replies(exchange: dict[str, Any]) -> None:
    """Each reply of the real server gives the right value or error."""
    parser = _parser_of(exchange)
    assert parser is not None
    response = exchange["response"]
    status = response["status"]
    headers = {name.lower(): value for name, value in response["headers"].items()}
    answer = Reply(status, headers, (response["body"] or "").encode())
    accepted = {"auth": (200,), "inventory": (200,), "next": (200, 204), "status": (200, 204)}[parser]
    if status in accepted:
        result = PARSERS[parser](answer)
        expected = {"auth": Token, "next": Deployment if status == 200 else type(None)}.get(parser, type(None))
        assert expected is type(result)
        return
    with pytest.raises(ServerError) as caught:
        PARSERS[parser](answer)
    of_a_status = {409: AbortedError, 404: UnknownDeploymentError} if parser == "status" else {}
    kinds = {401: UnauthorizedError, **of_a_status}
    assert kinds.get(status, ServerError) is type(caught.value)
    assert status == caught.value.status
    if status == 429:
        assert 9 == caught.value.retry_after_seconds


def test_the_recording_holds_every_kind() -> None:
    """The recording has a success and a refusal for each parser."""
    seen = {(_parser_of(exchange), exchange["response"]["status"] < 300) for exchange in EXCHANGES}
    assert {(parser, is_accepted) for parser in PARSERS for is_accepted in (True, False)} == seen


def test_log_steers_no_terminal() -> None:
    """Control characters in a log message are replaced, for the server displays it; a tab becomes a space."""
    sent = [message("a\tb\x1b[2J\u202ec"), message("plain é")]
    assert ["a b?[2J?c", "plain é"] == [kept.message for kept in fit_log(sent)]


def test_log_of_many_lines() -> None:
    """Of a very long log, no more lines are held in memory than the server could accept."""
    tracemalloc.start()
    kept = fit_log(message("x") for _ in range(40_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 10_000 < len(kept) < 20_000
    assert peak < 16 << 20


PILES = [b"{}", b"[]", b"[{}]", b"1e1", b'""', b'{"":[]}', b"null"]


@pytest.mark.parametrize("pile", PILES)
@pytest.mark.parametrize("parser", PARSERS)
def test_reply_of_many_small_values(parser: str, pile: bytes) -> None:
    """The largest reply takes a few MiB at most, whatever its JSON."""
    most = MOST_NEXT_REPLY_BYTES if parser == "next" else MOST_REPLY_BYTES
    body = b"[" + b",".join([pile] * (most // (len(pile) + 1))) + b"]"
    tracemalloc.start()
    with contextlib.suppress(ServerError):
        PARSERS[parser](Reply(200, {}, body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


NOT_HERE = {
    "elsewhere": (
        reply(308, location="https://new.example/api?secret"),
        " and redirects to https://new.example, to which the token must not be sent; set ServerURL to the address at",
    ),
    "nowhere": (
        reply(302, location="file:///secret"),
        " and redirects to another address, to which the token must not be sent; set ServerURL",
    ),
    "nginx": (
        reply(400, b"<center>The plain HTTP request was sent to HTTPS port</center>"),
        ", because it expects TLS on this port; write https instead of http in ServerURL",
    ),
    "go": (
        reply(400, b"Client sent an HTTP request to an HTTPS server.\n"),
        ", because it expects TLS on this port; write https",
    ),
}


@pytest.mark.parametrize("name", NOT_HERE)
def test_wrong_address(name: str) -> None:
    """A reply from a wrong address is reported with the right one, if it is known, but never with a query."""
    answer, said = NOT_HERE[name]
    with pytest.raises(ServerError) as caught:
        parse_auth_reply(answer, SERVER, now=NOW)
    assert f"cannot authorise this device: the server answered {answer.status}{said}" in str(caught.value)
    assert "secret" not in str(caught.value)
