"""HTTP over urllib3: TLS, keep-alive, time limits, redirects within bounds.

One transport serves both kinds of traffic: small requests of the device API, whose whole answer has to be there
within a total time, and downloads, whose bytes are handed on as they come. Redirects and retries of urllib3 are off:
what may be repeated, and where the token may go, is decided by us.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
import urllib3.connection
import urllib3.exceptions

from mender_client.core.resume import parse_content_length
from mender_client.core.wire import Reply, Request, parse_link, printable
from mender_client.errors import ConfigError, Interrupted, NetworkError

MAXIMUM_REPLY_BYTES = 2 * 1024 * 1024
MAXIMUM_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_READ_BYTES = 65536
_Answer = TypeVar("_Answer")
_SMALL_READ_BYTES = 8192


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How servers are trusted and how the device shows itself to them.

    Attributes:
        ca_file: certificates that are trusted in addition to the system's.
        verify: False trusts everybody; for a test bench only.
        certificate: the client certificate (PEM), None for no mTLS.
        key: its private key (PEM).
    """

    ca_file: Path | None = None
    verify: bool = True
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of the network, in seconds.

    Attributes:
        connect: for the TCP connection to one address.
        idle: between two pieces of an answer, and for a TLS handshake's steps.
        total: for a whole request of the device API, from its first byte to the last of its answer.
    """

    connect: float = 15.0
    idle: float = 60.0
    total: float = 120.0


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """The TLS rules: version 1.2 or newer, chain and host name verified, the system's CAs and the operator's.

    Of the system's CAs the folder is trusted, in which OpenSSL looks up the one that it needs; the bundle of all of
    them costs more than a megabyte and is loaded by ``HttpTransport`` when the folder did not suffice.

    Raises:
        ConfigError: a certificate or key file can't be used.
    """
    context = _NamingContext(ssl.PROTOCOL_TLS_CLIENT)
    folder = ssl.get_default_verify_paths().capath
    if folder is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(capath=folder)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The same certificates must work under every Python: 3.13 turned the strict flag on, which refuses many private
    # CAs in the field, and the partial chain, which lets the operator's file name an intermediate certificate.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.ca_file is not None:
        _load(lambda: context.load_verify_locations(settings.ca_file), "ServerCertificate", settings.ca_file)
    if settings.certificate is not None:
        certificate, key = settings.certificate, settings.key
        # the password keeps OpenSSL from asking on the terminal when the key is encrypted
        _load(lambda: context.load_cert_chain(certificate, key, password=""), "HttpsClient.Certificate", certificate)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _NamingContext(ssl.SSLContext):
    """Knows whom it talks to even where urllib3 1.26 doesn't say so: a server that is named by its address.

    Without a name the host name check refuses to begin; with the address of the peer it holds the certificate
    against exactly that.
    """

    def wrap_socket(  # type: ignore[override]  # urllib3 names its arguments
        self, sock: socket.socket, *, server_hostname: str | None = None, **others: Any
    ) -> ssl.SSLSocket:
        return super().wrap_socket(sock, server_hostname=server_hostname or sock.getpeername()[0], **others)


def _load(load: Any, key: str, path: Path) -> None:
    try:
        load()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"{key}: cannot load {path}: {printable(str(reason))}; it must be a readable file in PEM form"
        raise ConfigError([problem]) from error


class HttpTransport:
    """Brings requests to servers over urllib3; see ``core.ports.Transport``.

    Args:
        tls: trust and client certificate.
        user_agent: what the client calls itself.
        timeouts: the time limits.

    Raises:
        ConfigError: a certificate or key file can't be used.
    """

    def __init__(self, *, tls: TlsSettings, user_agent: str, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._user_agent = user_agent
        self._watch = _Watch()
        self._context = tls_context(tls)
        self._is_bundle_loaded = False
        self._pools = urllib3.PoolManager(
            num_pools=4,
            maxsize=1,
            ssl_context=self._context,
            timeout=urllib3.Timeout(connect=self._timeouts.connect, read=self._timeouts.idle),
            retries=False,
        )
        self._pools.pool_classes_by_scheme = {
            "http": _pool_class(urllib3.HTTPConnectionPool, urllib3.connection.HTTPConnection, self._watch),
            "https": _pool_class(urllib3.HTTPSConnectionPool, urllib3.connection.HTTPSConnection, self._watch),
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
        self._watch.deadline = time.monotonic() + self._timeouts.total
        self._watch.is_connection_new = False
        try:
            return exchange()
        except _StaleConnectionError:
            return exchange()
        except NetworkError as error:
            if self._is_bundle_loaded or not _is_issuer_unknown(error):
                raise
            self._context.load_default_certs()
            self._is_bundle_loaded = True
            return exchange()
        finally:
            self._watch.deadline = None

    def _exchange(self, request: Request) -> Reply:
        response = self._start(request.method, request.url, request.headers, request.body)
        try:
            body = self._read_all(response, request.url)
        except NetworkError:
            response.close()
            raise
        response.release_conn()
        return Reply(response.status, _lower(response.headers), body)

    def _read_all(self, response: Any, url: str) -> bytes:
        body = bytearray()
        with _wrapped(url):
            while chunk := response.read(_READ_BYTES):
                body.extend(chunk)
                if len(body) > MAXIMUM_REPLY_BYTES:
                    break
        if len(body) > MAXIMUM_REPLY_BYTES:
            raise NetworkError(
                f"cannot use the answer of {_origin(url)}: it is larger than {MAXIMUM_REPLY_BYTES} bytes"
            )
        return bytes(body)

    def open(self, url: str, headers: Mapping[str, str]) -> HttpBody:
        """Start a download; follows up to five redirects, never from https to http.

        The total time limit holds for each answer's header, not for the body that the caller then reads.

        Raises:
            NetworkError: no answer, or a redirect that must not be followed.
        """
        asked = {**headers, "Accept-Encoding": "identity"}
        for _ in range(MAXIMUM_REDIRECTS + 1):
            response = self._within_total(lambda: self._start("GET", url, asked, b""))  # noqa: B023 - called at once
            if response.status not in _REDIRECTS:
                return HttpBody(response, url, self._watch.stream)
            location = response.headers.get("location", "")
            response.close()
            url = _redirected(url, location)
        raise NetworkError(f"cannot fetch from {_origin(url)}: more than {MAXIMUM_REDIRECTS} redirects")

    def rest(self) -> None:
        """Close idle connections: nothing is to be sent for a while."""
        self._pools.clear()

    def interrupt(self) -> None:
        """Break off whatever is being sent or received; safe in a signal handler."""
        self._watch.interrupt()

    def stop(self) -> None:
        """Break off, and refuse whatever would be sent from now on; safe in a signal handler."""
        self._watch.is_stopped = True
        self._watch.interrupt()

    def _start(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        if self._watch.is_stopped:
            raise Interrupted("the client was asked to stop")
        with _wrapped(url, self._watch):
            return self._pools.urlopen(
                method,
                url,
                body=body or None,
                headers={"User-Agent": self._user_agent, **headers},
                redirect=False,
                preload_content=False,
                decode_content=False,
                enforce_content_length=True,
            )


class HttpBody:
    """A download that has begun; see ``core.ports.Body``.

    A body of known length is read past urllib3 and http.client, straight from the connection into the caller's buffer:
    of a gigabyte that saves more than half of the processor's work. Any other one takes the long way.
    """

    def __init__(self, response: Any, url: str, stream: io.BufferedReader | None) -> None:
        self._response = response
        self._url = url
        self.status: int = response.status
        self.headers: Mapping[str, str] = _lower(response.headers)
        self._left = None if "transfer-encoding" in self.headers else parse_content_length(self.headers)
        self._stream = stream if self._left is not None else None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there, without waiting for it to be full; 0 at the end.

        Raises:
            NetworkError: the connection broke or stalled.
        """
        with _wrapped(self._url):
            if self._stream is None or self._left is None:
                return self._read_the_long_way(buffer)
            count = self._stream.readinto1(buffer[: self._left]) if self._left else 0
            if self._left and not count and buffer:
                raise IncompleteRead(b"", self._left)
            self._left -= count
            return count

    def _read_the_long_way(self, buffer: memoryview) -> int:
        if hasattr(self._response, "read1"):
            chunk = self._response.read1(len(buffer))
        else:  # urllib3 1.26 waits for all that it is asked for, and what a broken connection takes would be lost
            chunk = self._response.read(min(len(buffer), _SMALL_READ_BYTES))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Give the connection up; what has not been read is not waited for."""
        self._response.close()


class _StaleConnectionError(NetworkError):
    """A kept-alive connection was closed by the server before our request reached it."""


class _Watch:
    """What the connections of one transport share: the deadline of the request under way, and who is connected."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.is_connection_new = False
        self.is_stopped = False
        self.stream: io.BufferedReader | None = None
        self._sockets: weakref.WeakSet[Any] = weakref.WeakSet()

    def connected(self, sock: Any) -> None:
        self._sockets.add(sock)
        if self.is_stopped:
            self.interrupt()  # it came while we were connecting

    def seconds_left(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()

    def interrupt(self) -> None:
        for sock in list(self._sockets):
            try:
                # not SSLSocket.shutdown, which would pull the TLS object from under a read in progress
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                continue


def _pool_class(pool: Any, connection: Any, watch: _Watch) -> Any:
    """A urllib3 pool whose connections obey the deadline and can be broken off."""

    class WatchedConnection(connection):  # type: ignore[misc]  # the two base classes differ by scheme
        sock: Any

        def connect(self) -> None:
            watch.is_connection_new = True  # before it fails: only what is kept alive can have gone stale
            super().connect()
            sock: Any = self.sock
            watch.connected(sock)
            self.sock = _WatchedSocket(sock, watch)
            # our TLS rules decide; where they trust everybody, urllib3 need not warn about each request
            self.is_verified = True

    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": WatchedConnection})


class _WatchedSocket:
    """A socket whose answer is read under the deadline: a server that sends a byte a second doesn't hold us."""

    def __init__(self, sock: Any, watch: _Watch) -> None:
        self._sock = sock
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        raw = _WatchedReader(self._sock, self._sock.makefile(mode, buffering=0), self._watch)
        self._watch.stream = io.BufferedReader(raw)
        return self._watch.stream


class _WatchedReader(io.RawIOBase):
    def __init__(self, sock: Any, raw: io.RawIOBase, watch: _Watch) -> None:
        self._sock = sock
        self._raw = raw
        self._watch = watch
        self._idle_seconds: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._watch.seconds_left()
        if left is None:
            return self._fill(memoryview(buffer))
        idle = self._sock.gettimeout()
        if left <= 0:
            raise TimeoutError("the whole answer took too long")
        self._sock.settimeout(min(left, idle) if idle is not None else left)
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(idle)

    def _fill(self, view: memoryview) -> int:
        """Take all that is there, TLS record after TLS record, and wait only when there is nothing."""
        if self._idle_seconds is None:
            self._idle_seconds = self._sock.gettimeout()
            self._sock.settimeout(0)
        filled, size = 0, len(view)
        while filled < size:
            try:
                count = self._sock.recv_into(view[filled:], size - filled)
            except (BlockingIOError, ssl.SSLWantReadError):
                if filled:
                    break
                self._wait()
            except OSError:
                if filled:
                    break  # the next call meets it again; what has arrived counts
                raise
            else:
                if not count:
                    break
                filled += count
        return filled

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if not poll.poll(None if self._idle_seconds is None else self._idle_seconds * 1000):
            raise TimeoutError("nothing came for too long")

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            super().close()


class _wrapped:
    """Turns what urllib3 and http.client raise into a NetworkError that names the host and the case."""

    def __init__(self, url: str, watch: _Watch | None = None) -> None:
        self._url = url
        self._watch = watch

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, urllib3.exceptions.HTTPError | HTTPException | OSError | ValueError):
            return
        if self._watch is not None and not self._watch.is_connection_new and _is_stale(error):
            self._watch.is_connection_new = True
            raise _StaleConnectionError(f"cannot reach {_origin(self._url)}: the connection was closed") from error
        raise NetworkError(f"cannot reach {_origin(self._url)}: {_reason(error)}") from error


