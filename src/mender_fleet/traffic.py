"""A transport that reports its requests: the endpoint, the duration, the number of bytes and the error, if any."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from mender_client.core.wire.messages import Reply, Request
from mender_client.errors import MenderError
from mender_client.system.dial import Address, resolve_by_system
from mender_client.system.exchange import HttpBody
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsRules, TlsSettings

DOWNLOAD = "Artifact"
"""The name of the endpoint for Artifacts, regardless of their links."""
_PREFIX = "/api/devices/"
_AUTHENTICATION = "/authentication/auth_requests"
_DEPLOYMENT = re.compile(r"/deployments/[^/]+/(status|log)$")
_EXPECTED = frozenset({401, 409, 429})
"""Statuses of expected refusals: not accepted, aborted, too many requests."""
_RESOLVED_SECONDS = 60.0
FINAL = frozenset({"success", "failure", "already-installed"})


class Listener(Protocol):
    """Receives notifications about the requests of a device."""

    def requested(self, method: str, name: str, seconds: float, size_bytes: int, error: Exception | None) -> None:
        """A request was made."""

    def sent(self, size_bytes: int) -> None:
        """The body of a request was sent."""

    def refused(self) -> None:
        """The server does not authorise the device yet."""

    def offered(self) -> None:
        """A deployment was offered."""

    def reported(self, status: str) -> None:
        """The server has accepted a status."""


class RefusedError(Exception):
    """The server refused a request that it should have accepted."""


def name_of(url: str) -> str:
    """The name of an endpoint: its path, without the parts that differ between deployments."""
    path = urlsplit(url).path
    return _DEPLOYMENT.sub(r"/deployments/{id}/\1", path.removeprefix(_PREFIX))


class ToldBody:
    """A download that is reported at its end; see ``core.ports.Body``.

    Args:
        body: the download.
        ended: called at the end with the number of bytes received and the error, if any.
        read: called for each piece with the number of bytes received so far; may raise.
    """

    def __init__(
        self, body: HttpBody, ended: Callable[[int, Exception | None], None], read: Callable[[int], None]
    ) -> None:
        self._body = body
        self._ended = ended
        self._read = read
        self._count = 0
        self._error: Exception | None = None
        self._is_closed = False

    @property
    def status(self) -> int:
        return self._body.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._body.headers

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            count = self._body.readinto(buffer)
        except MenderError as error:
            self._error = error
            raise
        self._count += count
        self._read(self._count)
        return count

    def close(self) -> None:
        self._body.close()
        if not self._is_closed:
            self._is_closed = True
            self._ended(self._count, self._error)


class SharedResolver:
    """Resolves the addresses of servers once for all devices of a process, and again after a minute.

    Otherwise a fleet would put its load on the resolver of this machine instead of the server.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], tuple[float, Sequence[Address]]] = {}

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        """Resolve a host; see ``system.dial.Resolve``."""
        at, found = self._found.get((host, port), (0.0, ()))
        if not found or time.monotonic() - at > _RESOLVED_SECONDS:
            found = resolve_by_system(host, port)
            self._found[host, port] = time.monotonic(), found
        return found


class TextualContext:
    """A TLS context that passes the server's name as ``str``: the client uses ``bytes``, which gevent doesn't accept.

    Args:
        context: the TLS context of the client.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_socket(
        self, sock: socket.socket, *, server_hostname: bytes, do_handshake_on_connect: bool
    ) -> ssl.SSLSocket:
        """Wrap a socket with the arguments that the client passes."""
        return self._context.wrap_socket(
            sock, server_hostname=server_hostname.decode(), do_handshake_on_connect=do_handshake_on_connect
        )


class SharedRules(TlsRules):
    """The TLS rules of all devices of a process, under gevent."""

    def context(self) -> TextualContext:  # type: ignore[override]  # has the methods that the client uses
        return TextualContext(super().context())


@cache
def shared_rules(certificate: str) -> SharedRules:
    """The TLS rules of this process; ``certificate`` is a file to trust, or empty to trust those of the system.

    Raises:
        ConfigError: the certificate can't be used.
    """
    return SharedRules(TlsSettings(ca_file=Path(certificate) if certificate else None))


class ToldTransport(HttpTransport):
    """The transport of the client, which notifies a listener; takes the arguments of ``HttpTransport``."""

    listener: Listener
    read: Callable[[int], None] = staticmethod(lambda _: None)
    """Called with the number of bytes of a download received so far; may raise."""

    def send(self, request: Request) -> Reply:
        began = time.monotonic()
        name = name_of(request.url)
        self.listener.sent(len(request.body))
        try:
            reply = super().send(request)
        except MenderError as error:
            self.listener.requested(request.method, name, time.monotonic() - began, 0, error)
            raise
        self._tell(request, name, reply, time.monotonic() - began)
        return reply

    def _tell(self, request: Request, name: str, reply: Reply, seconds: float) -> None:
        error = None
        if reply.status >= 400:
            name = f"{name} {reply.status}"
            error = None if _is_expected(request, reply) else RefusedError(f"status {reply.status}")
        self.listener.requested(request.method, name, seconds, len(reply.body), error)
        if reply.status == 401 and request.url.endswith(_AUTHENTICATION):
            self.listener.refused()
        if reply.status >= 400:
            return
        if name.endswith("/deployments/next") and reply.status == 200:
            self.listener.offered()
        elif name.endswith("/{id}/status"):
            self.listener.reported(str(json.loads(request.body).get("status", "")))

    def open(self, url: str, headers: Mapping[str, str]) -> ToldBody:  # type: ignore[override]  # as the port wants it
        began, status = time.monotonic(), 200

        def ended(count: int, error: Exception | None) -> None:
            name = DOWNLOAD
            if status >= 400:
                name, error = f"{DOWNLOAD} {status}", RefusedError(f"status {status}")
            self.listener.requested("GET", name, time.monotonic() - began, count, error)

        try:
            body = super().open(url, headers)
        except MenderError as error:
            ended(0, error)
            raise
        status = body.status
        return ToldBody(body, ended, self.read)


def _is_expected(request: Request, reply: Reply) -> bool:
    """Whether a refusal is not a server error; for example, not every server offers version 2 of the update poll."""
    return reply.status in _EXPECTED or (reply.status == 404 and "/v2/" in request.url)
