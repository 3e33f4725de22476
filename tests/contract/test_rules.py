"""Rules of the real server that the recording doesn't cover, each with the expected answer.

The rules were found by sending some 350 requests to the services of release 4.1.3 and to the dev server, and in the
services' source (mender-server, ``backend/services``); the rules of the object store come from the source of SeaweedFS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519

from devserver.caller import (
    ATTRIBUTES,
    AUTH,
    DEPLOYMENTS,
    NEXT_V2,
    Answer,
    Caller,
    Gadget,
    calling,
    make_artifact,
    public_pem,
)
from mender_devserver import DevServer

NEXT = f"{DEPLOYMENTS}/next"


@dataclass(frozen=True)
class Scene:
    """A server with one accepted device, and deployments in different states.

    Args:
        server: the dev server.
        gadget: the device.
        active: the id of the deployment being offered.
        aborted: the id of a deployment that was offered and then aborted.
        unseen: the id of a deployment that was never offered to the device.
    """

    server: DevServer
    gadget: Gadget
    active: str
    aborted: str
    unseen: str

    def send(self, method: str, path: str, body: str, **headers: str) -> Answer:
        """Send a body verbatim as JSON, with the device's token."""
        sent = {"Authorization": f"Bearer {self.gadget.token}", "Content-Type": "application/json", **headers}
        return self.gadget.caller.call(method, self.gadget.url + path, body, sent)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene, set up once, since no rule changes it."""
    directory = tmp_path_factory.mktemp("rules")
    with DevServer(directory / "server", tls=False) as server, calling() as caller:
        yield _set_up(server, caller, directory)


def _set_up(server: DevServer, caller: Caller, directory: Path) -> Scene:
    gadget = Gadget(caller, server.url)
    gadget.authorize()
    server.accept(server.devices()[0].id)
    gadget.authorize()
    server.upload(make_artifact(directory / "made.mender", "release-2"))
    aborted = server.deploy("release-2")
    gadget.poll()
    server.abort(aborted)
    active, unseen = server.deploy("release-2"), server.deploy("release-2")
    gadget.poll()
    return Scene(server, gadget, active, aborted, unseen)


def named(name: str, more: str = "") -> str:
    """Return an inventory with one attribute."""
    return f'[{{"name": {json.dumps(name)}, "value": "1"{more}}}]'


def repeated(count: int, distinct: int) -> str:
    """Return an inventory with the given numbers of attributes and of distinct names."""
    return json.dumps([{"name": f"n{number % distinct}", "value": "v"} for number in range(count)])


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (named("n" * 1024), 200, ""),
        (named("\u00fc" * 512), 200, ""),
        (named("\u00fc" * 513), 400, "name: the length must be between 1 and 1024."),
        (named("a\0b"), 500, "internal error"),
        (named("a", ', "value": "a\\u0000b"'), 200, ""),
        (repeated(100, 50), 200, ""),
        (repeated(120, 100), 400, "the number of attributes in the scope is above the limit"),
        (named("a", ', "value": NaN'), 400, "failed to decode request body: invalid character 'N'"),
        (named("a", ', "value": -Infinity'), 400, "failed to decode request body: invalid character 'I'"),
        (named("a", ', "value": 1e400'), 400, "failed to decode request body: json: cannot unmarshal number 1e400"),
        (named("a", f', "value": 1{"0" * 400}'), 400, "failed to decode request body: json: cannot unmarshal number"),
        (named("a", ', "value": 1e300'), 200, ""),
        (named("a", ', "scope": 1'), 400, "failed to decode request body: json: cannot unmarshal number"),
        (named("a", ', "description": 1'), 400, "failed to decode request body: json: cannot unmarshal number"),
        (named("a", ', "description": null, "scope": null'), 200, ""),
        (named("a", ', "timestamp": "yesterday"'), 400, "failed to decode request body: parsing time"),
        (named("a", ', "timestamp": 1'), 400, "failed to decode request body: json: cannot unmarshal number"),
        (named("a", ', "timestamp": "2026-11-23T10:00:00Z"'), 400, "timestamp: must be either a string or byte slice."),
        (named("", ', "timestamp": "2026-11-23T10:00:00Z"'), 400, "name: cannot be blank; timestamp: must be either a"),
        (named("a", ', "timestamp": null'), 200, ""),
        ('[{"name": "a", "value": [1, "x"]}]', 400, "value: array values must be of consistent type: string or float6"),
        ('[{"name": "a", "value": [null]}]', 400, "value: array values must be either string or float64, not: invalid"),
        ('[{"NAME": "a", "Value": "1"}]', 200, ""),
        ('[{"name": "a", "value": "1"}] and more', 200, ""),
        ("null", 200, ""),
        ("\ufeff[]", 400, "failed to decode request body: invalid character"),
    ],
)
def test_inventory(scene: Scene, body: str, status: int, error: str) -> None:
    """Names are limited in bytes, attributes are counted including repeated names, and every field is type-checked."""
    answer = scene.send("PUT", ATTRIBUTES, body)
    assert (status, error) == (answer.status, answer.error[: len(error)] if answer.body else "")


def test_inventory_that_is_refused_changes_nothing(scene: Scene) -> None:
    """After a refused PUT or PATCH, the earlier attributes are unchanged."""
    device_id = scene.server.devices()[0].id
    scene.send("PUT", ATTRIBUTES, named("kept"))
    for body in (named("a\0b"), repeated(120, 100), named("\u00fc" * 513)):
        scene.send("PUT", ATTRIBUTES, body)
        scene.send("PATCH", ATTRIBUTES, body)
    assert {"kept": "1"} == scene.server.inventory(device_id)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"status": "installing", "substate": "\u00fc" * 100}, 204, ""),
        ({"status": "installing", "substate": "\u00fc" * 101}, 400, "substate: the length must be no more than 200."),
        (
            {"status": "aborted", "substate": "x" * 201},
            400,
            "status: must be a valid value; substate: the length must be no more than 200.",
        ),
        ({"STATUS": "installing"}, 204, ""),
        ({"status": "installing", "substate": 5}, 400, "json: cannot unmarshal number"),
    ],
)
def test_status(scene: Scene, body: dict[str, object], status: int, error: str) -> None:
    """A substate is limited in bytes, and field names are case-insensitive."""
    answer = scene.send("PUT", f"{DEPLOYMENTS}/{scene.active}/status", json.dumps(body))
    assert (status, error) == (answer.status, answer.error[: len(error)] if answer.body else "")


@pytest.mark.parametrize("body", ["{}", '{"status": null}'])
def test_report_without_a_status(scene: Scene, body: str) -> None:
    """The status is checked last: 404 for an unknown deployment, 409 for an aborted one, otherwise 500."""
    ids = (scene.unseen, scene.aborted, scene.active)
    answers = [scene.send("PUT", f"{DEPLOYMENTS}/{one}/status", body) for one in ids]
    assert [404, 409, 500] == [one.status for one in answers]
    assert ["Resource not found", "Deployment aborted", "internal error"] == [one.error for one in answers]


@pytest.mark.parametrize(
    ("timestamp", "status"),
    [
        ("2026-11-23T10:00:00Z", 204),
        ("2026-11-23T10:00:00.123456789+02:00", 204),
        ("2026-11-23T10:00:00,5-24:00", 204),
        ("2026-11-23T1:00:00Z", 204),
        ("2024-02-29T23:59:59Z", 204),
        ("2026-11-23t10:00:00Z", 400),
        ("2026-11-23T10:00:00z", 400),
        ("2026-11-23 10:00:00Z", 400),
        ("2026-11-23T10:00:60Z", 400),
        ("2026-11-23T24:00:00Z", 400),
        ("2026-02-30T10:00:00Z", 400),
        ("2026-02-29T10:00:00Z", 400),
        ("2026-13-01T10:00:00Z", 400),
        ("2026-11-23T10:00:00+25:00", 400),
        ("2026-11-23T10:00:00+0200", 400),
        ("2026-11-23T10:00:00.Z", 400),
        ("\u0662026-11-23T10:00:00Z", 400),
        ("0000-11-23T10:00:00Z", 500),
        (5, 400),
    ],
)
def test_log_timestamp(scene: Scene, timestamp: object, status: int) -> None:
    """A timestamp must be valid and in RFC 3339 as parsed by Go; the year 0 is parsed, but can't be stored."""
    message = {"timestamp": timestamp, "level": "info", "message": "x"}
    answer = scene.send("PUT", f"{DEPLOYMENTS}/{scene.active}/log", json.dumps({"messages": [message]}))
    assert status == answer.status


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ('{"Artifact_Name": "old", "DEVICE_TYPE": "testdev"}', 200, ""),
        ('{"artifact_name": "old", "device_type": "testdev"} trailing text', 200, ""),
        ('{"artifact_name": "old", "device_type": "testdev", "artifact_provides": null}', 200, ""),
        (json.dumps({"artifact_name": "\u00fc" * 2049, "device_type": "x"}), 400, "artifact_name: the length must be"),
        (
            '{"artifact_name": "a", "device_type": "x", "artifact_provides": {"a": 1}}',
            400,
            "invalid schema: json: cann",
        ),
        ('{"artifact_name": "a"', 400, "invalid schema: unexpected EOF"),
    ],
)
def test_poll(scene: Scene, body: str, status: int, error: str) -> None:
    """Field names are case-insensitive, text after the JSON is ignored, and a name is limited to 4096 bytes."""
    answer = scene.send("POST", NEXT, body)
    assert (status, error) == (answer.status, answer.error[: len(error)] if error else "")


