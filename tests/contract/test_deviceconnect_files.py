"""File transfers over device connect: recorded requests of users, the device's messages and the server's answers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devserver.caller import Gadget, calling
from mender_client.core.wire.deviceconnect import CONNECT_PATH, decode
from mender_client.core.wire.msgpack import unpack
from mender_devserver import DevServer
from waiting import PATIENCE_S

RECORDING = Path(__file__).with_name("deviceconnect-files.jsonl")
UNKNOWN = "00000000-0000-0000-0000-000000000000"
OTHER = {"srv-stat-error-1000 0": "the real server passes on a status that is none, and so answers with 200"}
"""Requests that the dev server answers differently, and why."""


def requests() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the name of each request with its lines: the messages exchanged with the device, and finally the answer."""
    lines: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for text in RECORDING.read_text("utf-8").splitlines():
        line = json.loads(text)
        lines.append(line)
        if line["leg"] == "http":
            number = counts[line["s"]] = counts.get(line["s"], -1) + 1
            yield f"{line['s']} {number}", lines
            lines = []


REQUESTS = dict(requests())


def recorded_bytes(line: dict[str, Any], sid: str) -> bytes:
    """Return what the device sent, with this session's id; large contents, which weren't recorded, are zeros."""
    if "raw" in line:
        data = base64.b64decode(line["raw"])
    else:
        head = base64.b64decode(line["raw_head"])
        size: int = line["body_len"]
        data = head[: head.index(b"\xa4body") + 5] + b"\xc6" + size.to_bytes(4, "big") + bytes(size)
    return data.replace(line["sid"].encode(), sid.encode())


def shown(data: bytes) -> list[Any]:
    """Return a server message in the form to compare, without the contents of chunks, whose sizes may differ."""
    message = decode(data)
    props = {name: value for name, value in message.props.items() if name != "user_id"}
    if message.typ == "file_chunk":
        return [message.typ]
    return [message.proto, message.typ, props, unpack(message.body) if message.body else None]


def recorded(line: dict[str, Any]) -> list[Any]:
    """Return a recorded message in the same form."""
    props = {name: value for name, value in line.get("props", {}).items() if name != "user_id"}
    if line["typ"] == "file_chunk":
        return [line["typ"]]
    return [line["proto"], line["typ"], props, line.get("body_msgpack")]


async def play(websocket: aiohttp.ClientWebSocketResponse[bool], lines: list[dict[str, Any]]) -> None:
    """Play the device's part."""
    sid = ""
    for line in lines:
        if line["dir"] == "s>d":
            data = await websocket.receive_bytes(timeout=PATIENCE_S)
            assert recorded(line) == shown(data)
            sid = decode(data).sid
        else:
            await websocket.send_bytes(recorded_bytes(line, sid))


def form_of(request: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of an upload; if the body wasn't recorded, its file has 9000 bytes."""
    text = request.get("req_body") or (
        '--BOUNDARY\r\nContent-Disposition: form-data; name="path"\r\n\r\n/data/up\r\n--BOUNDARY\r\n'
        'Content-Disposition: form-data; name="file"; filename="up.bin"\r\n\r\n' + "x" * 9000 + "\r\n--BOUNDARY--\r\n"
    )
    return text.encode(), {"Content-Type": "multipart/form-data; boundary=BOUNDARY"}


async def replay(server: DevServer, token: str, lines: list[dict[str, Any]]) -> None:
    """Replay a request, and compare the answer."""
    request = lines[-1]
    prefix, _, rest = request["path"].partition("/devices/")
    device_id = UNKNOWN if rest.startswith(UNKNOWN) else server.devices()[0].id
    path = f"{prefix}/devices/{device_id}{rest[len(UNKNOWN) :]}"
    body, headers = form_of(request) if request["method"] == "PUT" else (b"", {})
    async with aiohttp.ClientSession() as http:
        websocket = None
        if request["s"] != "offline":
            websocket = await http.ws_connect(server.url + CONNECT_PATH, headers={"Authorization": f"Bearer {token}"})
        playing = asyncio.create_task(play(websocket, lines[:-1])) if websocket is not None else None
        headers["Authorization"] = f"Bearer {server.contact.token}"
        asking = http.request(request["method"], server.url + path, data=body, headers=headers)
        async with asking as response:
            content = await response.read()
        if playing is not None:
            await playing
        if websocket is not None:
            await websocket.close()
    assert request["status"] == response.status
    expected = request.get("headers", {}) if response.status < 400 else {}
    given = {name: response.headers.get(name, "").encode("utf-8", "surrogateescape") for name in expected}
    assert {name: value.encode("latin-1") for name, value in expected.items()} == given
    if "body_len" in request:
        assert request["body_len"] == len(content)
    elif response.status >= 400:
        assert json.loads(request["body"])["error"] == json.loads(content)["error"]
    elif "device_id" not in (text := request.get("body", "")):
        assert text.encode() == content


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that accepts devices automatically."""
    with DevServer(tmp_path / "server", tls=False, auto_accept=True) as running:
        yield running


@pytest.mark.parametrize("name", REQUESTS)
def test_recorded_request(server: DevServer, name: str) -> None:
    """The dev server sends the device the same messages as the real one, and gives the user the same answer."""
    with calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        if name in OTHER:
            with pytest.raises(AssertionError):
                asyncio.run(replay(server, gadget.token, REQUESTS[name]))
        else:
            asyncio.run(replay(server, gadget.token, REQUESTS[name]))
