"""The dev server's own parsers: a client under test must not be able to break it by accident."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fuzz.mutations import json_case, mutate_text
from fuzz.parsers import Parser
from mender_devserver.device_api import DeviceApi
from mender_devserver.messages import BODY_LIMIT_BYTES, Request
from mender_devserver.state import ServerState

_TOKEN = "THE-TOKEN"
_PATHS = {
    "inventory": "/api/devices/v1/inventory/device/attributes",
    "next": "/api/devices/v1/deployments/device/deployments/next",
    "next v2": "/api/devices/v2/deployments/device/deployments/next",
    "status": "/api/devices/v1/deployments/device/deployments/d1/status",
    "log": "/api/devices/v1/deployments/device/deployments/d1/log",
}
_BODIES: dict[str, Any] = {
    "inventory": [{"name": "a", "value": "b"}, {"name": "c", "value": ["d"]}],
    "next": {"device_type": "board", "artifact_name": "release-1", "artifact_provides": {"a": "b"}},
    "next v2": {"device_provides": {"device_type": "board", "artifact_name": "release-1"}},
    "status": {"status": "downloading", "substate": "x"},
    "log": {"messages": [{"timestamp": "2026-01-01T00:00:00Z", "level": "info", "message": "x"}]},
}


def parsers(directory: Path) -> list[Parser]:
    """The parsers of this module."""
    asked = _Asked(directory)
    return [Parser("dev-server", asked.make, asked.answer)]


class _Asked:
    """A server that knows one device.

    Args:
        directory: where its Artifacts would be.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "artifacts"
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        self._pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def make(self, rng: random.Random) -> Request:
        """Make a request."""
        kind = rng.choice((*_PATHS, "auth", "query"))
        headers = {"content-type": "application/json", "authorization": f"Bearer {_TOKEN}"}
        if rng.randrange(4) == 0:
            name = rng.choice(("content-type", "authorization", "x-men-signature", "x-men-requestid"))
            sent = mutate_text(rng, headers.get(name, "c2ln")).encode("utf-8", "surrogatepass")
            headers[name] = sent.decode("utf-8", "surrogateescape")  # as the HTTP library parses it
        if kind == "auth":
            identity = json_case(rng, [{"mac": "1"}]).decode("utf-8", "replace")
            document = {"id_data": identity, "pubkey": self._pem, "tenant_token": ""}
            body = rng.choice((json.dumps(document).encode(), json_case(rng, [document])))
            headers.setdefault("x-men-signature", "c2ln")
            return Request("POST", "/api/devices/v1/authentication/auth_requests", "", headers, body)
        if kind == "query":
            query = mutate_text(rng, "artifact_name=a&device_type=b")
            return Request("GET", _PATHS["next"], query, headers)
        method = "POST" if kind.startswith("next") else rng.choice(("PUT", "PATCH"))
        return Request(method, _PATHS[kind], "", headers, json_case(rng, [_BODIES[kind]])[:BODY_LIMIT_BYTES])

    def answer(self, request: Request) -> str:
        """Let the server respond; each request goes to a server without previous requests."""
        world = ServerState(self._directory)
        world.v2 = True
        devices: Any = world.devices
        device = devices.preauthorize({"mac": "1"}, self._pem)
        token = devices._grant(device, device.auth_sets[0])  # the only way to a token without a signature
        headers = {name: value.replace(_TOKEN, token) for name, value in request.headers.items()}
        return str(DeviceApi(world).answer(replace(request, headers=headers)).status)