def test_null_is_an_empty_provide(tmp_path: Path) -> None:
    """A null value of a provide is accepted, and equals an empty string."""
    with DevServer(tmp_path / "server", tls=False) as server, calling() as caller:
        scene = _set_up(server, caller, tmp_path)
        scene.server.abort(scene.active)
        bodies = ({"a": None}, {"a": ""}, {"a": "b"})
        device = {"artifact_name": "old", "device_type": "testdev"}
        polls = [scene.send("POST", NEXT, json.dumps({**device, "artifact_provides": one})) for one in bodies]
    assert [200, 200, 409] == [one.status for one in polls]


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("artifact_name=o%6cd&device_type=testdev", 200, ""),
        ("artifact_name=old&artifact_name=other&device_type=testdev&x=%zz", 200, ""),
        ("artifact_name=100%&device_type=testdev", 400, "artifact_name: cannot be blank."),
        ("artifact_name=%zz&device_type=%4", 400, "artifact_name: cannot be blank; device_type: cannot be blank."),
        ("artifact_name=a;b&device_type=testdev", 400, "artifact_name: cannot be blank."),
    ],
)
def test_query(scene: Scene, query: str, status: int, error: str) -> None:
    """A field with an invalid escape or a semicolon counts as missing."""
    answer = scene.send("GET", f"{NEXT}?{query}", "")
    assert (status, error) == (answer.status, answer.error if error else "")


