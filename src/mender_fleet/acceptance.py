"""Lets the devices of a fleet in by the management API of a server: beforehand, or when they wait to be accepted."""

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
"""Is told method, endpoint, seconds and bytes of each request, and what went wrong."""


class Sender(Protocol):
    """Sends requests; see ``core.ports.Transport``."""

    def send(self, request: Request) -> Reply:
        """Send one request."""


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A key of a device that waits to be accepted.

    Args:
        device_id: of the device at the server.
        auth_set_id: of the key at the server.
        fingerprint: of identity and key, see ``fingerprint``.
    """

    device_id: str
    auth_set_id: str
    fingerprint: str


def fingerprint(identity: Mapping[str, Any], public_key_pem: str) -> str:
    """Tells a device with its key from all others, however the server writes them."""
    text = json.dumps(identity, sort_keys=True) + "".join(public_key_pem.split())
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def management_token(options: Namespace) -> str:
    """The token of the management API: from the file that was named, else that of the dev server.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds no token.
        MenderError: there is no dev server in the directory.
    """
    if not options.management_token_file:
        return load_contact(Path(options.devserver), "--devserver").token
    token = Path(options.management_token_file).read_text().strip()
    if not token.isascii() or len(token.split()) != 1:
        raise ValueError("it holds no token")
    return token


class Management:
    """The management of devices at a server.

    Args:
        sender: reaches it.
        url: of the server.
        token: of its management API.
        told: is told of each request.
    """

    def __init__(self, sender: Sender, url: str, token: str, told: Told) -> None:
        self._sender = sender
        self._url = url.rstrip("/") + _DEVICES
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._told = told

    def preauthorize(self, identity: Mapping[str, str], public_key_pem: str) -> None:
        """Preauthorize a device; one that is known already is left as it is.

        Raises:
            ServerError: the server refuses it.
            NetworkError: there is no reply.
        """
        self._call("POST", "", "preauthorize", {"identity_data": dict(identity), "pubkey": public_key_pem})

    def pending(self) -> Iterator[PendingKey]:
        """All keys of devices that wait, whomever they belong to, page by page.

        Raises:
            ServerError: the server refuses to tell.
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
    """What the server said; the same for all devices, so that Locust counts it once."""
    advice = {401: "; check the token", 403: "; check the token", 422: "; it may accept no more devices"}
    text = f"the management API answered {reply.status}{advice.get(reply.status, '')}"
    return ServerError(text, status=reply.status)


def _pending_key(device: Any, key: Any) -> PendingKey:
    return PendingKey(device["id"], key["id"], fingerprint(device["identity_data"], key["pubkey"]))


@contextmanager
def management_of(options: Namespace, host: str, told: Told) -> Iterator[Management]:
    """The management that the command line names, with a connection of its own.

    Raises:
        OSError: the token or the certificate can't be read.
        ValueError: there is no token in the file.
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
    """The devices of a fleet that wait to be accepted, by fingerprint."""

    def __init__(self) -> None:
        self._prints: set[str] = set()

    def add(self, prints: Iterable[str]) -> None:
        """Note devices that a server has refused."""
        self._prints.update(prints)

    def take(self) -> list[str]:
        """Those that were noted since the last call."""
        taken, self._prints = self._prints, set()
        return list(taken)


class Acceptance:
    """Accepts the devices of a fleet, and no others, when they wait.

    Args:
        management: of the server.
        waiting: the devices that wait.
        most_per_second: how many are accepted in a second.
        sleep: waits so many seconds.
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
        """Accept those that wait; returns how many. A server is only asked when some do.

        Raises:
            ServerError: the server refuses.
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
