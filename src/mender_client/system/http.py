"""HTTP with http.client: one persistent connection per server, time limits, limited redirects.

One transport serves both kinds of traffic: small requests to the device API, whose whole response must arrive within a
total time, and downloads, whose bytes are passed on as they arrive. This module decides which requests may be repeated
and where the token may be sent; parsing HTTP is left to the library.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from http.client import HTTPException
from urllib.parse import urlsplit

from mender_client import TYPE_CHECKING
from mender_client.core.wire.messages import REDIRECTS, Reply, Request
from mender_client.dataclass import dataclass, field
from mender_client.errors import ErrorKind, Interrupted, NetworkError

from .clockevidence import ClockCheck
from .connection import (
    SWITCHED,
    ConnectionGuard,
    GuardedSocket,
    Server,
    Timeouts,
    secure,
)
from .dial import CheckAddress, Dialer, Resolve, accept_any, resolve_by_system
from .exchange import DEFAULT_PORTS, Connection, Dialed, HttpBody, Upgraded, log_request, read_all
from .netfaults import is_issuer_unknown, origin, translate_errors
from .tls import TlsRules, TlsSettings

if TYPE_CHECKING:
    from mender_client.core.proxies import Proxies, Proxy

    from .probe import PeerInfo

_logger = logging.getLogger(__name__)

MAXIMUM_REDIRECTS = 5
_LOOK_SECONDS = 5.0


@dataclass(kw_only=True, eq=False, repr=False)
class HttpTransport:
    """Requests and downloads over http.client.

    Attributes:
        clock_check: explains why certificates seem out of date.
        proxies: chooses the proxy for each server; None for no proxies.
        resolve: resolves the names of servers and proxies.
        rules: the TLS rules of another transport with the same settings, to share them; None: make new ones.

    Raises:
        ConfigError: a certificate or key file can't be used.
    """

    tls: TlsSettings
    user_agent: str
    timeouts: Timeouts = Timeouts()
    clock_check: ClockCheck = field(default_factory=ClockCheck)
    proxies: Proxies | None = None
    resolve: Resolve = resolve_by_system
    rules: TlsRules | None = None

    def __post_init__(self) -> None:
        self._guard = ConnectionGuard(self.timeouts)
        self._dialer = Dialer(self._guard, self.resolve)
        self._rules = self.rules or TlsRules(self.tls)
        self._kept: dict[str, Connection] = {}
        self._asked = ("", "")
        self._warned_of = ""

    def send(self, request: Request) -> Reply:
        began, url = time.monotonic(), request.url
        with _failure_logged(request, began), self._translated(url), self._guard.within(self.timeouts.total):
            body = self._ask_kept(request) or self._ask(request)
            try:
                data = read_all(body, request)
            except BaseException:
                body.close()
                raise
        self._asked = (origin(url), body.connection.peer)  # the source of download links
        if (connection := body.release()) is not None:
            self._keep(url, connection)
        if self.tls.verify and urlsplit(url).scheme == "https":
            self.clock_check.heard(body.headers.get("date", ""))
        log_request(request, began, f"{body.status}, {len(data)} bytes")
        return Reply(body.status, body.headers, data)

    def open(self, url: str, headers: Mapping[str, str]) -> HttpBody:
        """As the port says; the link and its redirects obey the rules in ``links``.

        The total time limit applies to the head of each response, not to the body, which the caller reads.
        """
        # imported for the first download: an idle daemon saves the memory
        from .links import CHECK_LINKS, Trail, warn_where_tls_ends

        server_url, peer = self._asked
        if server_url.startswith("https:") and url.startswith("http:") and self._warned_of != origin(url):
            self._warned_of = origin(url)
            warn_where_tls_ends(url, server_url)
        trail = Trail(server_url, peer)
        for _ in range(MAXIMUM_REDIRECTS + 1):
            trail.enter(url)
            began, request = time.monotonic(), Request("GET", url, headers)
            with _failure_logged(request, began), self._translated(url), self._guard.within(self.timeouts.total):
                body = self._ask_kept(request, trail.check) or self._ask(request, trail.check)
            log_request(request, began, str(body.status))
            if origin(url) == server_url or _asks_for_part(headers) or "If-None-Match" in headers:
                body.keep = self._keep
            if body.status not in REDIRECTS:
                return body
            body.close()
            url = trail.follow(url, body.connection.peer, body.headers.get("location", ""))
        text = f"cannot fetch from {origin(url)}: more than {MAXIMUM_REDIRECTS} redirects"
        raise NetworkError("NET12", text, remedy=CHECK_LINKS, kind=ErrorKind.REDIRECT)

    def upgrade(self, request: Request) -> tuple[Reply, Upgraded | None]:
        """Request another protocol on a new connection; redirects aren't followed.

        Returns:
            The reply, and the connection if the server has switched to the other protocol.

        Raises:
            NetworkError: as ``send``.
        """
        began, url = time.monotonic(), request.url
        with _failure_logged(request, began), self._translated(url), self._guard.within(self.timeouts.total):
            body = self._ask(request)
            if body.status == SWITCHED:
                upgraded, data = body.detach(), b""
            else:
                upgraded = None
                try:
                    data = read_all(body, request)
                finally:
                    body.close()
        log_request(request, began, str(body.status))
        return Reply(body.status, body.headers, data), upgraded

    def dial(self, url: str) -> Dialed:
        """Connect to a server, for a caller that speaks HTTP itself.

        Raises:
            NetworkError: as ``send``.
        """
        with self._translated(url), self._guard.within(self.timeouts.total):
            return self._connect(url, accept_any).detach(url)

    def continue_for(self, other: HttpTransport) -> None:
        """Apply the rules for links as ``other`` would, based on the server that it contacted last."""
        self._asked, self._warned_of = other._asked, other._warned_of

    def rest(self) -> None:
        with suppress(KeyError):  # another thread may have taken the last one
            while True:
                self._kept.popitem()[1].close()

    def stop(self) -> None:
        """Break off all connections and refuse all further requests; safe in a signal handler."""
        self._guard.is_stopped = True
        self._guard.interrupt()

    def look(self, url: str) -> PeerInfo:
        """The certificates and the time that an https server presents, both unverified.

        Raises:
            OSError: it can't be reached, or doesn't speak TLS.
            NetworkError: the proxy refuses the connection.
        """
        # imported only to explain an error: an idle daemon saves the memory
        from .probe import look

        with self._guard.within(_LOOK_SECONDS):
            server = _server(url)
            return look(self._dial(server), server, self._guard)

    def _translated(self, url: str) -> AbstractContextManager[None]:
        return translate_errors(url, lambda: self._clock_problem(url))

    def _clock_problem(self, url: str) -> str:
        """Why the clock is wrong; without local evidence, judged by the time of the server that seems out of date."""
        if known := self.clock_check.clock_problem():
            return known
        try:
            said = self.look(url).date
        except (OSError, ValueError, NetworkError, Interrupted):
            return ""
        return "" if said is None else self.clock_check.clock_problem(unverified=said)

    def _keep(self, url: str, connection: Connection) -> None:
        if (other := self._kept.pop(origin(url), None)) is not None:
            other.close()
        self._kept[origin(url)] = connection

    def _ask_kept(self, request: Request, check_address: CheckAddress = accept_any) -> HttpBody | None:
        """Send a request over a kept connection; None if a new one is needed, as any request here may be repeated."""
        connection = self._kept.pop(origin(request.url), None)
        if connection is None:
            return None
        if connection.peer:
            check_address(connection.peer)
        if not connection.sock.has_input():
            with suppress(ConnectionError, ssl.SSLError, HTTPException):
                return self._exchange(connection, request)
        connection.close()
        return None

    def _ask(self, request: Request, check_address: CheckAddress = accept_any) -> HttpBody:
        return self._exchange(self._connect(request.url, check_address), request)

    def _connect(self, url: str, check_address: CheckAddress) -> Connection:
        try:
            return self._connect_once(url, check_address)
        except ssl.SSLCertVerificationError as error:
            if not is_issuer_unknown(error) or not self._rules.widen():
                raise
            return self._connect_once(url, check_address)

    def _connect_once(self, url: str, check_address: CheckAddress) -> Connection:
        server = _server(url)
        proxy = self._proxy(server)
        sock = self._dial(server, check_address)
        peer = "" if proxy is not None else str(sock.getpeername()[0])
        if server.scheme == "https":
            family = sock.family
            try:
                sock = secure(sock, server.host, self._rules.context(), self._guard)
            except TimeoutError:
                self._dialer.distrust(server.host, server.port, family)
                raise
        connection = Connection(server, proxy, peer)
        connection.sock = GuardedSocket(sock, self._guard)
        return connection

    def _dial(self, server: Server, check_address: CheckAddress = accept_any) -> socket.socket:
        if (proxy := self._proxy(server)) is None:
            return self._dialer.dial(server.host, server.port, check_address)
        # imported only if there is a proxy: an idle daemon saves the memory
        from .tunnel import dial_through

        return dial_through(proxy, server, self._dialer, self._guard)

    def _proxy(self, server: Server) -> Proxy | None:
        return None if self.proxies is None else self.proxies.choose(server.scheme, server.host, server.port)

    def _exchange(self, connection: Connection, request: Request) -> HttpBody:
        response = connection.ask(request, {"User-Agent": self.user_agent, **request.headers})
        return HttpBody(connection, response, self._guard, request, lambda: self._translated(request.url))


def _asks_for_part(headers: Mapping[str, str]) -> bool:
    """Whether a download requests a range with an end, so that another range is likely to follow."""
    return headers.get("Range", "-")[-1] != "-"


@contextmanager
def _failure_logged(request: Request, began: float) -> Iterator[None]:
    try:
        yield
    except NetworkError as error:
        log_request(request, began, f"failed ({error.kind.value})")
        raise


def _server(url: str) -> Server:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        text = f"cannot reach {origin(url)}: this is neither an http nor an https address"
        raise NetworkError("NET11", text, remedy="correct the address", kind=ErrorKind.OTHER)
    host = (parts.hostname or "").replace("%25", "%")  # RFC 6874: the zone of an address
    return Server(parts.scheme, host, parts.port or DEFAULT_PORTS[parts.scheme])
