"""A caller that sends exactly what it is told to, and a device key to sign with."""

from __future__ import annotations

import base64
import http.client
import io
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from mender_client.core.artifact import ArtifactSpec, Compression, PayloadSource, rootfs_image, write_artifact
from mender_client.core.wire.deviceconnect import CONNECT_PATH

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

AUTH = "/api/devices/v1/authentication/auth_requests"
ATTRIBUTES = "/api/devices/v1/inventory/device/attributes"
DEPLOYMENTS = "/api/devices/v1/deployments/device/deployments"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
NEXT_V2 = "/api/devices/v2/deployments/device/deployments/next"


@dataclass(frozen=True)
class Answer:
    """The response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of the error."""
        return str(self.json["error"])


class Caller:
    """Sends requests over persistent connections, one to each host.

    Args:
        certificate: the certificate to trust; None for plain HTTP only.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._context = ssl.create_default_context(cafile=certificate) if certificate else None
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def call(self, method: str, url: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request with these headers and no others that matter."""
        parts = urlsplit(url)
        connection = self._connection(parts.scheme, parts.netloc)
        target = url.partition(parts.netloc)[2]
        content = body.encode() if isinstance(body, str) else body
        try:
            connection.request(method, target, content or None, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        except BaseException:
            connection.close()
            raise

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if netloc not in self._connections:
            if scheme == "https":
                made: http.client.HTTPConnection = http.client.HTTPSConnection(netloc, context=self._context)
            else:
                made = http.client.HTTPConnection(netloc)
            self._connections[netloc] = made
        return self._connections[netloc]

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()


@contextmanager
def calling(certificate: Path | None = None) -> Iterator[Caller]:
    """A caller, closed at the end."""
    caller = Caller(certificate)
    try:
        yield caller
    finally:
        caller.close()


def new_key(kind: str = "ec256") -> PrivateKey:
    """A private key: ``rsa``, ``ec256``, ``ec384`` or ``ed25519``; elliptic keys are generated instantly."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP384R1() if kind == "ec384" else ec.SECP256R1())


def public_pem(key: PrivateKey) -> str:
    """The public half, as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def sign(key: PrivateKey, body: bytes) -> str:
    """The value of ``X-MEN-Signature`` for this body."""
    if isinstance(key, rsa.RSAPrivateKey):
        raw = key.sign(body, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        raw = key.sign(body, ec.ECDSA(hashes.SHA256()))
    else:
        raw = key.sign(body)
    return base64.b64encode(raw).decode()


def auth_request(key: PrivateKey, identity: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of an authorisation request."""
    body = json.dumps({"id_data": json.dumps(identity), "pubkey": public_pem(key)}).encode()
    return body, {"Content-Type": "application/json", "X-MEN-Signature": sign(key, body)}


@dataclass
class Gadget:
    """A small device: one identity, one key, one token.

    Args:
        caller: sends its requests.
        url: the URL of the server.
        identity: the identity that it sends.
    """

    caller: Caller
    url: str
    identity: Mapping[str, Any] = field(default_factory=lambda: {"mac": "02:00:00:00:00:01"})
    key: PrivateKey = field(default_factory=new_key)
    token: str = ""

    def authorize(self) -> Answer:
        """Ask for a token, and keep it."""
        body, headers = auth_request(self.key, self.identity)
        answer = self.caller.call("POST", self.url + AUTH, body, headers)
        if answer.status == 200:
            self.token = answer.body.decode()
        return answer

    def call(self, method: str, path: str, value: object = None, **headers: str) -> Answer:
        """Call the device API with the token; a value is sent as JSON."""
        sent = {"Authorization": f"Bearer {self.token}", **headers}
        if value is None:
            return self.caller.call(method, self.url + path, b"", sent)
        return self.caller.call(
            method, self.url + path, json.dumps(value), {"Content-Type": "application/json", **sent}
        )

    def poll(self, artifact_name: str = "old", device_type: str = "testdev") -> Answer:
        """Poll for a deployment with the oldest form of the request."""
        return self.call("GET", f"{DEPLOYMENTS}/next?artifact_name={artifact_name}&device_type={device_type}")

    def report(self, deployment_id: str, status: str) -> Answer:
        """Report a status."""
        return self.call("PUT", f"{DEPLOYMENTS}/{deployment_id}/status", {"status": status})

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Be connected for remote sessions for a while, without answering anything."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc)
        connection.request("GET", CONNECT_PATH, headers={**UPGRADE, "Authorization": f"Bearer {self.token}"})
        response = connection.getresponse()
        try:
            assert 101 == response.status
            yield
        finally:
            response.close()
            connection.close()

    def link(self) -> str:
        """Poll, and return the link."""
        return str(self.poll().json["artifact"]["source"]["uri"])


def make_artifact(
    path: Path, name: str, device_types: Sequence[str] = ("testdev",), payload: bytes = b"image" * 4000
) -> Path:
    """Write an Artifact, uncompressed, so that its size follows from the size of the payload."""
    spec: ArtifactSpec = rootfs_image(name, device_types, compression=Compression.NONE)
    source = PayloadSource("rootfs.img", len(payload), lambda: io.BytesIO(payload))
    with path.open("wb") as file:
        write_artifact(file, spec, [source])
    return path
