"""A network with faults at chosen points: a forwarder between the client and the dev server in plain HTTP.

It understands just enough of HTTP to recognise the kind of a request and the ends of its parts. Addresses of the
storage are exchanged on the way, so that downloads come through here as well.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

from mender_devserver import DevServer

Kind = Literal["auth", "inventory", "next", "status", "log", "artifact"]
Action = Literal["cut", "stall", "reset"]
Point = Literal["before", "in the header", "in the body", "before the answer", "in the answer"]
KINDS: tuple[Kind, ...] = ("auth", "inventory", "next", "status", "log", "artifact")
ACTIONS: tuple[Action, ...] = ("cut", "stall", "reset")
POINTS: tuple[Point, ...] = ("before", "in the header", "in the body", "before the answer", "in the answer")
_ENDINGS = {"/auth_requests": "auth", "/attributes": "inventory", "/next": "next", "/status": "status", "/log": "log"}
_STALL_S = 20.0


class _BrokenError(Exception):
    """The connection has met its fault."""


class FaultProxy:
    """Forwards to a server and its storage; one fault at a time.

    Args:
        server: a running server that speaks plain HTTP.
    """

    def __init__(self, server: DevServer) -> None:
        self._fault: tuple[Kind, Action, Point] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._upstreams = {
            self._listen(): urlsplit(server.url).port or 0,
            self._listen(): urlsplit(server.storage_url).port or 0,
        }
        api, storage = (listener.getsockname()[1] for listener in self._upstreams)
        self.url = f"http://127.0.0.1:{api}"
        self._exchanged = (urlsplit(server.storage_url).netloc.encode(), f"127.0.0.1:{storage}".encode())
        self._threads: list[threading.Thread] = []
        for listener, port in self._upstreams.items():
            self._run(self._accept, listener, port)

    @staticmethod
    def _listen() -> socket.socket:
        while True:
            listener = socket.create_server(("127.0.0.1", 0))
            if listener.getsockname()[1] >= 10000:  # as long as the URL that it replaces
                return listener
            listener.close()

    def arm(self, kind: Kind, action: Action, point: Point) -> None:
        """Break the next request of this kind."""
        with self._lock:
            self._fault = (kind, action, point)

    @property
    def is_armed(self) -> bool:
        """Whether the fault is still pending."""
        with self._lock:
            return self._fault is not None

    def close(self) -> None:
        """Stop everything."""
        self._stopping.set()
        for listener in self._upstreams:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join()

    def _run(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._run(self._serve, connection, port)

    def _serve(self, client: socket.socket, port: int) -> None:
        client.settimeout(0.2)
        with client, suppress(OSError, _BrokenError):
            while not self._stopping.is_set():
                request = self._read(client)
                if not request:
                    return
                self._carry(client, request, port)

    def _carry(self, client: socket.socket, request: bytes, port: int) -> None:
        fault = self._take(request)
        action, point = fault[1:] if fault else ("", "")
        head = request.index(b"\r\n\r\n") + 4
        parts = {"before": 0, "in the header": head // 2, "in the body": head + (len(request) - head) // 2}
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            upstream.sendall(self._towards_server(request)[: parts.get(point, len(request))])
            if point in parts:
                self._break(client, action)
            reply = self._towards_client(self._read(upstream, is_reply=True))
        if point == "before the answer":
            self._break(client, action)
        client.sendall(reply[: len(reply) // 2] if point == "in the answer" else reply)
        if point == "in the answer":
            self._break(client, action)

    def _take(self, request: bytes) -> tuple[Kind, Action, Point] | None:
        path = request.split(b" ", 2)[1].split(b"?")[0].decode()
        kind = next((kind for ending, kind in _ENDINGS.items() if path.endswith(ending)), "artifact")
        with self._lock:
            fault = self._fault
            if fault is None or fault[0] != kind:
                return None
            self._fault = None
            return fault

    def _break(self, client: socket.socket, action: str) -> None:
        if action == "stall":
            self._stopping.wait(_STALL_S)
        if action == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _BrokenError

    def _towards_server(self, request: bytes) -> bytes:
        return request.replace(self._exchanged[1], self._exchanged[0])

    def _towards_client(self, reply: bytes) -> bytes:
        head = reply.find(b"\r\n\r\n")
        return reply.replace(*self._exchanged) if b"application/json" in reply[:head] else reply

    def _read(self, sock: socket.socket, *, is_reply: bool = False) -> bytes:
        """One complete message; empty if the other side has closed the connection."""
        data, total = b"", -1
        while total < 0 or len(data) < total:
            try:
                chunk = sock.recv(65536)
            except TimeoutError:
                if self._stopping.is_set():
                    return b""
                continue
            if not chunk:
                return data if is_reply else b""
            data += chunk
            end = data.find(b"\r\n\r\n")
            if total < 0 <= end:
                total = end + 4 + _content_length(data[:end])
        return data


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