_UNKNOWN_ISSUER = frozenset({2, 7, 18, 19, 20, 21})
"""OpenSSL's verification errors that say: the chain ends at nobody whom we trust."""


def _is_issuer_unknown(error: BaseException) -> bool:
    return any(
        isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _UNKNOWN_ISSUER
        for cause in _causes(error)
    )


def _is_stale(error: BaseException) -> bool:
    return isinstance(error, urllib3.exceptions.ProtocolError | ssl.SSLError | urllib3.exceptions.SSLError)


def _reason(error: BaseException) -> str:
    """Say what happened, in words of our own where the case is known; foreign texts may hold the address."""
    chain = list(_causes(error))
    for kind, text in _CASES:
        for cause in chain:
            if isinstance(cause, kind) and (said := text(cause)):
                return said
    return f"the answer is no HTTP, or broke off ({type(chain[-1]).__name__})"


def _certificate_reason(error: Any) -> str:
    return (
        f"its certificate is not trusted ({printable(error.verify_message)}); "
        "check ServerCertificate, the host name and this device's clock"
    )


_CASES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Callable[[Any], str | None]], ...] = (
    (ssl.SSLCertVerificationError, _certificate_reason),
    (
        (socket.gaierror, UnicodeError, urllib3.exceptions.LocationParseError),
        lambda _: "its name can't be resolved; check the name and DNS",
    ),
    (ConnectionRefusedError, lambda _: "the connection was refused; check the port, and that the server runs"),
    ((ConnectionResetError, BrokenPipeError), lambda _: "the connection was reset"),
    (ssl.SSLError, lambda error: f"TLS failed ({printable(error.reason or 'unknown reason')})"),
    (TimeoutError, lambda _: "it did not answer in time"),
    # a failed connection is a time-out to urllib3, whatever its cause: what the system says comes first
    (OSError, lambda error: error.strerror),
    (urllib3.exceptions.TimeoutError, lambda _: "it did not answer in time"),
    ((IncompleteRead, urllib3.exceptions.IncompleteRead), lambda _: "the answer broke off"),
)
"""What may have happened and how it is said, the most telling case first."""


def _causes(error: BaseException) -> Any:
    """The error and what it wraps, outermost first: urllib3 hides causes in args, reason and __context__."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        todo.extend(item for item in inner if isinstance(item, BaseException))


def _redirected(url: str, location: str) -> str:
    if not location:
        raise NetworkError(f"cannot follow the redirect of {_origin(url)}: it names no address")
    try:
        target = parse_link(urljoin(url, location))
    except ValueError as error:
        # the text of the error may repeat what stands in the address
        raise NetworkError(
            f"cannot follow the redirect of {_origin(url)}: it leads to no http or https address"
        ) from error
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise NetworkError(f"cannot follow the redirect of {_origin(url)}: it leads from https to http")
    return target


def _origin(url: str) -> str:
    """Scheme, host and port of an address: what may be said of it, since its query may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
