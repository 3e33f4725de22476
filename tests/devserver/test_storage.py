"""Links and ranges, as an object store has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devserver.caller import Caller, Gadget, make_artifact
from mender_devserver import DevServer
from mender_devserver.storage import read_range


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        ("", None),
        ("bytes=0-", (0, 99)),
        ("bytes=10-19", (10, 19)),
        ("bytes=10-1000", (10, 99)),
        ("bytes=99-", (99, 99)),
        ("bytes=100-", (100, 99)),
        ("bytes=-10", (90, 99)),
        ("bytes=-1000", (0, 99)),
        ("bytes=-0", (100, 100)),
        ("bytes=19-10", (100, 100)),
        ("bytes=0-1,5-6", None),
        ("lines=0-9", None),
        ("bytes=a-", None),
        ("bytes=-", None),
    ],
)
def test_range_is_read_as_the_object_store_does(wanted: str, span: tuple[int, int] | None) -> None:
    """A single byte range is honoured; several or an invalid one get the whole object, an inverted one nothing."""
    assert span == read_range(wanted, 100)


def test_parts_add_up_to_the_file(server: DevServer, gadget: Gadget, release: str) -> None:
    """A download resumed at any byte continues the same object, and needs no token."""
    link = gadget.link()
    content = server.artifacts()[0].path.read_bytes()
    first = gadget.caller.call("GET", link, b"", {"Range": "bytes=0-4999"})
    rest = gadget.caller.call("GET", link, b"", {"Range": "bytes=5000-"})
    assert content == first.body + rest.body
    assert (206, 206) == (first.status, rest.status)
    assert first.headers["etag"] == rest.headers["etag"]
    assert f"bytes 5000-{len(content) - 1}/{len(content)}" == rest.headers["content-range"]


def test_range_past_the_end_tells_the_total(server: DevServer, gadget: Gadget, release: str) -> None:
    """A range past the end gets 416 with the total size."""
    total = server.artifacts()[0].size_bytes
    answer = gadget.caller.call("GET", gadget.link(), b"", {"Range": f"bytes={total}-"})
    assert (416, f"bytes */{total}") == (answer.status, answer.headers["content-range"])


def test_links_lead_to_another_port(server: DevServer, gadget: Gadget, release: str) -> None:
    """The object store has another address than the server that the device polls."""
    assert gadget.link().startswith(server.storage_url)
    assert server.url != server.storage_url


def test_link_ends(server: DevServer, gadget: Gadget, release: str) -> None:
    """An expired link gets 403, in XML; the next poll returns a valid one."""
    link = gadget.link()
    server.clock_offset_seconds = 24 * 3600.0
    answer = gadget.caller.call("GET", link)
    assert (403, b"Request has expired") == (answer.status, re.findall(b"<Message>([^<]*)", answer.body)[0])
    server.token_seconds = 14 * 24 * 3600.0
    assert 200 == gadget.caller.call("GET", gadget.link()).status


def test_link_outlives_an_abort(server: DevServer, gadget: Gadget, release: str) -> None:
    """An abort doesn't affect the object store."""
    link = gadget.link()
    server.abort(release)
    assert 200 == gadget.caller.call("GET", link).status


def test_deleted_artifact_is_404(server: DevServer, gadget: Gadget, release: str) -> None:
    """A link to a deleted Artifact gets 404, in XML."""
    link = gadget.link()
    server.delete_artifact(server.artifacts()[0].id)
    answer = gadget.caller.call("GET", link)
    assert (404, "application/xml") == (answer.status, answer.headers["content-type"])


@pytest.mark.parametrize("change", ["host", "path", "life", "method"])
def test_link_cannot_be_changed(caller: Caller, gadget: Gadget, release: str, change: str) -> None:
    """The signature covers method, host, path and query."""
    link, method, headers = gadget.link(), "GET", {}
    if change == "host":
        headers = {"Host": "localhost:1"}
    elif change == "path":
        link = link.replace("/mender/", "/mender/x")
    elif change == "life":
        link = link.replace("Expires=86400", "Expires=99999999")
    else:
        method = "HEAD"
    assert 403 == caller.call(method, link, b"", headers).status


def test_artifact_of_a_device_type_is_chosen(server: DevServer, gadget: Gadget, tmp_path: Path) -> None:
    """Of several Artifacts with the same name the device gets the one for its type."""
    for device_type in ("typeA", "typeB"):
        server.upload(make_artifact(tmp_path / "made", "multi", [device_type], device_type.encode() * 600))
    server.deploy("multi")
    offer = gadget.poll(device_type="typeB").json["artifact"]
    assert ["typeB"] == offer["device_types_compatible"]
    assert b"typeB" in gadget.caller.call("GET", offer["source"]["uri"]).body
