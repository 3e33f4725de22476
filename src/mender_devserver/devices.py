"""Devices, their keys and their tokens.

A device is identified by its identity; each key that it uses forms an *auth set*, whose status decides whether the
device is authorised with that key. Accepting one key of a device rejects the previously accepted key. A token belongs
to one auth set. Several tokens of one auth set can be valid at the same time; all of them are revoked when the auth
set is rejected or the device is decommissioned.

Anybody can send authentication requests, and devices are kept in memory. Therefore only the newest pending devices are
remembered, and requests that are too large are refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from mender_client.errors import ServerError, UnauthorizedError
from mender_devserver.messages import Request, as_text, load_json, load_object, pick
from mender_devserver.signatures import is_signed, parse_public_key

AuthStatus = Literal["pending", "accepted", "rejected", "preauthorized"]
Emit = Callable[..., None]
T = TypeVar("T")

MOST_PENDING = 1000
"""The number of pending devices that are remembered; the oldest is forgotten first."""
MOST_PENDING_KEYS = 10
"""The number of pending keys of one device that are remembered."""
LARGEST_REQUEST_BYTES = 16 * 1024
"""The largest authentication request."""
UNAUTHORIZED = "dev auth: unauthorized"
"""The reply to an unknown, pending, rejected or decommissioned device, which can't tell these cases apart."""


@dataclass(slots=True)
class AuthSet:
    """One key of a device, and its status."""

    id: str
    public_key: str
    status: AuthStatus
    created: datetime