def _pkcs1() -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1).decode()


def _other_pem(key: dsa.DSAPrivateKey | x25519.X25519PrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.parametrize(
    ("pem", "status", "error"),
    [
        (public_pem(ec.generate_private_key(ec.SECP521R1())), 401, "dev auth: unauthorized"),
        (public_pem(ec.generate_private_key(ec.SECP256K1())), 400, "invalid auth request: cannot decode public key"),
        (_other_pem(dsa.generate_private_key(1024)), 400, "invalid auth request: unrecognized public key type"),
        (_other_pem(x25519.X25519PrivateKey.generate()), 400, "invalid auth request: unrecognized public key type"),
        (_pkcs1(), 400, "invalid auth request: cannot decode public key"),
    ],
    ids=["P-521", "secp256k1", "DSA", "X25519", "PKCS 1"],
)
def test_kind_of_key(scene: Scene, pem: str, status: int, error: str) -> None:
    """RSA, Ed25519 and ECDSA on NIST curves are supported; any other key is refused with 400."""
    body = json.dumps({"id_data": '{"mac": "other"}', "pubkey": pem})
    answer = scene.send("POST", AUTH, body, **{"X-MEN-Signature": "x"})
    assert (status, error) == (answer.status, answer.error[: len(error)])


@pytest.mark.parametrize(
    ("changed", "status"),
    [("{} more", 400), ('{"PUBKEY": 1}', 400), ("[]", 400), ("NaN", 400), ('{"id_data": "{\\"n\\": 1e400}"}', 400)],
)
def test_auth_request_is_decoded_as_a_whole(scene: Scene, changed: str, status: int) -> None:
    """Unlike the other services, authentication refuses text after the JSON."""
    assert status == scene.send("POST", AUTH, changed, **{"X-MEN-Signature": "x"}).status


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("Bearer  {}", "malformed Authorization header"),
        ("Bearer", "malformed Authorization header"),
        ("Bearer {} more", "malformed Authorization header"),
        ("Basic  {}", "malformed Authorization header"),
        ("Token {}", "unknown Authorization method Token"),
    ],
)
def test_authorization(scene: Scene, header: str, error: str) -> None:
    """The method and the token must be separated by exactly one space, with nothing after the token."""
    value = header.format(scene.gadget.token)
    answer = scene.send("GET", f"{NEXT}?artifact_name=old&device_type=testdev", "", Authorization=value)
    assert (401, error) == (answer.status, answer.error)


