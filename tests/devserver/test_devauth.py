"""The device management API at the paths of the real server, as its public specification describes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devserver.caller import Answer, Caller, Gadget, calling, new_key, public_pem
from mender_devserver import DevServer

DEVICES = "/api/management/v2/devauth/devices"


class Operator:
    """Calls the management API of a server with its token."""

    def __init__(self, server: DevServer, caller: Caller) -> None:
        self._server, self._caller = server, caller

    def __call__(self, method: str, path: str = "", body: str = "", *, token: str | None = None) -> Answer:
        """Call ``path`` below the devices."""
        headers = {"Authorization": f"Bearer {self._server.contact.token if token is None else token}"}
        return self._caller.call(method, self._server.url + DEVICES + path, body, headers)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server with three devices that wait for a decision."""
    with DevServer(tmp_path / "server", tls=False) as running, calling() as caller:
        for name in "abc":
            assert 401 == Gadget(caller, running.url, {"mac": name}).authorize().status
        yield running


@pytest.fixture
def operate(server: DevServer) -> Iterator[Operator]:
    """A client with the token."""
    with calling() as caller:
        yield Operator(server, caller)


def macs(answer: Answer) -> list[Any]:
    """The devices that were listed."""
    assert 200 == answer.status
    return [one["identity_data"]["mac"] for one in answer.json]


def test_devices_are_listed_in_pages(server: DevServer, operate: Operator) -> None:
    """Devices are listed oldest first, by status and id, in pages with links to the others."""
    ids = [one.id for one in server.devices()]
    assert ["a", "b", "c"] == macs(operate("GET"))
    assert ["a", "c"] == macs(operate("GET", f"?id={ids[0]}&id={ids[2]}"))
    first, last = (operate("GET", f"?status=pending&per_page=2&page={page}") for page in (1, 2))
    assert (["a", "b"], ["c"]) == (macs(first), macs(last))
    assert ['rel="next"', 'rel="first"'] == [one.split("; ")[1] for one in first.headers["link"].split(", ")]
    assert ['rel="prev"', 'rel="first"'] == [one.split("; ")[1] for one in last.headers["link"].split(", ")]
    assert f"<{DEVICES}?page=2&per_page=2&status=pending>" in first.headers["link"]
    assert [] == macs(operate("GET", "?status=accepted"))
    device = operate("GET", f"/{ids[0]}").json
    assert ({"mac": "a"}, "pending", False) == (device["identity_data"], device["status"], device["decommissioning"])
    (auth_set,) = device["auth_sets"]
    assert ({"mac": "a"}, "pending", server.devices()[0].auth_sets[0].public_key) == (
        auth_set["identity_data"],
        auth_set["status"],
        auth_set["pubkey"],
    )
    assert device["created_ts"].endswith("Z")


def test_keys_are_accepted_and_rejected(server: DevServer, operate: Operator) -> None:
    """A pending key can be accepted or rejected, and either decision can be changed later."""
    device = server.devices()[0]
    path = f"/{device.id}/auth/{device.auth_sets[0].id}/status"
    for status in ("accepted", "rejected", "accepted"):
        assert (204, b"") == ((answer := operate("PUT", path, f'{{"status": "{status}"}}')).status, answer.body)
        assert status == server.devices()[0].status
    assert ["b", "c"] == macs(operate("GET", "?status=pending"))


def test_devices_are_preauthorized(server: DevServer, operate: Operator) -> None:
    """A new identity is preauthorised; a known one is answered with what is known about it."""
    key = new_key()
    body = f'{{"identity_data": {{"mac": "d"}}, "pubkey": "{public_pem(key)}"}}'.replace("\n", "\\n")
    made = operate("POST", "", body)
    device = server.devices()[-1]
    assert (201, f"devices/{device.id}") == (made.status, made.headers["location"])
    assert ("preauthorized", {"mac": "d"}) == (device.status, device.identity)
    again = operate("POST", "", body)
    assert (409, device.id) == (again.status, again.json["id"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "?page=0", "", 400),
        ("GET", "?per_page=501", "", 400),
        ("GET", "?status=new", "", 400),
        ("GET", "/nobody", "", 404),
        ("POST", "", "{}", 400),
        ("POST", "", '{"identity_data": {"mac": "d"}, "pubkey": "key"}', 400),
        ("PUT", "/nobody/auth/none/status", '{"status": "accepted"}', 404),
        ("PUT", "/{device}/auth/none/status", '{"status": "accepted"}', 404),
        ("PUT", "/{device}/auth/{key}/status", '{"status": "pending"}', 400),
        ("PUT", "/{device}/auth/{key}/status", "{", 400),
        ("PATCH", "", "", 405),
        ("GET", "/{device}/nothing", "", 404),
    ],
)
def test_wrong_calls_are_refused(
    server: DevServer, operate: Operator, method: str, path: str, body: str, status: int
) -> None:
    """An impossible request is refused with a status, a sentence and the id of the request."""
    device = server.devices()[0]
    answer = operate(method, path.format(device=device.id, key=device.auth_sets[0].id), body)
    assert (status, {"error", "request_id"}) == (answer.status, set(answer.json))


def test_only_its_owner_may(operate: Operator) -> None:
    """Without the token nothing is disclosed."""
    assert [401, 401] == [operate("GET", token=token).status for token in ("", "other")]
