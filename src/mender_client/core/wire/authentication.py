"""The authentication service: requests a token."""

from __future__ import annotations

import base64
import re
from datetime import datetime

from mender_client.core.model import Identity, Token
from mender_client.errors import ServerError

from .messages import Reply, Request, refuse, to_json

AUTH_PATH = "/api/devices/v1/authentication/auth_requests"
_JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def build_auth_body(identity: Identity, public_key_pem: str, tenant_token: str = "") -> bytes:
    """The body of an authentication request; exactly these bytes must be signed.

    Args:
        identity: the identity of this device.
        public_key_pem: its public key, PEM SubjectPublicKeyInfo.
        tenant_token: the organisation's token; left out when empty.
    """
    body = {"id_data": identity.id_data, "pubkey": public_key_pem}
    if tenant_token:
        body["tenant_token"] = tenant_token
    return to_json(body)


def build_auth_request(server_url: str, body: bytes, signature: bytes) -> Request:
    """The authentication request with the signature of its body."""
    signed = {"Authorization": "API_KEY", "X-MEN-Signature": base64.b64encode(signature).decode("ascii")}
    return Request("POST", server_url + AUTH_PATH, {**_JSON_HEADERS, **signed}, body)


def parse_auth_reply(reply: Reply, server_url: str, *, now: datetime) -> Token:
    """The token in a 200.

    Raises:
        UnauthorizedError: 401: pending, rejected, unknown or decommissioned; the server does not say which.
        ServerError: any other reply.
    """
    what = "authorise this device"
    if reply.status != 200:
        refuse(what, reply, now=now)
    try:
        value = reply.body.decode("ascii").strip()
    except UnicodeDecodeError:
        value = ""
    if not re.fullmatch(r"[\x21-\x7e]{1,16384}", value):
        raise ServerError(
            "SRV01",
            f"cannot {what}: the server's reply contains no token",
            remedy="check that a Mender server answers at ServerURL",
            status=reply.status,
        )
    return Token(value, server_url)
