"""The management API beyond the command line, and the same operations from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devserver.caller import DEPLOYMENTS, Gadget, make_artifact, new_key, public_pem
from mender_client.errors import ServerError
from mender_devserver import DevServer, RateLimit
from mender_devserver.contact import load_contact


def ask(server: DevServer, method: str, path: str, body: object = None) -> Any:
    """Call the management API."""
    return load_contact(server.directory).call(method, path, body)


def test_feed_and_record_are_served(server: DevServer, gadget: Gadget) -> None:
    """Events, from a given number on, and requests can be read with the management API."""
    gadget.poll()
    events = ask(server, "GET", "/events")
    assert ["device-pending", "device-accepted", "token"] == [one["name"] for one in events]
    assert events[2:] == ask(server, "GET", "/events?after=2")
    assert ["auth", "next"] == [one["kind"] for one in ask(server, "GET", "/requests")]
    with pytest.raises(ServerError, match="cannot list events: after must be a number"):
        ask(server, "GET", "/events?after=x")


def test_artifact_is_deleted(server: DevServer, tmp_path: Path) -> None:
    """An Artifact is identified by its id."""
    artifact = server.upload(make_artifact(tmp_path / "a.mender", "release-2"))
    assert artifact.id == ask(server, "DELETE", f"/artifacts/{artifact.id[:8]}")["artifact_id"]
    assert [] == ask(server, "GET", "/artifacts")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("POST", "/deployments", {}, 400),
        ("POST", "/deployments", [1], 400),
        ("POST", "/devices", {"identity": "x", "public_key": "y"}, 400),
        ("POST", "/devices", {"identity": {}, "public_key": "y"}, 400),
        ("POST", "/faults", {"kind": 5}, 400),
        ("PATCH", "/settings", {"token_seconds": -1}, 400),
        ("PATCH", "/settings", {"clock_offset_seconds": -1e300}, 400),
        ("PATCH", "/settings", {"rate_limit": "many"}, 400),
        ("PATCH", "/settings", {"rate_limit": "0/20"}, 400),
        ("PATCH", "/settings", {"rate_limit": "5/nan"}, 400),
    ],
)
def test_wrong_question_is_refused(server: DevServer, method: str, path: str, body: object, status: int) -> None:
    """A request that the management API can't interpret is refused with a status and a sentence."""
    with pytest.raises(ServerError, match=r"^(cannot |json: )") as caught:
        ask(server, method, path, body)
    assert status == caught.value.status


def test_log_of_several_devices_needs_a_name(server: DevServer, gadget: Gadget, tmp_path: Path) -> None:
    """If several devices have sent a log, one must be named."""
    other = Gadget(gadget.caller, server.url, {"mac": "2"})
    other.authorize()
    server.upload(make_artifact(tmp_path / "a.mender", "release-2"))
    deployment_id = server.deploy("release-2")
    log = {"messages": [{"timestamp": "2026-01-01T00:00:00Z", "level": "error", "message": "x"}]}
    for one in (gadget, other):
        one.poll()
        one.call("PUT", f"{DEPLOYMENTS}/{deployment_id}/log", log)
    with pytest.raises(ServerError, match="specify one"):
        ask(server, "GET", f"/deployments/{deployment_id}/log")


def test_deployment_to_a_mistyped_id(server: DevServer, gadget: Gadget, release: str) -> None:
    """A full id is accepted as it is, as by the real server; an abbreviated one must be that of a known device."""
    unknown = "11111111-2222-4333-8444-555555555555"
    deployment = ask(server, "POST", "/deployments", {"artifact_name": "release-2", "device_ids": [unknown]})
    assert (1, 0, "pending") == (deployment["max_devices"], deployment["device_count"], deployment["status"])
    with pytest.raises(ServerError, match="cannot find device '11111111'"):
        ask(server, "POST", "/deployments", {"artifact_name": "release-2", "device_ids": [unknown[:8]]})


def test_all_settings_are_changed_together_or_not_at_all(server: DevServer) -> None:
    """One invalid value leaves all settings unchanged."""
    wanted = {"auto_accept": False, "v2": True, "token_seconds": 60, "link_seconds": 30, "rate_limit": "5/20"}
    with pytest.raises(ServerError):
        ask(server, "PATCH", "/settings", {**wanted, "clock_offset_seconds": "x"})
    assert (True, False, None) == (server.auto_accept, server.v2, server.rate_limit)
    ask(server, "PATCH", "/settings", wanted)
    assert (False, True, RateLimit(5, 20.0)) == (server.auto_accept, server.v2, server.rate_limit)
    assert (60.0, 30.0) == (server.token_seconds, server.link_seconds)
    assert wanted == {name: value for name, value in ask(server, "GET", "/settings").items() if name in wanted}


def test_decisions_from_python(server: DevServer, gadget: Gadget, release: str) -> None:
    """Every operation of the command line has a method for tests."""
    device_id = server.devices()[0].id
    gadget.poll()
    assert (None, "pending", []) == (
        server.log(release, device_id),
        server.status(release, device_id),
        server.statuses(release, device_id),
    )
    server.revoke_tokens(device_id)
    assert 401 == gadget.poll().status
    gadget.authorize()
    server.reject(device_id)
    assert (401, "rejected") == (gadget.poll().status, server.devices()[0].status)
    server.accept(device_id)
    assert 200 == gadget.authorize().status
    server.decommission(device_id)
    key = new_key()
    server.preauthorize({"mac": "3"}, public_pem(key))
    assert ["preauthorized"] == [one.status for one in server.devices()]
    server.auto_accept = False
    assert 200 == Gadget(gadget.caller, server.url, {"mac": "3"}, key).authorize().status
    server.clear_requests()
    assert [] == server.requests


def test_contact_is_json(server: DevServer) -> None:
    """The contact file is JSON that other programs may read, too."""
    told = json.loads((server.directory / "devserver.json").read_text())
    assert (server.url, server.storage_url, "") == (told["url"], told["storage_url"], told["certificate"])
