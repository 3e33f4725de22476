"""Every fault, over real sockets: what a client sees, and how the server treats the request."""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from devserver.caller import ATTRIBUTES, Answer, Gadget
from mender_client.errors import ServerError
from mender_devserver import DevServer, Fault
from mender_devserver.faults import Faults, as_json, from_json


@pytest.fixture
def fetch(gadget: Gadget, release: str) -> Callable[..., Answer]:
    """Downloads from a link that was obtained before the fault was added."""
    link = gadget.link()
    return lambda **headers: gadget.caller.call("GET", link, b"", headers)


Fetch = Callable[..., Answer]


def received(fetch: Fetch) -> int:
    """The number of body bytes that arrive of a cut download."""
    with pytest.raises(http.client.IncompleteRead) as caught:
        fetch()
    return len(caught.value.partial)


def test_drop_cuts_after_exactly_so_many_bytes(server: DevServer, fetch: Fetch) -> None:
    """The connection ends after N body bytes, although more were announced."""
    server.add_fault(Fault(kind="artifact", drop_after_bytes=5000))
    assert 5000 == received(fetch)
    assert (200, 5000, True) == (server.requests[-1].status, server.requests[-1].bytes_sent, server.requests[-1].fault)


def test_drop_counts_from_the_start_of_the_answer(server: DevServer, fetch: Fetch) -> None:
    """A resumed download is cut after N bytes of the requested range."""
    server.add_fault(Fault(kind="artifact", drop_after_bytes=10))
    with pytest.raises(http.client.IncompleteRead) as caught:
        fetch(Range="bytes=1000-")
    assert 10 == len(caught.value.partial)


@pytest.mark.parametrize("fault", [{"drop_after_bytes": 0}, {"reset": True}])
def test_lost_answer_was_carried_out(server: DevServer, gadget: Gadget, release: str, fault: dict[str, Any]) -> None:
    """A connection that ends before the status line loses the response, not the effect of the request."""
    gadget.poll()
    server.add_fault(Fault(kind="status", **fault))
    with pytest.raises(ConnectionError):
        gadget.report(release, "downloading")
    assert ["downloading"] == server.statuses(release, server.devices()[0].id)
    assert 0 == server.requests[-1].status


def test_reset_in_mid_body_is_a_tcp_reset(server: DevServer, fetch: Fetch) -> None:
    """With ``reset`` the client's system reports a reset connection."""
    server.add_fault(Fault(kind="artifact", reset=True, drop_after_bytes=5000))
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        fetch()


def test_delay_holds_the_answer_back(server: DevServer, gadget: Gadget) -> None:
    """The response comes after the delay, and is otherwise the usual one."""
    server.add_fault(Fault(delay_seconds=0.2))
    start = time.monotonic()
    assert 204 == gadget.poll().status
    assert time.monotonic() - start >= 0.2


def test_stall_goes_on_after_a_while(server: DevServer, fetch: Fetch) -> None:
    """After N bytes there is a pause, then the rest follows."""
    server.add_fault(Fault(kind="artifact", stall_after_bytes=5000, stall_seconds=0.2))
    start = time.monotonic()
    assert server.artifacts()[0].size_bytes == len(fetch().body)
    assert time.monotonic() - start >= 0.2


def test_stall_from_the_first_byte(server: DevServer, fetch: Fetch) -> None:
    """A body may stall before its first byte."""
    server.add_fault(Fault(kind="artifact", stall_after_bytes=0, stall_seconds=0.1))
    start = time.monotonic()
    fetch()
    assert time.monotonic() - start >= 0.1


def test_slow_body_keeps_to_its_rate(server: DevServer, fetch: Fetch) -> None:
    """The body is sent no faster than the given rate."""
    size = server.artifacts()[0].size_bytes
    server.add_fault(Fault(kind="artifact", bytes_per_second=size * 4.0))
    start = time.monotonic()
    assert size == len(fetch().body)
    assert time.monotonic() - start >= 0.2


def test_status_replaces_the_answer_and_the_effect(server: DevServer, gadget: Gadget, release: str) -> None:
    """A gateway's error response means that the server never saw the request."""
    gadget.poll()
    server.add_fault(Fault(kind="status", status=502, body="Bad Gateway"))
    answer = gadget.report(release, "downloading")
    assert (502, b"Bad Gateway") == (answer.status, answer.body)
    assert [] == server.statuses(release, server.devices()[0].id)
    assert 204 == gadget.report(release, "downloading").status


def test_status_with_headers(server: DevServer, gadget: Gadget) -> None:
    """429 with Retry-After, and a redirect, are a status and a header."""
    server.add_fault(Fault(kind="next", status=429, headers={"Retry-After": "7"}))
    server.add_fault(Fault(kind="next", status=302, headers={"Location": "http://127.0.0.1:9/"}))
    first, second = gadget.poll(), gadget.poll()
    assert (429, "7", b"") == (first.status, first.headers["retry-after"], first.body)
    assert (302, "http://127.0.0.1:9/") == (second.status, second.headers["location"])


