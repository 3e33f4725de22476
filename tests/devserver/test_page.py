"""What the page needs from the server: its files, its feed, and protection from other web sites."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from devserver.caller import UPGRADE, Caller, Gadget, make_artifact
from mender_devserver import DevServer, Fault
from mender_devserver.browser import TYPES
from mender_devserver.contact import load_contact
from mender_devserver.remote import DEVICES
from mender_devserver.settings import NAMES
from ports import restartable

DIRECTORY = files("mender_devserver") / "page"
HTML = (DIRECTORY / "index.html").read_text()
MANAGEMENT = "/api/management/dev"


def token(server: DevServer) -> dict[str, str]:
    """The credentials for the management API."""
    return {"Authorization": f"Bearer {load_contact(server.directory).token}"}


class Feed:
    """Reads the feed.

    Args:
        server: the server of the feed.
    """

    def __init__(self, server: DevServer) -> None:
        parts = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._connection.request("GET", f"{MANAGEMENT}/live", headers=token(server))
        self.response = self._connection.getresponse()

    def message(self) -> Any:
        """The next message."""
        while not (line := self.response.readline()).startswith(b"data: "):
            assert line, "the feed has ended"
        return json.loads(line.removeprefix(b"data: "))

    def close(self) -> None:
        """Close the feed."""
        self.response.close()
        self._connection.close()


@contextmanager
def feeding(server: DevServer) -> Iterator[Feed]:
    """The feed, closed at the end."""
    feed = Feed(server)
    try:
        yield feed
    finally:
        feed.close()


# The files


@pytest.mark.parametrize(
    "name",
    [
        "",
        *(one.name for one in DIRECTORY.iterdir() if one.is_file()),
        *(f"vendor/{one.name}" for one in (DIRECTORY / "vendor").iterdir() if not one.name.endswith(".txt")),
    ],
)
def test_files_are_served(server: DevServer, caller: Caller, name: str) -> None:
    """Every file of the page is served without a token, and permits no content from other origins."""
    answer = caller.call("GET", f"{server.url}/{name}")
    assert (DIRECTORY / (name or "index.html")).read_bytes() == answer.body
    assert TYPES[(name or "index.html").rpartition(".")[2]] == answer.headers["content-type"]
    assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "nosniff" == answer.headers["x-content-type-options"]


@pytest.mark.parametrize("path", ["/page", "/page/page.js", "/../management.py", "/%2e%2e/management.py", "/page.js/"])
def test_nothing_else_is_served(server: DevServer, caller: Caller, path: str) -> None:
    """Only the page's own names lead to a file."""
    assert 404 == caller.call("GET", server.url + path).status


def test_page_is_only_read(server: DevServer, caller: Caller) -> None:
    """The page's address accepts GET and HEAD; other methods are answered as by the gateway."""
    answer = caller.call("HEAD", f"{server.url}/")
    assert (200, b"") == (answer.status, answer.body)
    assert 404 == caller.call("POST", f"{server.url}/", "{}").status


def test_page_holds_no_markup_from_a_script() -> None:
    """Data from the server is inserted into the page as text; the markup contains no script and no style."""
    scripts = "".join(one.read_text() for one in DIRECTORY.iterdir() if one.name.endswith(".js"))
    assert [] == re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", scripts)
    assert [] == re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", HTML)