@dataclass(slots=True)
class KnownDevice:
    """A device that has sent an authentication request, or was preauthorized.

    Args:
        id: assigned by the server.
        identity: its identity attributes.
        created: the time of its first request.
        auth_sets: its keys, oldest first.
        inventory: its inventory attributes by name.
        inventory_time: when it last sent its inventory.
        configured: the configuration that was last deployed to it.
        reported: the configuration that it has reported; None if it has reported none.
        reported_time: when it last reported its configuration.
        last_seen: when it last used a token.
        is_connected: whether it is connected to the device connect service.
        connection_changed: when ``is_connected`` last changed.
    """

    id: str
    identity: dict[str, Any]
    created: datetime
    auth_sets: list[AuthSet] = field(default_factory=list)
    inventory: dict[str, Any] = field(default_factory=dict)
    inventory_time: datetime | None = None
    configured: dict[str, str] = field(default_factory=dict)
    reported: dict[str, str] | None = None
    reported_time: datetime | None = None
    last_seen: datetime | None = None
    is_connected: bool = False
    connection_changed: datetime | None = None

    @property
    def status(self) -> AuthStatus:
        """The best status among the keys of the device."""
        states = {one.status for one in self.auth_sets}
        order: tuple[AuthStatus, ...] = ("accepted", "preauthorized", "pending")
        return next((status for status in order if status in states), "rejected")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The device and the key that a token was issued for."""

    device_id: str
    auth_set_id: str
    expires: datetime


class Devices:
    """All devices of the server.

    Args:
        now: the server's clock.
        emit: where events go.
        forget: removes the events of a device.
    """

    def __init__(self, now: Callable[[], datetime], emit: Emit, forget: Callable[[str], None]) -> None:
        self.auto_accept = False
        self.token_seconds = 7 * 24 * 3600.0
        self._now = now
        self._emit = emit
        self._forget = forget
        self._devices: dict[str, KnownDevice] = {}
        self._by_identity: dict[str, KnownDevice] = {}
        self._undecided: dict[str, KnownDevice] = {}  # all pending devices, and some that are no longer pending
        self._grants: dict[str, IssuedToken] = {}
        self._tokens: dict[str, list[str]] = {}  # by auth set

    def __iter__(self) -> Iterator[KnownDevice]:
        return iter(tuple(self._devices.values()))

    def get(self, device_id: str) -> KnownDevice:
        """The device with this id, or with the only id that starts with it.

        Raises:
            ServerError: 404 when there is none, 409 when there are several.
        """
        return find("device", self._devices, device_id)

    def exact(self, device_id: str) -> KnownDevice | None:
        """The device with exactly this id."""
        return self._devices.get(device_id)

    def of_identity(self, identity: dict[str, Any]) -> KnownDevice | None:
        """The device with this identity."""
        return self._by_identity.get(identity_hash(identity))

    # for devices

    def authorize(self, request: Request) -> str:
        """Answer an authentication request with a token.

        Raises:
            ServerError: 400 when malformed, 413 when too large; 401 when not accepted or wrongly signed.
        """
        if len(request.body) > LARGEST_REQUEST_BYTES:
            raise ServerError("request body too large", status=413)
        identity, public_key = read_auth_request(request.body)
        signature = request.headers.get("x-men-signature", "")
        if not signature:
            raise ServerError("missing request signature header", status=400)
        device = self.of_identity(identity) or self._add(identity)
        auth_set = self._auth_set_of(device, public_key) or self._add_key(device, public_key, "pending")
        if self.auto_accept and auth_set.status == "pending" and is_signed(public_key, request.body, signature):
            self._accept(device, auth_set)
        if auth_set.status not in ("accepted", "preauthorized"):
            raise UnauthorizedError(UNAUTHORIZED, status=401)
        if not is_signed(public_key, request.body, signature):
            raise UnauthorizedError("signature verification failed", status=401)
        if auth_set.status == "preauthorized":
            self._accept(device, auth_set)
        return self._grant(device, auth_set)

    def authenticate(self, authorization: str) -> KnownDevice:
        """Return the device that a token belongs to.

        Args:
            authorization: the value of the header; empty if there was none.

        Raises:
            UnauthorizedError: 401, with an **empty** message for a token that is well-formed but not valid, to which
                the real server replies with an empty body.
        """
        if not authorization:
            raise UnauthorizedError("Authorization not present in header", status=401)
        words = authorization.split(" ")
        if len(words) != 2:
            raise UnauthorizedError("malformed Authorization header", status=401)
        scheme, token = words
        if scheme.lower() != "bearer":
            raise UnauthorizedError(f"unknown Authorization method {scheme}", status=401)
        if token.count(".") != 2:
            raise UnauthorizedError("identity: incorrect token format", status=401)
        grant = self._grants.get(token)
        if grant is None or grant.expires <= self._now():
            raise UnauthorizedError("", status=401)
        device = self._devices[grant.device_id]
        device.last_seen = self._now()
        return device

    # for the operator

    def accept(self, device_id: str, auth_set_id: str | None = None) -> KnownDevice:
        """Accept a key of a device: the given key, otherwise the newest pending key, otherwise the newest key."""
        device = self.get(device_id)
        self._accept(device, self._choose(device, auth_set_id))
        return device

    def accept_pending(self) -> list[KnownDevice]:
        """Accept all pending devices; no accepted key is replaced."""
        pending = [one for one in self._undecided.values() if one.status == "pending"]
        for one in pending:
            self._accept(one, self._choose(one, None))
        return pending

    def reject(self, device_id: str, auth_set_id: str | None = None) -> KnownDevice:
        """Reject a key of a device (without ``auth_set_id``, all its keys) and revoke its tokens."""
        device = self.get(device_id)
        chosen = device.auth_sets if auth_set_id is None else [self._choose(device, auth_set_id)]
        for one in chosen:
            self._set_status(one, "rejected")
        self._emit("device-rejected", device_id=device.id, identity=device.identity)
        return device

    def preauthorize(self, identity: dict[str, Any], public_key_pem: str) -> KnownDevice:
        """Accept a device before its first request.

        Raises:
            ServerError: 400 for an invalid key, 409 if the identity is already known.
        """
        public_key = parse_public_key(public_key_pem)
        if self.of_identity(identity) is not None:
            raise ServerError("cannot preauthorize: this identity is known; accept it instead", status=409)
        device = self._add(identity, quiet=True)
        self._add_key(device, public_key, "preauthorized")
        self._emit("device-preauthorized", device_id=device.id, identity=device.identity)
        return device

    def decommission(self, device_id: str) -> KnownDevice:
        """Remove a device and revoke its tokens; if it sends another request, it counts as a new device."""
        device = self.get(device_id)
        for one in device.auth_sets:
            self._set_status(one, "rejected")
        self._remove(device)
        self._emit("device-decommissioned", device_id=device.id, identity=device.identity)
        return device

    def set_connected(self, device_id: str, is_connected: bool) -> None:
        """Note that a device has connected or disconnected; a device that has been removed is ignored."""
        device = self._devices.get(device_id)
        if device is not None and device.is_connected != is_connected:
            device.is_connected, device.connection_changed = is_connected, self._now()
            if is_connected:
                self._emit("device-connected", device_id=device.id, identity=device.identity)
            else:
                self._emit("device-disconnected", device_id=device.id, identity=device.identity)

    def revoke_tokens(self, device_id: str) -> None:
        """Revoke all tokens of a device, as if they had expired; it stays accepted."""
        device = self.get(device_id)
        for one in device.auth_sets:
            self._revoke(one)

    # internal

    def _add(self, identity: dict[str, Any], *, quiet: bool = False) -> KnownDevice:
        if len(self._undecided) >= MOST_PENDING:
            self._forget_oldest_pending()
        device = KnownDevice(str(uuid.uuid4()), identity, self._now())
        for known in (self._devices, self._undecided):
            known[device.id] = device
        self._by_identity[identity_hash(identity)] = device
        if not quiet:
            self._emit("device-pending", device_id=device.id, identity=identity)
        return device

    def _forget_oldest_pending(self) -> None:
        self._undecided = {key: one for key, one in self._undecided.items() if one.status == "pending"}
        for one in tuple(self._undecided.values())[: max(0, len(self._undecided) + 1 - MOST_PENDING)]:
            self._remove(one)
            self._forget(one.id)

    def _remove(self, device: KnownDevice) -> None:
        del self._devices[device.id]
        del self._by_identity[identity_hash(device.identity)]
        self._undecided.pop(device.id, None)

    @staticmethod
    def _auth_set_of(device: KnownDevice, public_key: str) -> AuthSet | None:
        return next((one for one in device.auth_sets if one.public_key == public_key), None)

    def _add_key(self, device: KnownDevice, public_key: str, status: AuthStatus) -> AuthSet:
        pending = [one for one in device.auth_sets if one.status == "pending"]
        for one in pending[: max(0, len(pending) + 1 - MOST_PENDING_KEYS)]:
            device.auth_sets.remove(one)
        auth_set = AuthSet(str(uuid.uuid4()), public_key, status, self._now())
        if device.auth_sets:
            self._emit("device-pending", device_id=device.id, identity=device.identity, new_key=True)
        device.auth_sets.append(auth_set)
        return auth_set

    @staticmethod
    def _choose(device: KnownDevice, auth_set_id: str | None) -> AuthSet:
        if auth_set_id is not None:
            return find("auth set", {one.id: one for one in device.auth_sets}, auth_set_id)
        waiting = [one for one in device.auth_sets if one.status in ("pending", "preauthorized")]
        return (waiting or device.auth_sets)[-1]

    def _accept(self, device: KnownDevice, auth_set: AuthSet) -> None:
        if auth_set.status == "accepted":
            return
        for other in device.auth_sets:
            if other.status == "accepted":
                self._set_status(other, "rejected")
        self._set_status(auth_set, "accepted")
        self._emit("device-accepted", device_id=device.id, identity=device.identity)

    def _set_status(self, auth_set: AuthSet, status: AuthStatus) -> None:
        auth_set.status = status
        if status != "accepted":
            self._revoke(auth_set)

    def _revoke(self, auth_set: AuthSet) -> None:
        for token in self._tokens.pop(auth_set.id, ()):
            del self._grants[token]

    def _grant(self, device: KnownDevice, auth_set: AuthSet) -> str:
        now = self._now()
        valid = [token for token in self._tokens.get(auth_set.id, ()) if self._grants[token].expires > now]
        for token in set(self._tokens.get(auth_set.id, ())).difference(valid):
            del self._grants[token]
        expires = now + timedelta(seconds=self.token_seconds)
        token = make_token(device.id, now, expires)
        self._tokens[auth_set.id] = [*valid, token]
        self._grants[token] = IssuedToken(device.id, auth_set.id, expires)
        self._emit("token", device_id=device.id)
        return token


def find(noun: str, things: Mapping[str, T], name: str) -> T:
    """Look up an object by its id, or by the only id that starts with ``name``.

    Raises:
        ServerError: 404 when there is none, 409 when there are several.
    """
    if name in things:
        return things[name]
    matching = [thing for key, thing in things.items() if name and key.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ServerError(f"cannot tell which {noun} '{name}' means: give more of its id", status=409)
    raise ServerError(f"cannot find {noun} '{name}'", status=404)


def read_auth_request(body: bytes) -> tuple[dict[str, Any], str]:
    """The identity and the public key (PEM) of an authentication request.

    Raises:
        ServerError: 400.
    """
    decoder, checker = "failed to decode auth request: ", "invalid auth request: "
    fields = pick(load_object(body, decoder, whole=True), "id_data", "pubkey", "tenant_token")
    texts = {name: as_text(value, decoder) for name, value in fields.items()}
    for name in ("id_data", "pubkey"):
        if not texts[name]:
            raise ServerError(f"{checker}{name} must be provided", status=400)
    public_key = parse_public_key(texts["pubkey"], checker)
    identity = load_json(texts["id_data"].encode("utf-8", "replace"), checker, whole=True)
    if not isinstance(identity, dict):
        raise ServerError(f"{checker}json: cannot unmarshal id_data into an object", status=400)
    return identity, public_key


def identity_hash(identity: dict[str, Any]) -> str:
    """A hash of an identity; the order of attributes and white space don't matter, but the type of a value does."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def make_token(device_id: str, now: datetime, expires: datetime) -> str:
    """Make a token that looks like one of the real server, with three parts and about 1024 characters.

    The third part is random, since the server keeps a table of the tokens that it has issued. The year 1 in ``nbf`` is
    what the real server sends.
    """
    claims = {
        "jti": str(uuid.uuid4()),
        "sub": device_id,
        "iss": "Mender",
        "exp": int(expires.timestamp()),
        "iat": int(now.timestamp()),
        "nbf": -62135596800,
        "mender.device": True,
        "mender.plan": "enterprise",
        "mender.trial": False,
        "mender.addons": [{"name": name, "enabled": True} for name in ("configure", "troubleshoot", "monitor")],
    }
    payload = json.dumps(claims, separators=(",", ":")).encode()
    parts = (b'{"alg":"RS256","typ":"JWT"}', payload, secrets.token_bytes(384))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