@pytest.mark.parametrize(
    ("path", "with_token", "media_type", "named"),
    [
        ("/api/devices/v1/nosuch", False, "text/plain; charset=utf-8", False),
        ("/api/devices/v1/nosuch", True, "text/plain; charset=utf-8", False),
        ("/api/other", False, "text/plain; charset=utf-8", False),
        ("/api/devices/v1/authentication/nosuch", False, "application/json; charset=utf-8", True),
        ("/api/devices/v2/authentication/auth_requests", False, "application/json; charset=utf-8", True),
        ("/api/devices/v2/inventory/device/attributes", True, "application/json; charset=utf-8", True),
        (f"{DEPLOYMENTS}", True, "application/json; charset=utf-8", False),
        (f"{DEPLOYMENTS}/x/nosuch", True, "application/json; charset=utf-8", False),
        (NEXT_V2, True, "application/json; charset=utf-8", False),
    ],
)
def test_unknown_path(scene: Scene, path: str, with_token: bool, media_type: str, named: bool) -> None:
    """The gateway answers 404 as text, even without a token; a service answers it as JSON, some with the request id."""
    headers = {"Authorization": f"Bearer {scene.gadget.token}"} if with_token else {}
    answer = scene.gadget.caller.call("GET", scene.gadget.url + path, b"", headers)
    assert (404, media_type) == (answer.status, answer.headers["content-type"])
    if media_type.startswith("text"):
        assert ("nosniff", b"404 page not found\n") == (answer.headers["x-content-type-options"], answer.body)
    else:
        assert ("not found", named) == (answer.error, "request_id" in answer.json)


@pytest.mark.parametrize("path", [f"{DEPLOYMENTS}/x/nosuch", "/api/devices/v2/inventory/x", NEXT])
def test_token_comes_first(scene: Scene, path: str) -> None:
    """Services that need a token answer 401 without one, whether or not the path exists."""
    assert 401 == scene.gadget.caller.call("OPTIONS", scene.gadget.url + path).status


