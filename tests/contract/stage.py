"""The environment for replaying the recording: the dev server, and devices with keys of our own.

The ids, links and keys in the recording don't exist on the dev server; the stage maps them to ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from devserver.caller import Answer, Caller, Gadget, PrivateKey, make_artifact, new_key, public_pem, sign
from mender_devserver import DevServer, KnownDevice
from mender_devserver.signatures import is_signed

ARTIFACT_BYTES = 305152
"""The size of the recorded Artifact; ours has the same size, so that ranges can be compared directly."""
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n?", re.S)
_LINK = re.compile(r"^/mender/([0-9a-f-]{36})")
_DEPLOYMENT = re.compile(r"(?<=/deployments/)[0-9a-f]{8}-[0-9a-f-]{27}(?=/)")

Line = Mapping[str, Any]
MAIN = {"mac": "main:fbb01c"}
"""The device in most of the scenes."""


class Stage:
    """Replays recorded requests.

    Args:
        server: a new dev server.
        caller: the HTTP client for the requests.
        directory: where to write Artifacts.
        lines: the whole recording.
    """

    def __init__(self, server: DevServer, caller: Caller, directory: Path, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.server = server
        self.caller = caller
        self.directory = directory
        self.ids: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.keys: dict[str, PrivateKey] = {}
        self.tokens: dict[str, str] = {}
        self.gadgets: dict[str, Gadget] = {}
        self.current = ""

    # Devices

    def gadget(self, identity: Mapping[str, Any]) -> Gadget:
        """Return the device with this identity; create, accept and authorise it first if it is new."""
        name = json.dumps(identity)
        if name not in self.gadgets:
            made = Gadget(self.caller, self.server.url, identity, self.key_of(identity))
            self.gadgets[name] = made
            made.authorize()
            self.server.accept(self.device_id(identity))
            made.authorize()
        return self.gadgets[name]

    def hold(self, token: str) -> None:
        """Use this token in place of masked ones from now on."""
        self.current = token

    def speak_as(self, identity: Mapping[str, Any]) -> Gadget:
        """Use this device's token in place of masked ones from now on."""
        gadget = self.gadget(identity)
        self.hold(gadget.token)
        return gadget

    def device_id(self, identity: Mapping[str, Any]) -> str:
        """Return the id of a device; the newest one if there were several."""
        return [one.id for one in self.server.devices() if one.identity == identity][-1]

    def device(self, identity: Mapping[str, Any]) -> KnownDevice:
        """Return a device in its current state on the server."""
        return next(one for one in self.server.devices() if one.id == self.device_id(identity))

    def key_of(self, identity: Mapping[str, Any]) -> PrivateKey:
        """Return our counterpart of the key that the recording uses last for a device, or else a new key."""
        for line in reversed(self.lines):
            pem = _pem_in(line["request"]["body"])
            if pem and _identity_in(line["request"]["body"]) == identity:
                return self.key_for(pem)
        return new_key()

    def key_for(self, recorded_pem: str) -> PrivateKey:
        """Return our counterpart of a recorded key, of the same type."""
        if recorded_pem not in self.keys:
            self.keys[recorded_pem] = new_key(_kind(recorded_pem))
        return self.keys[recorded_pem]

    # Artifacts and deployments

    def upload(self, name: str, *device_types: str) -> None:
        """Upload an Artifact of the recorded size."""
        types = device_types or ("testdev",)
        path = self.directory / "made.mender"
        for payload_bytes in range(ARTIFACT_BYTES - 16 * 1024, ARTIFACT_BYTES, 512):
            make_artifact(path, name, types, b"\0" * payload_bytes)
            if path.stat().st_size == ARTIFACT_BYTES:
                break
        self.server.upload(path)

    def deploy(self, name: str, recorded_id: str = "", identity: Mapping[str, Any] = MAIN, **options: Any) -> str:
        """Create a deployment for one device, and map the recorded id to its id."""
        deployment_id = self.server.deploy(name, [self.device_id(identity)], **options)
        self.ids[recorded_id] = deployment_id
        return deployment_id

    def end_all(self) -> None:
        """Abort unfinished deployments, as was done between two scenes of the recording."""
        for deployment in self.server.deployments():
            if deployment.status != "finished":
                self.server.abort(deployment.id)

    def status(self, recorded_id: str, identity: Mapping[str, Any] = MAIN) -> str:
        """Return the device's status in a deployment, given the deployment's recorded id."""
        return self.server.status(self.ids[recorded_id], self.device_id(identity))

    # Playing

    def play(self, line: Line) -> Answer:
        """Send a recorded request with our own ids and keys, and map the ids and links in the answer."""
        request = line["request"]
        body = self._body(line)
        headers = {name: self._header(name, value, line, body) for name, value in request["headers"].items()}
        answer = self.caller.call(request["method"], self._url(request["path"]), body, headers)
        if answer.status == 200 and request["path"].startswith("/api") and "/next" in request["path"]:
            self._learn(json.loads(line["response"]["body"]), answer.json)
        if answer.headers.get("content-type") == "application/jwt":
            self.tokens[line["id"]] = answer.body.decode()
        return answer

    def _url(self, path: str) -> str:
        if match := _LINK.match(path):
            link = self.links[match.group(1)]
            return link if "?" in path else link.partition("?")[0]
        return self.server.url + _DEPLOYMENT.sub(lambda found: self.ids.get(found.group(), found.group()), path)

    def _body(self, line: Line) -> bytes:
        text = line["request"]["body"]
        if text.endswith("characters>"):  # the recording is truncated here
            count = int(re.findall(r"\d+", line["title"])[1])
            text = json.dumps([{"name": f"n{number}", "value": "v"} for number in range(count)])
        return self._with_our_key(text).encode()

    def _with_our_key(self, text: str) -> str:
        pem = _pem_in(text)
        if not pem:
            return text
        fields = json.loads(text)
        return json.dumps({**fields, "pubkey": public_pem(self.key_for(pem))})

    def _header(self, name: str, value: str, line: Line, body: bytes) -> str:
        if name == "Authorization" and "\u2026" in value:
            return value.partition(" ")[0] + f" {self.current}"
        if name == "Host":
            storage_port = self.server.storage_url.rpartition(":")[2]
            return f"localhost:{storage_port}"
        recorded = line["request"]["body"]
        pem = _pem_in(recorded)
        if name == "X-MEN-Signature" and pem and is_signed(pem, recorded.encode(), value.strip()):
            return sign(self.key_for(pem), body) + value[len(value.rstrip()) :]
        return value

    def _learn(self, recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        self.ids[recorded["id"]] = ours["id"]
        self.links[recorded["artifact"]["id"]] = ours["artifact"]["source"]["uri"]


def _pem_in(text: str) -> str:
    try:
        pem = json.loads(text)["pubkey"]
    except (ValueError, KeyError, TypeError):
        return ""
    return pem if isinstance(pem, str) and _PEM.fullmatch(pem) else ""


def _identity_in(text: str) -> object:
    try:
        return json.loads(json.loads(text)["id_data"])
    except (ValueError, TypeError):
        return None


def _kind(pem: str) -> str:
    key = serialization.load_pem_public_key(pem.encode())
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ec384" if key.key_size == 384 else "ec256"
    return "rsa"
