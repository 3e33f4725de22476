"""HTTP over urllib3: keep-alive, time limits, redirects within bounds.

One transport serves both kinds of traffic: small requests of the device API, whose whole answer has to be there
within a total time, and downloads, whose bytes are handed on as they come. Redirects and retries of urllib3 are off:
what may be repeated, and where the token may go, is decided by us.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
import urllib3.connection

from mender_client.core.resume import parse_content_length
from mender_client.core.wire import REDIRECTS, Reply, Request, parse_link
from mender_client.errors import ErrorKind, Interrupted, NetworkError

from .clockevidence import ClockCheck
from .connection import INTERNAL, ConnectionGuard, pool_class
from .netfaults import ClockProblem, StaleConnectionError, is_issuer_unknown, origin, translate_errors
from .tls import TlsRules, TlsSettings

if TYPE_CHECKING:
    from mender_client.core.proxies import Proxies

    from .probe import PeerInfo

MAXIMUM_REPLY_BYTES = 2 * 1024 * 1024
MAXIMUM_REDIRECTS = 5
_PROXY_AUTHENTICATION = 407
_LOOK_SECONDS = 5.0
_READ_BYTES = 65536
_Answer = TypeVar("_Answer")
_SMALL_READ_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of the network, in seconds.

    Attributes:
        connect: for the TCP connection to one address, and for the TLS handshake.
        idle: between two pieces of an answer.
        total: for a whole request of the device API, from its first byte to the last of its answer.
    """

    connect: float = 15.0
    idle: float = 60.0
    total: float = 120.0


