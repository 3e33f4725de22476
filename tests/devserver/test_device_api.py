"""The device API where the recordings don't cover it: limits, compression, v2, the rate limit."""

from __future__ import annotations

import gzip
import json

import pytest

from devserver.caller import ATTRIBUTES, AUTH, DEPLOYMENTS, NEXT_V2, Caller, Gadget
from mender_devserver import DevServer, RateLimit


def test_v2_is_offered_when_switched_on(server: DevServer, gadget: Gadget, release: str) -> None:
    """The v2 poll gets 404 until it is enabled; then it is equivalent to v1 without provides."""
    body = {"device_provides": {"device_type": "testdev", "artifact_name": "old"}}
    assert 404 == gadget.call("POST", NEXT_V2, body).status
    server.v2 = True
    assert [release, release] == [gadget.call("POST", NEXT_V2, body).json["id"], gadget.poll().json["id"]]
    assert 405 == gadget.call("GET", NEXT_V2).status


def test_v2_provides_are_compared(server: DevServer, gadget: Gadget, release: str) -> None:
    """Provides that change in the middle of a deployment are a conflict in v2, too."""
    server.v2 = True
    provides = {"device_type": "testdev", "artifact_name": "old", "rootfs-image.checksum": "1"}
    assert 200 == gadget.call("POST", NEXT_V2, {"device_provides": provides}).status
    other = {**provides, "rootfs-image.checksum": "2"}
    assert 409 == gadget.call("POST", NEXT_V2, {"device_provides": other}).status


def test_large_json_is_compressed_when_offered(server: DevServer, gadget: Gadget, release: str) -> None:
    """JSON above 1 KiB is sent as gzip to a client that accepts it, and uncompressed to others."""
    query = f"{DEPLOYMENTS}/next?artifact_name=old&device_type=testdev"
    gadget.call("GET", query)
    types = [f"testdev-{number}" for number in range(99)]
    server.upload(server.artifacts()[0].path, artifact_name="release-2", device_types=["testdev", *types])
    plain = gadget.call("GET", query)
    packed = gadget.call("GET", query, **{"Accept-Encoding": "gzip"})
    assert (None, "gzip") == (plain.headers.get("content-encoding"), packed.headers.get("content-encoding"))
    assert plain.json["id"] == json.loads(gzip.decompress(packed.body))["id"]


@pytest.mark.parametrize("path", [AUTH, ATTRIBUTES])
def test_body_above_a_mebibyte_is_refused(gadget: Gadget, path: str) -> None:
    """A body above 1 MiB gets 413, and nothing is stored."""
    method = "POST" if path == AUTH else "PUT"
    assert 413 == gadget.call(method, path, [{"name": "a", "value": "x" * 1024 * 1024}]).status


def test_rate_limit_tells_when_to_come_back(server: DevServer, gadget: Gadget) -> None:
    """A device above the rate limit gets 429 with Retry-After in seconds; it can still ask for a token."""
    server.rate_limit = RateLimit(2, 30.0)
    answers = [gadget.poll() for _ in range(3)]
    assert [204, 204, 429] == [one.status for one in answers]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert 200 == gadget.authorize().status
    server.clock_offset_seconds += 31
    assert 204 == gadget.poll().status


def test_request_id_of_the_device_comes_back(gadget: Gadget) -> None:
    """The response has the request id that the device has sent."""
    assert "mine" == gadget.call("GET", ATTRIBUTES, **{"X-MEN-RequestID": "mine"}).headers["x-men-requestid"]


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("inventory", [{"name": "n" * 1025, "value": "x"}], "name: the length must be between 1 and 1024."),
        ("inventory", [{"name": "a", "value": ["x", 1]}], "value: array values must be of consistent type: s"),
        ("inventory", [{"value": True}], "name: cannot be blank; value: supported types are string, float64, and arr"),
        ("inventory", ["a"], "failed to decode request body: json: cannot unmarshal string"),
        ("status", {"status": "success", "substate": "x" * 201}, "substate: the length must be no more than 200."),
        ("status", [], "json: cannot unmarshal array"),
        ("log", {"messages": []}, "no messages: invalid deployment log"),
        ("log", {"messages": "x"}, "json: cannot unmarshal string"),
        ("log", {"messages": [{"level": "x", "message": "x"}]}, "timestamp: cannot be blank."),
        ("log", {"messages": [{"level": 1}]}, "json: cannot unmarshal number"),
        ("next", {"artifact_name": 1, "device_type": "x"}, "invalid schema: json: cannot unmarshal"),
        ("next", {"artifact_name": "a", "device_type": "x", "artifact_provides": {"a": 1}}, "invalid schema: json"),
    ],
)
def test_bad_values_are_refused(gadget: Gadget, release: str, path: str, value: object, error: str) -> None:
    """A value beyond the server's limits gets 400 with the reason."""
    gadget.poll()
    paths = {
        "inventory": ("PUT", ATTRIBUTES),
        "status": ("PUT", f"{DEPLOYMENTS}/{release}/status"),
        "log": ("PUT", f"{DEPLOYMENTS}/{release}/log"),
        "next": ("POST", f"{DEPLOYMENTS}/next"),
    }
    answer = gadget.call(*paths[path], value)
    assert (400, error) == (answer.status, answer.error[: len(error)])


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 200_000, b'{"messages":'])
def test_body_that_is_no_json_is_400(gadget: Gadget, release: str, body: bytes) -> None:
    """No body, however malformed, makes the server fail."""
    headers = {"Authorization": f"Bearer {gadget.token}", "Content-Type": "application/json"}
    url = f"{gadget.url}{DEPLOYMENTS}/{release}/log"
    assert 400 == gadget.caller.call("PUT", url, body, headers).status


def test_json_in_another_charset_is_415(gadget: Gadget) -> None:
    """JSON is UTF-8."""
    answer = gadget.call("PUT", ATTRIBUTES, [], **{"Content-Type": "application/json; charset=latin1"})
    assert 415 == answer.status


def test_patch_is_held_to_the_limit(server: DevServer, gadget: Gadget) -> None:
    """Attributes added one by one are limited like those sent together, and the last one of a name wins."""
    many = [{"name": f"n{number}", "value": "v"} for number in range(98)]
    gadget.call("PUT", ATTRIBUTES, many)
    twice = [{"name": "last", "value": "1"}, {"name": "last", "value": "2"}]
    others = ([{"name": name, "value": "1"}] for name in ("one more", "too many"))
    statuses = [gadget.call("PATCH", ATTRIBUTES, sent).status for sent in (twice, *others)]
    inventory = server.inventory(server.devices()[0].id)
    assert ([200, 200, 400], 100, "2") == (statuses, len(inventory), inventory["last"])


def test_date_follows_the_servers_clock(server: DevServer, gadget: Gadget) -> None:
    """A server with a wrong clock sends the wrong time in Date."""
    server.clock_offset_seconds = -20 * 365 * 24 * 3600.0
    assert "20" == gadget.poll().headers["date"].split()[3][:2]
    assert int(gadget.poll().headers["date"].split()[3]) < 2015


def test_auth_needs_json_strings(caller: Caller, server: DevServer) -> None:
    """An authorisation request without an identity gets 400."""
    headers = {"Content-Type": "application/json", "X-MEN-Signature": "x"}
    answer = caller.call("POST", server.url + AUTH, b"{}", headers)
    assert (400, "invalid auth request: id_data must be provided") == (answer.status, answer.error)
