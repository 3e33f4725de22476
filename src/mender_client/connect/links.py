"""Connections to ports; names are resolved and connections established in threads."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import suppress

from .loop import READ, WRITE, Background, Callback, Loop
from .protocol.ports import LinkUser, RefusedError

_CONNECT_SECONDS = 30.0
_READ_BYTES = 16384
_DATAGRAM_BYTES = 65535


class SocketLinks:
    """See ``protocol.ports.Links``.

    Args:
        loop: waits for I/O on the connections.
        background: establishes them.
    """

    def __init__(self, loop: Loop, background: Background) -> None:
        self._loop = loop
        self._background = background

    def open(self, host: str, port: int, user: LinkUser, *, is_datagram: bool) -> SocketLink:
        if self._background.is_full:
            raise RefusedError("too many connections are being made")
        link = SocketLink(self._loop, user, is_datagram=is_datagram)

        def work() -> Callback:
            try:
                sock = _connect(host, port, is_datagram=is_datagram)
            except (OSError, UnicodeError) as error:
                text = _reason(host, port, "udp" if is_datagram else "tcp", error)
                return lambda: link.failed(text)
            return lambda: link.connected(sock)

        self._background.run(work)
        return link


def _connect(host: str, port: int, *, is_datagram: bool) -> socket.socket:
    if not is_datagram:
        sock = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(host: str, port: int, kind: str, error: Exception) -> str:
    """Why a connection failed, worded as by other clients."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"dial {kind}: lookup {host}: no such host"
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(error, TimeoutError):
        return f"dial {kind} {where}: i/o timeout"
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return f"dial {kind} {where}: connect: {reason}"


class SocketLink:
    """One connection; see ``protocol.ports.Link``.

    Args:
        loop: waits for I/O on the connection.
        user: receives the events.
        is_datagram: whether message boundaries are preserved.
    """

    def __init__(self, loop: Loop, user: LinkUser, *, is_datagram: bool) -> None:
        self._loop = loop
        self._user = user
        self._is_datagram = is_datagram
        self._sock: socket.socket | None = None
        self._is_closed = False
        self._is_reading = False
        self._unsent: deque[bytes] = deque()

    def connected(self, sock: socket.socket) -> None:
        """The connection is established."""
        if self._is_closed:
            sock.close()
            return
        sock.setblocking(False)
        self._sock = sock
        self._user.connected()

    def failed(self, text: str) -> None:
        """The connection has failed."""
        if not self._is_closed:
            self._is_closed = True
            self._user.failed(text)

    def write(self, data: bytes) -> None:
        self._unsent.append(data)
        self._send()

    def read(self) -> None:
        self._is_reading = True
        self._watch()

    def close(self) -> None:
        self._is_closed = True
        if self._sock is not None:
            self._loop.watch(self._sock, 0, self._ready)
            with suppress(OSError):
                self._sock.close()
            self._sock = None
        self._unsent.clear()

    def _watch(self) -> None:
        if self._sock is not None:
            events = (READ if self._is_reading else 0) | (WRITE if self._unsent else 0)
            self._loop.watch(self._sock, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._send()
        if events & READ and self._sock is not None:
            self._receive(self._sock)

    def _send(self) -> None:
        try:
            while self._unsent and self._sock is not None:
                count = self._sock.send(self._unsent[0])
                if count < len(self._unsent[0]) and not self._is_datagram:
                    self._unsent[0] = self._unsent[0][count:]
                    continue
                self._unsent.popleft()
                self._user.written()
        except BlockingIOError:
            pass
        except OSError:
            self._end()
            return
        self._watch()

    def _receive(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_DATAGRAM_BYTES if self._is_datagram else _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        if not data and not self._is_datagram:
            self._end()
            return
        self._is_reading = False
        self._user.received(data)
        self._watch()

    def _end(self) -> None:
        if not self._is_closed:
            user = self._user
            self.close()
            user.ended()
