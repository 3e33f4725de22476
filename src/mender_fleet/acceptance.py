"""Accepts the devices of a fleet through the management API of a server: in advance, or while they are pending."""

from __future__ import annotations

import hashlib
import json
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from mender_client import __version__
from mender_client.core.wire.messages import Reply, Request
from mender_client.errors import MenderError, ServerError
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsSettings
from mender_devserver.contact import load_contact

from .options import server_of
from .traffic import shared_rules

_DEVICES = "/api/management/v2/devauth/devices"
_KNOWN = 409
_PAGE_LENGTH = 100
_MOST_PAGE_BYTES = 4 << 20

Told = Callable[[str, str, float, int, Exception | None], None]
"""Called with the method, endpoint, seconds, bytes and error, if any, of each request."""


class Sender(Protocol):
    """Sends requests; see ``core.ports.Transport``."""

    def send(self, request: Request) -> Reply:
        """Send one request."""


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A pending key of a device.

    Args:
        device_id: the id of the device on the server.
        auth_set_id: the id of the key on the server.
        fingerprint: the fingerprint of identity and key, see ``fingerprint``.
    """

    device_id: str
    auth_set_id: str
    fingerprint: str


def fingerprint(identity: Mapping[str, Any], public_key_pem: str) -> str:
    """A fingerprint of a device's identity and key that doesn't depend on how the server formats them."""
    text = json.dumps(identity, sort_keys=True) + "".join(public_key_pem.split())
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def management_token(options: Namespace) -> str:
    """The token of the management API: from the given file, otherwise that of the dev server.

    Raises:
        OSError: the file can't be read.
        ValueError: the file doesn't contain a token.
        MenderError: there is no dev server in the directory.
    """
    if not options.management_token_file:
        return load_contact(Path(options.devserver), "--devserver").token
    token = Path(options.management_token_file).read_text().strip()
    if not token.isascii() or len(token.split()) != 1:
        raise ValueError("it holds no token")
    return token


class Management:
    """The device management API of a server.

    Args:
        sender: sends the requests.
        url: the URL of the server.
        token: the token of its management API.
        told: called for each request.
    """

    def __init__(self, sender: Sender, url: str, token: str, told: Told) -> None:
        self._sender = sender
        self._url = url.rstrip("/") + _DEVICES
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._told = told

    def preauthorize(self, identity: Mapping[str, str], public_key_pem: str) -> None:
        """Preauthorize a device; a device that is already known is left unchanged.

        Raises:
            ServerError: the server refuses it.
            NetworkError: there is no reply.
        """
        self._call("POST", "", "preauthorize", {"identity_data": dict(identity), "pubkey": public_key_pem})

    def pending(self) -> Iterator[PendingKey]:
        """All pending keys on the server, fetched page by page, including those of devices outside the fleet.

        Raises:
            ServerError: the server refuses the request.
            NetworkError: there is no reply.
        """
        for page in count(1):
            query = f"?status=pending&page={page}&per_page={_PAGE_LENGTH}"
            reply = self._call("GET", query, "pending")
            try:
                devices = json.loads(reply.body)
                keys = [(device, key) for device in devices for key in device["auth_sets"]]
                yield from (_pending_key(*one) for one in keys if one[1]["status"] == "pending")
            except (ValueError, TypeError, LookupError) as error:
                raise ServerError("cannot read the list of pending devices", status=reply.status) from error
            if len(devices) < _PAGE_LENGTH:
                return

    def accept(self, key: PendingKey) -> None:
        """Accept a key.

        Raises:
            ServerError: the server refuses it.
            NetworkError: there is no reply.
        """
        self._call("PUT", f"/{key.device_id}/auth/{key.auth_set_id}/status", "accept", {"status": "accepted"})

    def _call(self, method: str, place: str, what: str, body: object = None) -> Reply:
        content = b"" if body is None else json.dumps(body).encode()
        request = Request(method, self._url + place, self._headers, content, _MOST_PAGE_BYTES)
        began, size_bytes = time.monotonic(), 0
        error: MenderError | None = None
        try:
            reply = self._sender.send(request)
            size_bytes = len(reply.body)
            if reply.status >= 400 and (method, reply.status) != ("POST", _KNOWN):
                raise _refused(reply)
            return reply
        except MenderError as caught:
            error = caught
            raise
        finally:
            self._told(method, f"management/{what}", time.monotonic() - began, size_bytes, error)


def _refused(reply: Reply) -> ServerError:
    """The error for a reply; its text is the same for all devices, so that Locust counts it as one error."""
    advice = {401: "; check the token", 403: "; check the token", 422: "; it may accept no more devices"}
    text = f"the management API answered {reply.status}{advice.get(reply.status, '')}"
    return ServerError(text, status=reply.status)


def _pending_key(device: Any, key: Any) -> PendingKey:
    return PendingKey(device["id"], key["id"], fingerprint(device["identity_data"], key["pubkey"]))


@contextmanager
def management_of(options: Namespace, host: str, told: Told) -> Iterator[Management]:
    """The management API named on the command line, with a separate connection.

    Raises:
        OSError: the token or the certificate can't be read.
        ValueError: the file doesn't contain a token.
        MenderError: there is no dev server in the directory, or the certificate can't be used.
    """
    url, certificate = server_of(host, options)
    token = management_token(options)
    rules = shared_rules(certificate)
    transport = HttpTransport(tls=TlsSettings(), user_agent=f"mender-fleet/{__version__}", rules=rules)
    try:
        yield Management(transport, url, token, told)
    finally:
        transport.rest()


class Waiting:
    """The pending devices of a fleet, by fingerprint."""

    def __init__(self) -> None:
        self._prints: set[str] = set()

    def add(self, prints: Iterable[str]) -> None:
        """Add devices that a server has refused."""
        self._prints.update(prints)

    def take(self) -> list[str]:
        """Return and remove the devices that were added since the last call."""
        taken, self._prints = self._prints, set()
        return list(taken)


class Acceptance:
    """Accepts the pending devices of a fleet, and no others.

    Args:
        management: the management API of the server.
        waiting: the pending devices.
        most_per_second: the maximum number of devices accepted per second.
        sleep: waits for the given number of seconds.
    """

    def __init__(
        self,
        management: Management,
        waiting: Waiting,
        *,
        most_per_second: float,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._management = management
        self._waiting = waiting
        self._pause_seconds = 1 / most_per_second
        self._sleep = sleep

    def run_once(self) -> int:
        """Accept the pending devices and return their number. Without any, no request is made.

        Raises:
            ServerError: the server refuses a request.
            NetworkError: there is no reply.
        """
        wanted = set(self._waiting.take())
        done = 0
        try:
            for key in self._found(wanted):
                self._management.accept(key)
                wanted.discard(key.fingerprint)
                done += 1
                self._sleep(self._pause_seconds)
        except MenderError:
            self._waiting.add(wanted)
            raise
        return done

    def _found(self, wanted: set[str]) -> list[PendingKey]:
        return [one for one in self._management.pending() if one.fingerprint in wanted] if wanted else []
