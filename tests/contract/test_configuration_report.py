"""Reports of a device's configuration are replayed line by line from a recording of the real server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devserver.caller import Gadget, calling
from mender_devserver import DevServer

RECORDING = Path(__file__).with_name("configuration-report.jsonl")
LINES: list[Mapping[str, Any]] = [json.loads(text) for text in RECORDING.read_text().splitlines()]
LONG = {
    "key of 4096": {"k" * 4096: ""},
    "key of 4097": {"k" * 4097: ""},
    "value of 4096": {"a": "v" * 4096},
    "value of 4097": {"a": "v" * 4097},
    "101 keys": {f"k{number}": "v" for number in range(101)},
    ">1 MiB": {f"k{number}": "v" * 4000 for number in range(300)},
}
"""Bodies of which only the length was recorded."""


def _body(line: Mapping[str, Any]) -> str:
    return json.dumps(LONG[line["note"]]) if "req_len" in line else line.get("req_body", "")


def test_reports_are_answered_as_recorded(tmp_path: Path) -> None:
    """Each recorded report is accepted or refused as on the real server, with the same error message."""
    wrong = []
    with DevServer(tmp_path, tls=False, auto_accept=True) as server, calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        for line in LINES:
            headers = {"Authorization": f"Bearer {gadget.token}"} if line["leg"] == "device" else {}
            if line.get("req_content_type"):
                headers["Content-Type"] = line["req_content_type"]
            answer = caller.call(line["method"], server.url + line["path"], _body(line), headers)
            recorded = (line["status"], json.loads(line["body"] or "{}").get("error", ""))
            ours = (answer.status, answer.error if answer.status >= 400 else "")
            if recorded != ours:
                wrong.append((line.get("note", line["method"]), recorded, ours))
    assert [] == wrong


def test_wanted_and_reported_configuration(tmp_path: Path) -> None:
    """A device gets its configuration from the server, and the operator sees the one it reports."""
    path = "/api/devices/v1/deviceconfig/configuration"
    with DevServer(tmp_path, tls=False, auto_accept=True) as server, calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        (device,) = server.devices()
        server.configure(device.id, {"timezone": "UTC"})
        assert {"timezone": "UTC"} == gadget.call("GET", path, None).json
        gadget.call("PUT", path, {"timezone": "CET"})
        (device,) = server.devices()
        assert ({"timezone": "UTC"}, {"timezone": "CET"}) == (device.configured, device.reported)