@pytest.mark.parametrize(
    ("path", "method", "refused", "asked"),
    [
        (AUTH, "GET", "POST, OPTIONS", "POST"),
        (ATTRIBUTES, "GET", "PUT, PATCH, OPTIONS", "PUT, PATCH"),
        (NEXT, "DELETE", "GET, POST, OPTIONS", "GET, POST, OPTIONS"),
        (f"{DEPLOYMENTS}/x/status", "POST", "PUT, OPTIONS", "PUT, OPTIONS"),
        (f"{DEPLOYMENTS}/x/log", "GET", "PUT, OPTIONS", "PUT, OPTIONS"),
    ],
)
def test_methods(scene: Scene, path: str, method: str, refused: str, asked: str) -> None:
    """A 405 lists the allowed methods; so does OPTIONS, with 200 and an empty body."""
    answers = [scene.send(one, path, "") for one in (method, "OPTIONS")]
    assert [(405, refused), (200, asked)] == [(one.status, one.headers["allow"]) for one in answers]
    assert ("method not allowed", b"") == (answers[0].error, answers[1].body)


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("POST", f"{AUTH}/", 307, AUTH),
        ("OPTIONS", f"{AUTH}/", 307, AUTH),
        ("GET", f"{AUTH}/", 404, None),
        ("GET", f"{NEXT}/?artifact_name=a&device_type=b", 301, f"{NEXT}?artifact_name=a&device_type=b"),
        ("POST", f"{NEXT}/", 307, NEXT),
        ("PUT", f"{DEPLOYMENTS}/x/status/", 307, f"{DEPLOYMENTS}/x/status"),
        ("PUT", f"{ATTRIBUTES}/", 200, None),
    ],
)
def test_slash_at_the_end(scene: Scene, method: str, path: str, status: int, location: str | None) -> None:
    """A trailing slash is redirected if the path without it allows the method; the inventory accepts it."""
    answer = scene.send(method, path, "[]" if method == "PUT" else "")
    assert (status, location) == (answer.status, answer.headers.get("location"))


BEFORE, AFTER = "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "{etag}"}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other", {etag}'}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Unmodified-Since": AFTER}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": "yesterday"}, 200),
        ({"If-Match": "{etag}", "If-Unmodified-Since": BEFORE}, 200),
        ({"If-None-Match": "{etag}"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": AFTER}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": BEFORE.replace("GMT", "-0000")}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": AFTER}, 200),
        ({"If-Match": '"other"', "Range": "bytes=0-9"}, 412),
        ({"If-Match": "{etag}", "Range": "bytes=0-9"}, 206),
        ({"Range": "bytes=5-2"}, 416),
    ],
)
def test_conditions_of_a_download(scene: Scene, headers: dict[str, str], status: int) -> None:
    """The object store honours conditional requests: 412 if a precondition fails, 304 if the client is up to date."""
    etag, link = f'"{scene.server.artifacts()[0].etag}"', scene.gadget.link()
    answer = scene.gadget.caller.call("GET", link, b"", {name: one.format(etag=etag) for name, one in headers.items()})
    assert status == answer.status
    if status == 304:
        assert (b"", etag, None) == (answer.body, answer.headers["etag"], answer.headers.get("content-length"))
    elif status in (412, 416):
        code = {412: b"PreconditionFailed", 416: b"InvalidRange"}[status]
        assert b"<Code>" + code + b"</Code>" in answer.body


@pytest.mark.parametrize(
    ("keep", "status", "code"),
    [
        (r"(.*)&X-Amz-Signature=.*", 400, b"AuthorizationQueryParametersError"),
        (r"([^?]*\?).*", 403, b"AccessDenied"),
        (r"([^?]*)\?.*", 403, b"AccessDenied"),
    ],
)
def test_link_without_signature(scene: Scene, keep: str, status: int, code: bytes) -> None:
    """A link that lacks only its signature is malformed; one without a query is an anonymous request."""
    match = re.fullmatch(keep, scene.gadget.link())
    assert match is not None
    answer = scene.gadget.caller.call("GET", match[1])
    assert (status, [code]) == (answer.status, re.findall(b"<Code>([^<]*)", answer.body))
