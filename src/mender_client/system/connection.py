"""Connections that obey a deadline, can be broken off from a signal handler, and go through proxies.

urllib3 keeps the pools and speaks HTTP; how a connection comes about is decided here, so that it is the same under
every version of it: each socket is known to the watch before it waits for anything.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import ssl
import time
import weakref
from typing import TYPE_CHECKING, Any

from mender_client.errors import ErrorKind, Interrupted, NetworkError

from .tls import TlsRules

if TYPE_CHECKING:
    from mender_client.core.proxies import Proxies, Proxy

_LONGEST_LABEL = 63
INTERNAL = "it leads into this device or to a link-local address, and comes from outside"


class ConnectionGuard:
    """What the connections of one transport share: the deadline of the request under way, and who is connected."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        self.is_connection_new = False
        self.is_stopped = False
        self.is_internal_refused = False
        self.stream: io.BufferedReader | None = None
        self._sockets: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, sock: Any) -> None:
        """Know a socket from now on."""
        self._sockets.add(sock)
        if self.is_stopped:
            self.interrupt()  # it came while we were connecting

    def seconds_left(self) -> float | None:
        """Seconds until the deadline of the request under way; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def limit(self, seconds: float | None) -> float | None:
        """The shorter of a time limit and what is left until the deadline.

        Raises:
            Interrupted: the client is to stop.
            TimeoutError: nothing is left.
        """
        if self.is_stopped:
            raise Interrupted("the client was asked to stop")
        left = self.seconds_left()
        if left is not None and left <= 0:
            raise TimeoutError("the whole answer took too long")
        return seconds if left is None else left if seconds is None else min(seconds, left)

    def interrupt(self) -> None:
        """Break off every connection; safe in a signal handler."""
        for sock in list(self._sockets):
            try:
                # not SSLSocket.shutdown, which would pull the TLS object from under a read in progress
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                continue


def pool_class(
    pool: Any, connection: Any, guard: ConnectionGuard, rules: TlsRules | None = None, proxies: Proxies | None = None
) -> Any:
    """A urllib3 pool whose connections obey the deadline and can be broken off.

    Args:
        pool: urllib3's class of pools for a scheme.
        connection: urllib3's class of connections for it.
        watch: knows the deadline and all sockets.
        rules: the TLS rules; None for plain http.
        proxies: which proxy leads to whom; None for none.
    """
    scheme = "http" if rules is None else "https"

    class WatchedConnection(connection):  # type: ignore[misc]  # the two base classes differ by scheme
        sock: Any

        def connect(self) -> None:
            guard.is_connection_new = True  # before it fails: only what is kept alive can have gone stale
            sock: Any = self._dial()
            if rules is not None:
                sock = _secure(sock, self.host, rules, guard)
            self.sock = GuardedSocket(sock, guard)
            # our TLS rules decide; where they trust everybody, urllib3 need not warn about each request
            self.is_verified = True

        def _dial(self) -> socket.socket:
            if (proxy := self._proxy()) is None:
                return dial(
                    self._dns_host,
                    self.port,
                    seconds=self.timeout,
                    guard=guard,
                    is_internal_refused=guard.is_internal_refused,
                )
            # imported where there is a proxy: an idle daemon does without the memory
            from .tunnel import dial_through

            return dial_through(proxy, self.host, self.port, scheme=scheme, seconds=self.timeout, guard=guard)

        def _proxy(self) -> Proxy | None:
            return None if proxies is None else proxies.choose(scheme, self.host, self.port)

        def putrequest(self, method: str, url: str, *others: Any, **named: Any) -> None:
            """Begin a request; a proxy for plain http is told the whole address."""
            proxy = self._proxy() if rules is None else None
            if proxy is None:
                super().putrequest(method, url, *others, **named)
                return
            host = f"[{self.host}]" if ":" in self.host else self.host
            port = "" if self.port == self.default_port else f":{self.port}"
            super().putrequest(method, f"http://{host}{port}{url}", *others, **named)
            if proxy.authorization:
                self.putheader("Proxy-Authorization", proxy.authorization)

    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": WatchedConnection})


def dial(
    host: str, port: int, *, seconds: float | None, guard: ConnectionGuard, is_internal_refused: bool = False
) -> socket.socket:
    """Connect to the first address of a host that answers.

    Args:
        host: a name or an address, ASCII.
        port: the port.
        seconds: the time limit for each address.
        watch: bounds the whole.
        is_inward_refused: a redirect from outside leads there, so it may not be an address of this device.

    Raises:
        OSError: no address answers; what the first one said.
        NetworkError: it leads into this device.
    """
    first: OSError | None = None
    places = _resolve(host, port)
    if is_internal_refused:
        _refuse_internal(host, [str(address[0]) for *_, address in places])
    for family, kind, protocol, _, address in places:
        limit = guard.limit(seconds)
        sock = socket.socket(family, kind, protocol)
        guard.add(sock)
        try:
            sock.settimeout(limit)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
        except OSError as error:
            sock.close()
            first = first or error
        else:
            return sock
    guard.limit(seconds)
    raise first or socket.gaierror(socket.EAI_NONAME, "no address")


def _refuse_internal(host: str, addresses: list[str]) -> None:
    """A redirect from outside may not lead into this device by a name either."""
    # imported when a redirect comes: an idle daemon does without the memory
    from mender_client.core.internal_address import is_internal_address

    if any(is_internal_address(address) for address in addresses):
        raise NetworkError(f"cannot follow the redirect to {host}: {INTERNAL}", kind=ErrorKind.REDIRECT)


def _resolve(host: str, port: int) -> list[Any]:
    # bytes: for a text, Python loads the tables of all the world's scripts, half a megabyte
    name = host.encode("ascii")
    if any(not 0 < len(label) <= _LONGEST_LABEL for label in name.rstrip(b".").split(b".")) and b":" not in name:
        raise socket.gaierror(socket.EAI_NONAME, "no host can have this name")
    return socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)


def _secure(sock: socket.socket, host: str, rules: TlsRules, guard: ConnectionGuard) -> ssl.SSLSocket:
    """Speak TLS from here on; the socket is known before the handshake begins, which may take as long as a connect."""
    name = host.strip("[]").partition("%")[0].rstrip(".").encode("ascii")  # bytes, as in _resolve
    try:
        secure = rules.context().wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    except (OSError, ValueError):
        sock.close()
        raise
    guard.add(secure)
    try:
        secure.do_handshake()
    except (OSError, ValueError):
        secure.close()
        raise
    return secure


class GuardedSocket:
    """A socket whose answer is read under the deadline: a server that sends a byte a second doesn't hold us."""

    def __init__(self, sock: Any, guard: ConnectionGuard) -> None:
        self._sock = sock
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: Any) -> None:
        """Send all of it, or find out from the answer why the server doesn't want it.

        A server that refuses, a client certificate under TLS 1.3 say, closes while we still send; what it said before
        is there to be read, and urllib3 reads it after a broken pipe.
        """
        try:
            self._sock.sendall(data)
        except (ssl.SSLEOFError, ConnectionResetError) as error:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        """What http.client reads an answer from."""
        raw = _WatchedReader(self._sock, self._sock.makefile(mode, buffering=0), self._guard)
        self._guard.stream = io.BufferedReader(raw)
        return self._guard.stream


class _WatchedReader(io.RawIOBase):
    def __init__(self, sock: Any, raw: io.RawIOBase, guard: ConnectionGuard) -> None:
        self._sock = sock
        self._raw = raw
        self._guard = guard
        self._idle_seconds: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._guard.seconds_left()
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
