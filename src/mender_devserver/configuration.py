"""Configuration deployments, whose Artifacts are generated when a device downloads them.

Such an Artifact has the payload type ``mender-configure``, no files, the configuration as its meta-data, and a name
that doesn't belong to a release. Its link leads to the server instead of the object store, is signed separately, and
expires after 15 minutes. Ranges are ignored, and there is no ETag.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, quote, urlencode

from mender_client.core.artifact import ArtifactSpec, Compression, write_artifact
from mender_client.errors import ServerError
from mender_devserver.deployments import Deployment
from mender_devserver.messages import Reply, Request, json_kind, load_json
from mender_devserver.storage import Link

DOWNLOADS = "/api/devices/v1/deployments/download/configuration"
LIFE = timedelta(minutes=15)
_PAYLOAD_TYPE = "mender-configure"
_PROVIDES = f"data-partition.{_PAYLOAD_TYPE}"
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


_MOST_KEYS = 100
_MOST_CHARACTERS = 4096
_MALFORMED = "malformed request body: "
_INVALID = "invalid request body: "
_GO_TYPES = {
    "null": "<nil>",
    "number": "float64",
    "object": "map[string]interface {}",
    "array": "[]interface {}",
}


def read_configuration(body: bytes) -> dict[str, str]:
    """Decode the configuration that a device reports; ``null`` counts as an empty one.

    Raises:
        ServerError: 400 for anything but an object of strings within the limits; 500 for too many keys, as the real
            server answers because of a bug.
    """
    values = load_json(body, _MALFORMED)
    if values is None:
        return {}
    if not isinstance(values, dict):
        into = "into Go value of type map[string]interface {}"
        raise ServerError(f"{_MALFORMED}json: cannot unmarshal {json_kind(values)} {into}", status=400)
    for key, value in values.items():
        if problem := _entry_problem(key, value):
            raise ServerError(f"{_INVALID}{problem}.", status=400)
    if len(values) > _MOST_KEYS:
        raise ServerError("Internal Server Error", status=500)
    return values


def _entry_problem(key: str, value: object) -> str:
    too_long = f"the length must be no more than {_MOST_CHARACTERS}"
    if not key:
        return "key: cannot be blank"
    if len(key) > _MOST_CHARACTERS:
        return f"key: {too_long}"
    if not isinstance(value, str):
        kind = json_kind(value)
        return f"value: invalid type: {_GO_TYPES.get(kind, kind)}"
    return f"value: {too_long}" if len(value) > _MOST_CHARACTERS else ""


class Configurations:
    """Creates links to configurations and answers requests for them.

    Args:
        find: looks up a deployment by its id.
        now: the server's clock.
    """

    def __init__(self, find: Callable[[str], Deployment | None], now: Callable[[], datetime]) -> None:
        self._find = find
        self._now = now
        self._secret = secrets.token_bytes(32)

    def link(self, deployment: Deployment, base_url: str, device_type: str, device_id: str) -> Link:
        """Create a link to the Artifact of a configuration deployment.

        Args:
            deployment: the deployment.
            base_url: the URL at which devices reach the server, without a trailing slash.
            device_type: the device type for which the Artifact is generated.
            device_id: the device.
        """
        expires = self._now() + LIFE
        path = f"{DOWNLOADS}/{deployment.id}/{device_type}/{device_id}"
        stamp = expires.strftime(_STAMP)
        query = urlencode({"x-men-expire": stamp, "x-men-signature": self._sign(path, stamp)})
        return Link(f"{base_url}{quote(path)}?{query}", expires)

    def answer(self, request: Request) -> Reply:
        """Answer a request for a configuration.

        Raises:
            ServerError: 400 for an incomplete link, 403 for an expired or modified one, 404 for an unknown
                deployment.
        """
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        for name in ("x-men-expire", "x-men-signature"):
            if name not in query:
                raise ServerError(f"invalid request parameters: {name}: required key is missing.", status=400)
        if self._now() >= _expiry(query["x-men-expire"]):
            raise ServerError("URL expired", status=403)
        expected = self._sign(request.path, query["x-men-expire"])
        if not hmac.compare_digest(expected.encode(), query["x-men-signature"].encode("utf-8", "replace")):
            raise ServerError("signature invalid", status=403)
        deployment_id, device_type = request.path.removeprefix(f"{DOWNLOADS}/").split("/")[:2]
        deployment = self._find(deployment_id)
        if deployment is None or deployment.configuration is None:
            raise ServerError("Deployment not found", status=404)
        headers = {
            "Content-Disposition": 'attachment; filename="artifact.mender"',
            "Content-Type": "application/vnd.mender-artifact",
        }
        return Reply(200, _artifact(deployment, device_type), headers)

    def _sign(self, path: str, stamp: str) -> str:
        signature = hmac.new(self._secret, f"GET\n{path}\n{stamp}".encode("utf-8", "replace"), hashlib.sha256)
        return base64.urlsafe_b64encode(signature.digest()).rstrip(b"=").decode()


def _expiry(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=timezone.utc)
    except ValueError as error:
        reason = "parameter 'x-men-expire' is not a valid timestamp"
        raise ServerError(f"invalid request parameters: {reason}", status=400) from error


def _artifact(deployment: Deployment, device_type: str) -> bytes:
    """The Artifact, which is reproducible; an empty configuration has no meta-data."""
    configuration = dict(sorted((deployment.configuration or {}).items()))
    spec = ArtifactSpec(
        artifact_name=deployment.artifact_name,
        device_types=[device_type],
        payload_type=_PAYLOAD_TYPE,
        provides={f"{_PROVIDES}.version": deployment.artifact_name},
        clears=(f"{_PROVIDES}.*",),
        meta_data=configuration or None,
        compression=Compression.NONE,
    )
    out = io.BytesIO()
    write_artifact(out, spec)
    return out.getvalue()