class HttpTransport:
    """Brings requests to servers over urllib3; see ``core.ports.Transport``.

    Args:
        tls: trust and client certificate.
        user_agent: what the client calls itself.
        timeouts: the time limits.
        witness: what is known about the right time; explains certificates that seem out of date.
        proxies: which proxy leads to whom; None for none.

    Raises:
        ConfigError: a certificate or key file can't be used.
    """

    def __init__(
        self,
        *,
        tls: TlsSettings,
        user_agent: str,
        timeouts: Timeouts | None = None,
        clock_check: ClockCheck | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._user_agent = user_agent
        self._is_verifying = tls.verify
        self._guard = ConnectionGuard()
        self._clock_check = clock_check or ClockCheck()
        self._proxies = proxies
        self._rules = TlsRules(tls, self._clock_check.clock_problem)
        self._pools = urllib3.PoolManager(
            num_pools=4,
            maxsize=1,
            timeout=urllib3.Timeout(connect=self._timeouts.connect, read=self._timeouts.idle),
            retries=False,
        )
        http, https = urllib3.connection.HTTPConnection, urllib3.connection.HTTPSConnection
        self._pools.pool_classes_by_scheme = {
            "http": pool_class(urllib3.HTTPConnectionPool, http, self._guard, None, proxies),
            "https": pool_class(urllib3.HTTPSConnectionPool, https, self._guard, self._rules, proxies),
        }

    def send(self, request: Request) -> Reply:
        """Send a request of the device API and read its whole answer.

        A kept-alive connection that the server has closed meanwhile is replaced once; every request of the device
        API may be repeated.

        Raises:
            NetworkError: no complete answer within the time limits.
            Interrupted: the client is to stop.
        """
        return self._within_total(lambda: self._exchange(request))

    def _within_total(self, exchange: Callable[[], _Answer]) -> _Answer:
        self._guard.deadline = time.monotonic() + self._timeouts.total
        self._guard.is_connection_new = False
        try:
            return self._with_wider_trust(exchange)
        except StaleConnectionError:
            return self._with_wider_trust(exchange)
        finally:
            self._guard.deadline = None

    def _with_wider_trust(self, exchange: Callable[[], _Answer]) -> _Answer:
        try:
            return exchange()
        except NetworkError as error:
            if not is_issuer_unknown(error) or not self._rules.widen():
                raise
            return exchange()

    def _exchange(self, request: Request) -> Reply:
        response = self._start(request.method, request.url, request.headers, request.body)
        try:
            body = self._read_all(response, request.url)
        except NetworkError:
            response.close()
            raise
        response.release_conn()
        headers = _lower(response.headers)
        if self._is_verifying and request.url.startswith("https:"):
            self._clock_check.heard(headers.get("date", ""))
        return Reply(response.status, headers, body)

    def _read_all(self, response: Any, url: str) -> bytes:
        body = bytearray()
        with translate_errors(url, self._clock_check.clock_problem):
            while chunk := response.read(_READ_BYTES):
                body.extend(chunk)
                if len(body) > MAXIMUM_REPLY_BYTES:
                    break
        if len(body) > MAXIMUM_REPLY_BYTES:
            raise NetworkError(
                f"cannot use the answer of {origin(url)}: it is larger than {MAXIMUM_REPLY_BYTES} bytes",
                kind=ErrorKind.TOO_LARGE,
            )
        return bytes(body)

    def open(self, url: str, headers: Mapping[str, str]) -> HttpBody:
        """Start a download; follows up to five redirects, never from https to http or into this device.

        The total time limit holds for each answer's header, not for the body that the caller then reads.

        Raises:
            NetworkError: no answer, or a redirect that must not be followed.
        """
        asked = {**headers, "Accept-Encoding": "identity"}
        self._guard.is_internal_refused = False
        try:
            for _ in range(MAXIMUM_REDIRECTS + 1):
                response = self._within_total(lambda: self._start("GET", url, asked, b""))  # noqa: B023 - called at once
                if response.status not in REDIRECTS:
                    return HttpBody(
                        response, url, self._guard, self._clock_check.clock_problem, piece_seconds=self._timeouts.total
                    )
                location = response.headers.get("location", "")
                response.close()
                url = self._follow(url, location)
        finally:
            self._guard.is_internal_refused = False
        raise NetworkError(
            f"cannot fetch from {origin(url)}: more than {MAXIMUM_REDIRECTS} redirects", kind=ErrorKind.REDIRECT
        )

    def _follow(self, url: str, location: str) -> str:
        """Where a redirect leads; from outside it may not lead into this device, also not by a name's address."""
        # imported when a redirect comes: an idle daemon does without the memory
        from mender_client.core.internal_address import is_internal_address

        target = _redirected(url, location)
        if not is_internal_address(urlsplit(url).hostname or ""):
            self._guard.is_internal_refused = True
            if is_internal_address(urlsplit(target).hostname or ""):
                raise NetworkError(f"cannot follow the redirect of {origin(url)}: {INTERNAL}", kind=ErrorKind.REDIRECT)
        return target

    def rest(self) -> None:
        """Close idle connections: nothing is to be sent for a while."""
        self._pools.clear()

    def interrupt(self) -> None:
        """Break off whatever is being sent or received; safe in a signal handler."""
        self._guard.interrupt()

    def stop(self) -> None:
        """Break off, and refuse whatever would be sent from now on; safe in a signal handler."""
        self._guard.is_stopped = True
        self._guard.interrupt()

    def _start(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        if self._guard.is_stopped:
            raise Interrupted("the client was asked to stop")
        with translate_errors(url, lambda: self._clock_problem(url), self._is_stale):
            response = self._pools.urlopen(
                method,
                url,
                body=body or None,
                headers={"User-Agent": self._user_agent, **headers},
                redirect=False,
                preload_content=False,
                decode_content=False,
                enforce_content_length=True,
            )
        if response.status == _PROXY_AUTHENTICATION and self._proxies is not None:
            self._check_proxy(response, url, self._proxies)
        return response

    def _check_proxy(self, response: Any, url: str, proxies: Proxies) -> None:
        """A proxy for plain http refuses by the same road on which the server answers."""
        parts = urlsplit(url)
        proxy = proxies.choose(parts.scheme, parts.hostname or "", parts.port or 80)
        if proxy is None or parts.scheme != "http":
            return
        from .tunnel import refusal

        response.close()
        text = f"cannot reach {origin(url)} through the proxy {proxy}: {refusal(response.status, proxy)}"
        raise NetworkError(text, kind=ErrorKind.PROXY)

    def _clock_problem(self, url: str) -> str:
        """Why the clock is wrong; where nothing here shows it, by the word of the server that seems out of date."""
        if known := self._clock_check.clock_problem():
            return known
        try:
            said = self.look(url).date
        except (OSError, ValueError, NetworkError, Interrupted):
            return ""
        return "" if said is None else self._clock_check.clock_problem(unverified=said)

    def look(self, url: str) -> PeerInfo:
        """What an https server shows to everybody: its certificates and its time, neither of them verified.

        Raises:
            OSError: it can't be reached, or doesn't speak TLS.
            ValueError: it shows what is no certificate.
            NetworkError: its proxy doesn't let us through.
        """
        # imported when something has to be explained: an idle daemon does without the memory
        from .probe import look

        parts = urlsplit(url)
        deadline = self._guard.deadline
        self._guard.deadline = time.monotonic() + _LOOK_SECONDS
        try:
            return look(
                parts.hostname or "",
                parts.port or 443,
                seconds=_LOOK_SECONDS,
                guard=self._guard,
                proxies=self._proxies,
            )
        finally:
            self._guard.deadline = deadline

    def _is_stale(self) -> bool:
        """Whether a fault may mean no more than that a kept-alive connection had gone; true once for a request."""
        is_stale = not self._guard.is_connection_new
        self._guard.is_connection_new = True
        return is_stale


class HttpBody:
    """A download that has begun; see ``core.ports.Body``.

    A body of known length is read past urllib3 and http.client, straight from the connection into the caller's buffer:
    of a gigabyte that saves more than half of the processor's work. Any other one takes the long way.
    """

    def __init__(
        self, response: Any, url: str, guard: ConnectionGuard, clock_problem: ClockProblem, *, piece_seconds: float
    ) -> None:
        self._response = response
        self._url = url
        self._guard = guard
        self._piece_seconds = piece_seconds
        self._clock_problem = clock_problem
        self.status: int = response.status
        self.headers: Mapping[str, str] = _lower(response.headers)
        self._left = None if "transfer-encoding" in self.headers else parse_content_length(self.headers)
        self._stream = guard.stream if self._left is not None else None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there, without waiting for it to be full; 0 at the end.

        Raises:
            NetworkError: the connection broke or stalled.
        """
        with translate_errors(self._url, self._clock_problem):
            if self._stream is None or self._left is None:
                return self._read_the_long_way(buffer)
            count = self._stream.readinto1(buffer[: self._left]) if self._left else 0
            if self._left and not count and buffer:
                raise IncompleteRead(b"", self._left)
            self._left -= count
            return count

    def _read_the_long_way(self, buffer: memoryview) -> int:
        # what stands between two pieces and behind the last one, sizes and trailers, could go on for ever
        self._guard.deadline = time.monotonic() + self._piece_seconds
        try:
            return self._read_piece(buffer)
        finally:
            self._guard.deadline = None

    def _read_piece(self, buffer: memoryview) -> int:
        if hasattr(self._response, "read1"):
            chunk = self._response.read1(len(buffer))
        else:  # urllib3 1.26 waits for all that it is asked for, and what a broken connection takes would be lost
            chunk = self._response.read(min(len(buffer), _SMALL_READ_BYTES))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Give the connection up; what has not been read is not waited for."""
        self._response.close()


def _redirected(url: str, location: str) -> str:
    def refusal(reason: str) -> NetworkError:
        return NetworkError(f"cannot follow the redirect of {origin(url)}: {reason}", kind=ErrorKind.REDIRECT)

    if not location:
        raise refusal("it names no address")
    try:
        target = parse_link(urljoin(url, location))
    except ValueError as error:
        # the text of the error may repeat what stands in the address
        raise refusal("it leads to no http or https address") from error
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise refusal("it leads from https to http")
    return target


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