@pytest.mark.parametrize("body", [b"", b'{"id":', b"\xff\x00"])
def test_body_is_spoilt_and_the_request_carried_out(
    server: DevServer, gadget: Gadget, release: str, body: bytes
) -> None:
    """Broken, empty or strange bytes replace the body; the server has processed the request."""
    server.add_fault(Fault(kind="next", body=body))
    answer = gadget.poll()
    assert (200, body) == (answer.status, answer.body)
    assert [server.devices()[0].id] == list(server.deployments()[0].devices)


def test_body_in_place_of_nothing(server: DevServer, gadget: Gadget) -> None:
    """If the response has no body, a corrupted one is sent with 200."""
    server.add_fault(Fault(kind="next", body="<html>"))
    answer = gadget.poll()
    assert (200, b"<html>") == (answer.status, answer.body)


def test_range_is_ignored(server: DevServer, fetch: Fetch) -> None:
    """A resumed download gets 200 and everything from the start."""
    server.add_fault(Fault(kind="artifact", ignore_range=True))
    answer = fetch(Range="bytes=5000-")
    assert (200, server.artifacts()[0].size_bytes) == (answer.status, len(answer.body))


def test_headers_of_a_download_lie(server: DevServer, fetch: Fetch) -> None:
    """ETag and Content-Range can have any value, once each."""
    server.add_fault(Fault(kind="artifact", etag='"other"', content_range="bytes 0-1/2"))
    answer = fetch(Range="bytes=5000-")
    assert ('"other"', "bytes 0-1/2") == (answer.headers["etag"], answer.headers["content-range"])
    assert '"other"' != fetch().headers["etag"]


def test_link_is_called_expired(server: DevServer, fetch: Fetch) -> None:
    """A valid link can be refused as if it had expired."""
    server.add_fault(Fault(kind="artifact", expired=True))
    answer = fetch()
    assert (403, True) == (answer.status, b"Request has expired" in answer.body)
    assert 200 == fetch().status


def test_fault_meets_its_kind_as_often_as_it_says(server: DevServer, gadget: Gadget) -> None:
    """The kind, the count and the number of requests to skip determine which requests a fault affects."""
    server.add_fault(Fault(kind="next", status=500, after=1, times=2))
    statuses = [gadget.poll().status for _ in range(4)]
    assert [204, 500, 500, 204] == statuses
    assert 200 == gadget.call("PUT", ATTRIBUTES, []).status
    assert [] == server.faults()


def test_fault_for_ever_ends_when_cleared(server: DevServer, gadget: Gadget) -> None:
    """``times=None`` affects every request until the faults are cleared."""
    server.add_fault(Fault(status=503, times=None))
    statuses = {gadget.poll().status for _ in range(5)}
    server.clear_faults()
    assert ({503}, 204) == (statuses, gadget.poll().status)


def test_first_fitting_fault_is_used() -> None:
    """A request is affected by one fault only; the others wait."""
    faults = Faults(lambda *_, **__: None)
    for fault in (Fault(kind="auth", status=501), Fault(status=502), Fault(kind="next", status=503)):
        faults.add(fault)
    assert [502, 503, None, 501] == [
        taken.status if (taken := faults.take(kind)) else None for kind in ("next", "next", "next", "auth")
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "nothing"}, "cannot use fault kind 'nothing': choose from any, auth"),
        ({"stauts": 500}, "cannot use fault field 'stauts': choose from kind"),
        ({"status": "500"}, "cannot use '500' for fault field 'status'"),
        ({"reset": 1}, "cannot use 1 for fault field 'reset'"),
        ({"times": True}, "cannot use True for fault field 'times'"),
        ({"times": 0}, "cannot use 0 for fault field 'times': it must be from 1 to"),
        ({"after": -1}, "cannot use -1 for fault field 'after': it must be from 0 to"),
        ({"status": 101}, "cannot use 101 for fault field 'status': it must be from 200 to 599"),
        ({"status": 600}, "cannot use 600 for fault field 'status': it must be from 200 to 599"),
        ({"delay_seconds": math.nan}, "cannot use nan for fault field 'delay_seconds': it must be from 0 to"),
        ({"stall_seconds": math.inf}, "cannot use inf for fault field 'stall_seconds': it must be from 0 to"),
        ({"bytes_per_second": 0}, "cannot use 0 for fault field 'bytes_per_second': it must be from 1 to"),
        ({"headers": {"a": 1}}, "cannot use {'a': 1} for fault field 'headers'"),
        ({"headers": {"a": "b\r\nc: d"}}, "cannot use 'a': 'b\\r\\nc: d' as a header: it is not printable"),
    ],
)
def test_wrong_fault_is_refused(given: dict[str, Any], message: str) -> None:
    """A fault that could never take effect is refused, and the error says what would be possible."""
    with pytest.raises(ServerError) as caught:
        from_json(given)
    assert message == str(caught.value)[: len(message)]


def test_fault_survives_json() -> None:
    """The description of a fault in the management API creates the same fault again."""
    fault = Fault(kind="log", times=None, status=500, headers={"A": "b"}, body="x", reset=True)
    assert fault == from_json(as_json(fault))
