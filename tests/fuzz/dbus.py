"""The input that users of the device can send to the proxy of ``dbus``."""

from __future__ import annotations

import random

from fuzz.mutations import mutate_bytes
from fuzz.parsers import Parser
from mender_client.dbus.request import parse_head

_GOOD = (
    b"GET /api/devices/v1/deviceconnect/connect HTTP/1.1\r\nHost: 127.0.0.1:803\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nAuthorization: Bearer x.y.z\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13",
    b"PUT /api/devices/v1/deviceconfig/configuration HTTP/1.1\r\nhost: h\r\nauthorization: bearer  x.y.z\r\n"
    b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nX-Empty:",
)


def _attempt(head: bytes) -> str:
    request = parse_head(head)
    if request is None:
        return "refused"
    first, *lines = (
        request.build("mender.test", "http://mender.test", [("Proxy-Authorization", "Basic dTpw")])
        .removesuffix(b"\r\n\r\n")
        .split(b"\r\n")
    )
    assert first.startswith(request.method + b" http://mender.test/")
    assert lines[:2] == [b"Host: mender.test", b"Proxy-Authorization: Basic dTpw"]
    names = [line.partition(b":")[0].lower() for line in lines]
    assert (1, 1) == (names.count(b"host"), names.count(b"connection"))
    assert not any(b"\n" in line or b"\r" in line or line[:1] in b" \t" for line in lines)
    return "passed"


def parsers() -> list[Parser]:
    """The parser of the requests to the proxy."""

    def make(chosen: random.Random) -> bytes:
        return mutate_bytes(chosen, chosen.choice(_GOOD))

    return [Parser("add-on-request", make, _attempt)]