def test_page_knows_every_knob() -> None:
    """Every field of a fault and every setting has an input on the page."""
    named = set(re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', HTML))
    assert set() == {one.name for one in fields(Fault)} - named
    assert set() == set(NAMES) - named


# Other web sites


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{url}"}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example", "Host": "evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": "[::1"}, 403),
    ],
)
@pytest.mark.parametrize("path", [f"{MANAGEMENT}/devices", f"{MANAGEMENT}/live", f"{DEVICES}/{{device}}"])
def test_other_sites_are_refused(
    server: DevServer, gadget: Gadget, path: str, headers: dict[str, str], status: int
) -> None:
    """A request from a page of another site is refused even with the token, and so is a foreign host name."""
    path = path.format(device=server.devices()[0].id)
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    given = {name: value.format(url=server.url) for name, value in headers.items()}
    connection.request("GET", path, headers={**token(server), **given})
    response = connection.getresponse()
    assert status == response.status
    response.close()
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-WebSocket-Protocol": "mender-devserver, bearer.{token}", "Origin": "{url}"}, 101),
        ({"Authorization": "Bearer {token}"}, 101),
        ({"Sec-WebSocket-Protocol": "mender-devserver", "Origin": "{url}"}, 401),
        ({"Sec-WebSocket-Protocol": "mender-devserver, bearer.x", "Origin": "{url}"}, 401),
        ({"Sec-WebSocket-Protocol": "mender-devserver, bearer.{token}", "Origin": "https://evil.example"}, 403),
        ({"Sec-WebSocket-Protocol": "mender-devserver, bearer.{token}", "Origin": "null"}, 403),
        ({"Authorization": "Bearer {token}", "Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
def test_terminals_are_not_for_other_sites(
    server: DevServer, gadget: Gadget, headers: dict[str, str], status: int
) -> None:
    """A websocket also needs the token and the server's own origin; a browser would open one for any page."""
    with gadget.connecting():
        device_id = server.devices()[0].id
        connection = server.contact.connect()
        given = {name: value.format(url=server.url, token=server.contact.token) for name, value in headers.items()}
        connection.request("GET", f"{DEVICES}/{device_id}/connect", headers={**UPGRADE, **given})
        response = connection.getresponse()
        assert status == response.status
        chosen = "mender-devserver" if status == 101 and "Sec-WebSocket-Protocol" in headers else None
        assert chosen == response.headers["Sec-WebSocket-Protocol"]
        response.close()
        connection.close()


def test_name_of_the_server_is_its_own(tmp_path: Path) -> None:
    """A server that listens under a host name answers to this name."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, 0)
    except OSError:
        pytest.skip("this machine can't find its own name")
    with DevServer(tmp_path, tls=False, host=name) as server:
        assert [] == load_contact(tmp_path).call("GET", "/devices")
        assert name in server.url


# The feed


def test_feed_needs_the_token(server: DevServer, caller: Caller) -> None:
    """Without the token there is no feed."""
    assert 401 == caller.call("GET", f"{server.url}{MANAGEMENT}/live").status


def test_feed_tells_all_and_then_what_changes(server: DevServer, gadget: Gadget, tmp_path: Path) -> None:
    """The first message has everything, later ones only the changes; removed items are null."""
    gadget.call("PUT", "/api/devices/v1/inventory/device/attributes", [{"name": "kernel", "value": "6.1"}])
    device_id = server.devices()[0].id
    with feeding(server) as feed:
        first = feed.message()
        assert "text/event-stream; charset=utf-8" == feed.response.headers["Content-Type"]
        assert (True, "accepted") == (first["first"], first["changed"]["devices"][device_id]["status"])
        assert ["device-pending", "device-accepted", "token", "inventory"] == [one["name"] for one in first["events"]]
        assert {"devices", "lists", "faults", "settings"} == set(first["changed"])

        artifact = server.upload(make_artifact(tmp_path / "a.mender", "release-2"))
        told = feed.message()
        assert (False, {"artifacts"}) == (told["first"], set(told["changed"]))
        assert "release-2" == told["changed"]["artifacts"][artifact.id]["artifact_name"]

        server.delete_artifact(artifact.id)
        assert {"artifacts": {artifact.id: None}} == feed.message()["changed"]

        server.auto_accept = False
        assert {"settings": {"auto_accept": False}} == feed.message()["changed"]


def test_feed_tells_how_far_a_download_is(server: DevServer, gadget: Gadget, release: str) -> None:
    """During the upload of an Artifact the feed counts its bytes, including those of an earlier attempt."""
    server.add_fault(Fault(kind="artifact", stall_after_bytes=5000))
    link = urlsplit(gadget.link())
    with feeding(server) as feed, socket.create_connection((link.hostname or "", link.port or 0)) as peer:
        on_device = feed.message()["changed"]["deployments"][release]["devices"][0]
        assert 0 == on_device["downloaded_bytes"]
        head = f"GET {link.path}?{link.query} HTTP/1.1\r\nHost: {link.netloc}\r\nRange: bytes=1000-\r\n\r\n"
        peer.sendall(head.encode())
        while on_device["downloaded_bytes"] < 6000:
            changed = feed.message()["changed"].get("deployments", {})
            on_device = changed[release]["devices"][0] if changed else on_device
    assert 6000 == on_device["downloaded_bytes"]
    assert server.artifacts()[0].size_bytes == on_device["size_bytes"]


def test_bytes_stay_with_their_deployment(server: DevServer, gadget: Gadget, release: str) -> None:
    """The bytes of one deployment's download aren't counted for the next one."""
    gadget.caller.call("GET", gadget.link())
    gadget.report(release, "failure")
    second = server.deploy("release-2")
    gadget.poll()
    device_id = server.devices()[0].id
    size = server.artifacts()[0].size_bytes
    counted = [one.devices[device_id].downloaded_bytes for one in server.deployments()]
    assert [size, 0] == counted
    assert second == server.deployments()[1].id


def test_parts_are_counted(server: DevServer, gadget: Gadget, release: str) -> None:
    """For a download in parts, the deployment counts requests and bytes, and the timeline shows only the first part."""
    for part in ("0-999", "2000-2999", "3000-3499"):
        gadget.caller.call("GET", gadget.link(), headers={"Range": f"bytes={part}"})
    (on_device,) = server.deployments()[0].devices.values()
    assert (3, 2500) == (on_device.requests, on_device.sent_bytes)
    assert 1 == sum(event.name == "download" for event in server.events)
    assert release == server.deployments()[0].id


def test_server_stops_under_a_feed(tmp_path: Path) -> None:
    """An open page doesn't keep the server from stopping; after a restart of the server the page is connected again."""
    with restartable(tmp_path, tls=False) as server:
        feed = Feed(server)
        feed.message()
        server.stop()
        with suppress(http.client.IncompleteRead):
            feed.response.read()
        feed.close()
        server.start()
        with feeding(server) as again:
            assert again.message()["first"]


# Its address


def test_address_of_the_page_opens_it(server: DevServer) -> None:
    """The URL leads to the page, with the token in the fragment, which a browser doesn't send."""
    address, _, fragment = server.page_url.partition("#")
    assert (f"{server.url}/", load_contact(server.directory).token) == (address, fragment)
