"""Connections that obey a deadline and can be interrupted by a signal handler; ``http.client`` speaks HTTP over them.

The guard knows each socket before the socket waits for anything.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse, parse_headers

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass
from mender_client.errors import Interrupted

if TYPE_CHECKING:
    from typing import Any

SWITCHED = 101
"""The status of a response after which the connection uses another protocol."""
_RECORD_BYTES = 16384
"""The maximum payload of a TLS record."""
_NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_EVENTS: dict[type[OSError], int] = {ssl.SSLWantReadError: select.POLLIN, ssl.SSLWantWriteError: select.POLLOUT}


@dataclass(frozen=True)
class Timeouts:
    """Time limits of the network, in seconds.

    Attributes:
        connect: for the TCP connection to one address, for a proxy's tunnel, and for the TLS handshake.
        idle: for each wait until the peer sends or accepts more data.
        total: for a whole request to the device API, from its first byte to the last byte of the response.
    """

    connect: float = 15.0
    idle: float = 60.0
    total: float = 120.0


@dataclass(frozen=True)
class Server:
    """The location of a server: the host name or address is ASCII, and the port is always set."""

    scheme: str
    host: str
    port: int


class ConnectionGuard:
    """State shared by the connections of one transport: time limits, current deadline, and whether to stop."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self.is_stopped = False
        self._deadline: float | None = None
        self._waiting: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, waiting: Any) -> None:
        """Register a socket, or an object with an ``interrupt`` method, to be broken off by ``interrupt``."""
        self._waiting.add(waiting)
        if self.is_stopped:
            self.interrupt()  # stopped while connecting

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit the duration of the block, in addition to any earlier deadline; raises the same errors as ``limit``."""
        before, self._deadline = self._deadline, time.monotonic() + self.limit(seconds)
        try:
            yield
        finally:
            self._deadline = before

    def limit(self, seconds: float) -> float:
        """The shorter of a time limit and the time left until the deadline.

        Raises:
            Interrupted: the client is to stop.
            TimeoutError: no time is left.
        """
        if self.is_stopped:
            raise Interrupted("the client was asked to stop")
        if self._deadline is None:
            return seconds
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the whole answer took too long")
        return min(seconds, left)

    def interrupt(self) -> None:
        """Break off all connections and waits; safe in a signal handler."""
        for waiting in list(self._waiting):
            if not isinstance(waiting, socket.socket):
                waiting.interrupt()
                continue
            try:
                # not SSLSocket.shutdown, which would remove the TLS object during a read
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)
            except OSError:
                continue


def secure(sock: socket.socket, host: str, context: ssl.SSLContext, guard: ConnectionGuard) -> ssl.SSLSocket:
    """Establish TLS with a server whose certificate must be valid for the host; closes the socket on failure.

    Raises:
        OSError: the handshake failed.
    """
    name = host.partition("%")[0].rstrip(".").encode("ascii")  # bytes, as in resolve_by_system
    current: Any = sock
    try:
        sock.settimeout(guard.limit(guard.timeouts.connect))
        current = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        guard.add(current)
        current.do_handshake()
    except BaseException:
        current.close()
        raise
    return current  # type: ignore[no-any-return]  # wrap_socket made it


class GuardedSocket:
    """A connected socket as ``http.client`` expects it; the guard limits every wait for the peer.

    Data to send is buffered until the response is requested: ``http.client`` sends head and body separately, and sent
    together they share one TLS record.

    Args:
        sock: the socket; it is made non-blocking.
        guard: limits the time.
    """

    def __init__(self, sock: socket.socket, guard: ConnectionGuard) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._guard = guard
        self._poll = select.poll()
        self._unsent = bytearray()
        self._is_detached = False
        self.is_at_end = False

    def has_input(self) -> bool:
        """Whether the peer has sent data that has not been read, or has closed the connection."""
        return (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0) or self._wait(select.POLLIN, 0)

    def sendall(self, data: bytes) -> None:
        self._unsent += data

    def makefile(self, *_: object) -> io.BufferedReader:
        """Send the buffered data; returns the stream from which the response is read."""
        unsent, self._unsent = memoryview(self._unsent), bytearray()
        while unsent:
            try:
                unsent = unsent[self._sock.send(unsent) :]
            except _NOT_READY as error:
                self._await(_EVENTS.get(type(error), select.POLLOUT))
            except (ConnectionError, ssl.SSLEOFError):
                # a server that rejects us, for instance our client certificate under TLS 1.3, closes the connection
                # while we are still sending; what it sent before can be read
                break
        return io.BufferedReader(_Reader(self, self._sock.makefile("rb", buffering=0)))

    def receive(self, view: memoryview) -> int:
        """Read all available data, as long as another TLS record fits; waits only if there is none."""
        if self._is_detached:
            return 0
        self._guard.limit(0)  # check the deadline here: if the peer never stops sending, we never wait
        filled, size = 0, len(view)
        while not filled or filled + _RECORD_BYTES <= size:
            try:
                count = self._sock.recv_into(view[filled:], size - filled)
            except OSError as error:
                if filled:
                    break  # return what has arrived; the next call meets the error again
                if not isinstance(error, _NOT_READY):
                    raise
                self._await(_EVENTS.get(type(error), select.POLLIN))
            else:
                if not count:
                    self.is_at_end = not filled
                    break
                filled += count
        return filled

    def close(self) -> None:
        self._sock.close()

    def detach(self) -> socket.socket:
        """Hand the socket over to the caller; data that was read ahead stays in the response stream."""
        self._is_detached = True
        return self._sock

    def _await(self, events: int) -> None:
        if not self._wait(events, self._guard.limit(self._guard.timeouts.idle)):
            raise TimeoutError("nothing came for too long")

    def _wait(self, events: int, seconds: float) -> bool:
        self._poll.register(self._sock, events)
        return bool(self._poll.poll(seconds * 1000))


class FinalResponse(HTTPResponse):
    """The response after any interim ones (RFC 9110, 15.2): http.client skips only 100, and takes 102 for final."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # begin() calls it
            if not 100 < status < 200:
                return version, status, reason
            parse_headers(self.fp)


class SwitchingResponse(FinalResponse):
    """The response to an upgrade request, for which 101 is final, too."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = HTTPResponse._read_status(self)  # type: ignore[attr-defined]  # begin() calls it
        if status == SWITCHED:
            return version, status, reason
        while 100 < status < 200:
            parse_headers(self.fp)
            version, status, reason = super()._read_status()
        return version, status, reason


class _Reader(io.RawIOBase):
    """The raw stream of a response; it holds the socket's own stream, which keeps the socket open."""

    def __init__(self, sock: GuardedSocket, hold: io.RawIOBase) -> None:
        self._sock = sock
        self._hold = hold

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._sock.receive(memoryview(buffer))

    def close(self) -> None:
        if not self.closed:
            self._hold.close()
            super().close()
