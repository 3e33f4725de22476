"""One request and its response over one connection: sending, reading the body, and reusing the connection."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from urllib.parse import urlsplit

from mender_client import TYPE_CHECKING
from mender_client.core.text import printable
from mender_client.core.wire.messages import Request
from mender_client.dataclass import dataclass, field
from mender_client.errors import ErrorKind, Interrupted, NetworkError

from .connection import ConnectionGuard, FinalResponse, Server, SwitchingResponse
from .netfaults import origin

if TYPE_CHECKING:
    from typing import Any

    from mender_client.core.proxies import Proxy

_logger = logging.getLogger(__name__)

DEFAULT_PORTS = {"http": 80, "https": 443}
_PROXY_AUTHENTICATION = 407
_READ_BYTES = 16384
_DRAIN_SECONDS = 1.0


def log_request(request: Request, began: float, what: str) -> None:
    """Log a request at debug level, without its query, which may be secret, and its headers, which hold the token."""
    if _logger.isEnabledFor(logging.DEBUG):
        where = printable(f"{origin(request.url)}{urlsplit(request.url).path}")
        _logger.debug("%s %s: %s in %.3f s", request.method, where, what, time.monotonic() - began)


class Connection(HTTPConnection):
    """A connection to a server, possibly through a proxy.

    Args:
        server: the server.
        proxy: the proxy for this server; None for a direct connection.
        peer: the IP address of the server; empty if a proxy is used.
    """

    sock: Any

    def __init__(self, server: Server, proxy: Proxy | None, peer: str) -> None:
        super().__init__(server.host, server.port)
        self.default_port = DEFAULT_PORTS[server.scheme]
        self.peer = peer
        self._proxy = proxy if server.scheme == "http" else None  # for https it's only a tunnel

    def ask(self, request: Request, headers: dict[str, str]) -> HTTPResponse:
        """Send a request and read the head of the response; closes the connection on failure."""
        sock, parts = self.sock, urlsplit(request.url)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        if self._proxy is not None:  # a proxy expects the absolute URL
            target = origin(request.url) + target
            if self._proxy.authorization:
                headers["Proxy-Authorization"] = self._proxy.authorization
        response = None
        self.response_class = SwitchingResponse if "Upgrade" in headers else FinalResponse
        try:
            self.request(request.method, target, request.body or None, headers)
            response = self.getresponse()
            if sock.is_at_end:  # http.client treats the end of the stream as the end of the headers
                raise IncompleteRead(b"")
            if len(set(response.headers.get_all("Content-Length", ()))) > 1:
                raise HTTPException("it has more than one length")
            if self._proxy is not None and response.status == _PROXY_AUTHENTICATION:
                from .tunnel import refusal

                raise refusal(response.status, origin(request.url), self._proxy)
        except BaseException:
            if response is not None:
                response.close()
            self.close()
            raise
        return response

    def detach(self, url: str) -> Dialed:
        """Hand the connection over to the caller; nothing must have been sent over it yet."""
        sock, name = self.sock.detach(), urlsplit(url).netloc.rpartition("@")[2]
        if self._proxy is None:
            return Dialed(sock, name)
        return Dialed(sock, name, origin(url), self._proxy.authorization)


@dataclass(frozen=True, eq=False)
class Dialed:
    """A new connection to a server, over which nothing has been sent yet.

    Attributes:
        sock: the connection; it is non-blocking.
        host: the server, as in the header ``Host``.
        prefix: the prefix of the request target that a proxy requires; empty without one.
        proxy_authorization: the value of ``Proxy-Authorization`` for the proxy; empty for none.
    """

    sock: socket.socket
    host: str
    prefix: str = ""
    proxy_authorization: str = field(default="", repr=False)


@dataclass(frozen=True, eq=False)
class Upgraded:
    """A connection that has switched to another protocol.

    Attributes:
        sock: the connection; it is non-blocking.
        early: the data that arrived after the response.
    """

    sock: socket.socket
    early: bytes = field(repr=False)


@dataclass(eq=False, repr=False)
class HttpBody:
    """A response whose body has not been read yet.

    A body of known length bypasses http.client: it is read straight from the connection into the caller's buffer, and
    its bytes are counted here, because http.client accepts a truncated body. Any other body is read by http.client.

    Attributes:
        request: the request.
        translated: translates errors into ones that name the server.
        keep: called with the connection if the body has been read (almost) to its end and the connection can be reused.
    """

    connection: Connection
    response: HTTPResponse
    guard: ConnectionGuard
    request: Request
    translated: Callable[[], AbstractContextManager[None]]

    def __post_init__(self) -> None:
        self._left = self.response.length
        self._began = time.monotonic()
        self._count = 0
        self.keep: Callable[[str, Connection], None] | None = None
        self.status: int = self.response.status
        found = self.response.headers
        self.headers: Mapping[str, str] = {name.lower(): ", ".join(found.get_all(name, ())) for name in found}

    def readinto(self, buffer: memoryview, /) -> int:
        with self.translated():
            if self._left is None:
                count = self._read_piece(buffer)
                self._count += count
                return count
            count = self.response.fp.readinto1(buffer[: self._left]) if self._left else 0
            if self._left and not count and buffer:
                raise IncompleteRead(b"", self._left)
            self._left -= count
            self._count += count
            return count

    def _read_piece(self, buffer: memoryview) -> int:
        # chunk sizes and trailers, which aren't part of the body, could be endless
        with self.guard.within(self.guard.timeouts.total):
            chunk = self.response.read1(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def release(self) -> Connection | None:
        """Close a response that was read to its end; returns its connection if that can be reused."""
        self.response.close()
        return self.connection if self.connection.sock is not None else None

    def detach(self) -> Upgraded:
        """Hand over the connection after a response with which the server switches to another protocol."""
        sock = self.connection.sock.detach()
        early = self.response.fp.read()
        self.response.close()
        return Upgraded(sock, early)

    def close(self) -> None:
        if self._count:
            log_request(self.request, self._began, f"{self._count} bytes")
            self._count = 0
        if self.keep is not None and self._has_ended() and (connection := self.release()) is not None:
            self.keep(self.request.url, connection)
        else:
            self.response.close()
            self.connection.close()
        self.keep = None

    def _has_ended(self) -> bool:
        """Whether the body has been read; a short remainder, as of an error or a redirect, is read now."""
        if self._left is None:
            return self.response.isclosed()
        if not 0 < self._left <= _READ_BYTES:
            return not self._left
        with suppress(NetworkError, Interrupted), self.guard.within(_DRAIN_SECONDS):
            while self.readinto(memoryview(bytearray(_READ_BYTES))):
                pass
        return not self._left


def read_all(body: HttpBody, request: Request) -> bytes:
    data, buffer = bytearray(), memoryview(bytearray(_READ_BYTES))
    while count := body.readinto(buffer):
        data += buffer[:count]
        if len(data) > request.most_reply_bytes:
            text = f"cannot use the answer of {origin(request.url)}: it is larger than {request.most_reply_bytes} bytes"
            raise NetworkError("NET13", text, remedy="check the address", kind=ErrorKind.TOO_LARGE)
    return bytes(data)
