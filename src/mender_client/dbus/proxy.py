"""A proxy on the loopback interface, which connects add-ons to the server as the client connects to it.

An add-on knows neither the client's certificates nor its proxies, and reads its tokens from the bus. Any user of the
device can connect to the port, so only requests with the token are passed on. A connection carries one request.
"""

from __future__ import annotations

import hmac
import logging
import random
import re
import socket
from collections import deque
from collections.abc import Callable

from mender_client.connect.loop import READ, Background, Call, Loop
from mender_client.errors import DeviceError, Interrupted, MenderError

from .relay import Relay
from .request import Far, Request, parse_head

_logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_RESERVED_PORTS = range(600, 1024)
"""Only root may use these: no other user can take over the port of a proxy that has ended, and obtain the token."""
_MOST_HEAD_BYTES = 32768
_HEAD_SECONDS = 10.0
_MOST_WAITING = 32
_MOST_RELAYS = 64
_LINGER_SECONDS = 1.0
_END_OF_HEAD = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


class LocalProxy:
    """Listens for add-ons while there is a token.

    Args:
        loop: the event loop.
        reach: connects to the server with a given URL; called in a thread, may raise MenderError.
        answered: called with the status of each answer, or None if the server can't be reached.
    """

    def __init__(self, loop: Loop, reach: Callable[[str], Far], answered: Callable[[int | None], None]) -> None:
        self._loop = loop
        self._reach = reach
        self._answered = answered
        self._background = Background(loop, _MOST_RELAYS)
        self._listener: socket.socket | None = None
        self._token = ""
        self._server_url = ""
        self._waiting: list[_Waiting] = []
        self._relays: set[Relay] = set()
        self._refused: deque[socket.socket] = deque()
        self.url = ""

    def serve(self, token: str, server_url: str) -> None:
        """Pass requests with a token on to a server, on a new port; existing connections are kept.

        Raises:
            DeviceError: no port is available.
        """
        listener = _listen()
        self.close_door()
        self._listener, self._token, self._server_url = listener, token, server_url
        self.url = f"http://{_HOST}:{listener.getsockname()[1]}"
        self._loop.watch(listener, READ, self._accept)

    def close_door(self) -> None:
        """Accept no more connections; existing ones are kept."""
        if self._listener is not None:
            self._loop.watch(self._listener, 0, self._accept)
            self._listener.close()
            self._listener = None
        self._token = self.url = ""

    def close(self) -> None:
        """Close the port and all connections."""
        self.close_door()
        for waiting in list(self._waiting):
            waiting.close()
        for relay in self._relays:
            relay.close()
        for sock in self._refused:
            sock.close()

    # -- connections ------------------------------------------------------------------------------------------------

    def _accept(self, _: int) -> None:
        if self._listener is None:
            return
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting[0].close()
        self._waiting.append(_Waiting(self._loop, sock, self._asked, self._waiting.remove))

    def _asked(self, sock: socket.socket, head: bytes, rest: bytes) -> None:
        """Handle a request of which the head has been received."""
        if len(head) > _MOST_HEAD_BYTES:
            self._refuse(sock, 431, "the head of the request is too large")
            return
        request = parse_head(head)
        if request is None:
            self._refuse(sock, 400, "this request cannot be passed on")
        elif not self._token or not hmac.compare_digest(request.token, self._token.encode()):
            self._refuse(sock, 401, "this needs the device's token, as on the bus")
        elif len(self._relays) >= _MOST_RELAYS or self._background.is_full:
            self._refuse(sock, 503, "too many requests at once")
        else:
            server_url = self._server_url
            self._background.run(lambda: self._open(sock, request, rest, server_url))

    def _open(self, sock: socket.socket, request: Request, rest: bytes, server_url: str) -> Callable[[], None]:
        """Connect to the server, in a thread; return a function that the loop then calls."""
        try:
            far = self._reach(server_url)
        except Interrupted:
            return sock.close
        except MenderError as error:
            text = str(error)
            return lambda: self._unreachable(sock, text)
        return lambda: self._join(sock, far, request.build(far.host, far.prefix, far.headers) + rest)

    def _unreachable(self, sock: socket.socket, text: str) -> None:
        _logger.warning("a request of an add-on: %s", text)
        self._refuse(sock, 502, "the server can't be reached")
        self._answered(None)

    def _join(self, sock: socket.socket, far: Far, request: bytes) -> None:
        def answered(first: bytes) -> None:
            if status := _STATUS.match(first):
                self._answered(int(status[1]))

        def ended() -> None:
            self._relays.discard(relay)

        relay = Relay(self._loop, sock, far.sock, request, answered, ended)
        self._relays.add(relay)

    def _refuse(self, sock: socket.socket, status: int, text: str) -> None:
        body = b'{"error": "%b"}\n' % text.encode()
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        try:
            sock.send(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
            return
        # not closed at once: if the peer is still sending, the kernel would discard the answer
        self._refused.append(sock)
        if len(self._refused) > _MOST_WAITING:
            self._refused.popleft().close()
        self._loop.call_later(_LINGER_SECONDS, lambda: self._forget(sock))

    def _forget(self, sock: socket.socket) -> None:
        if sock in self._refused:
            self._refused.remove(sock)
            sock.close()


def _listen() -> socket.socket:
    for port in [*random.sample(_RESERVED_PORTS, 32), 0]:
        if port and _is_assigned(port):
            continue
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.bind((_HOST, port))
            sock.listen(_MOST_WAITING)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            problem = error
            continue
        return sock
    text = f"cannot listen on {_HOST}: {problem.strerror}"
    raise DeviceError("BUS05", text, remedy="check that the interface lo is up") from problem


def _is_assigned(port: int) -> bool:
    """Whether the port is assigned to a service of the system."""
    try:
        socket.getservbyport(port, "tcp")
    except OSError:
        return False
    return True


class _Waiting:
    """A connection on which the head of a request has not been received yet.

    Args:
        loop: the event loop.
        sock: the connection.
        asked: called with the connection, the head, and the bytes received after it.
        gone: called with this object when the wait is over.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        asked: Callable[[socket.socket, bytes, bytes], None],
        gone: Callable[[_Waiting], None],
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop = loop
        self._sock = sock
        self._asked = asked
        self._gone = gone
        self._head = bytearray()
        self._limit: Call = loop.call_later(_HEAD_SECONDS, self.close)
        loop.watch(sock, READ, self._ready)

    def close(self) -> None:
        self._leave()
        self._sock.close()

    def _leave(self) -> None:
        self._limit.cancel()
        self._loop.watch(self._sock, 0, self._ready)
        self._gone(self)

    def _ready(self, _: int) -> None:
        try:
            data = self._sock.recv(_MOST_HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._head += data
        head, end, rest = bytes(self._head).partition(_END_OF_HEAD)
        if end or len(head) > _MOST_HEAD_BYTES:
            self._leave()
            self._asked(self._sock, head, rest)
        elif not data:
            self.close()
