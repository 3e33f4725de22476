"""Misbehaving servers in a few lines each: a script talks to the client over a plain socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

Script = Callable[["RawServer", socket.socket], None]
"""Serves one connection; when it returns, the connection is closed."""


class RawServer:
    """Listens on the loopback interface and runs the script for each connection, in a separate thread.

    Args:
        script: serves a connection.
        tls: the TLS context of an https server; None for http.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.connections = 0
        self.requests: list[bytes] = []
        self.ended = threading.Event()
        self.is_waited_for = False

    def __enter__(self) -> RawServer:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, action: Callable[[], None]) -> None:
        thread = threading.Thread(target=action, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            self._start(lambda accepted=connection: self._serve(accepted))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client may disconnect at any time
            if self._tls is None:
                self._script(self, connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as secure:
                self._open.add(secure)
                self._script(self, secure)

    def read_request(self, connection: socket.socket) -> bytes:
        """Read a request with its body, record it, and return it; empty if the client has closed the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                while len(body) < int(value):
                    body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]


def answer(body: bytes = b"", *headers: str, status: int = 200) -> bytes:
    """A well-formed response."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def raw(data: bytes) -> Script:
    """A server that answers one request with these bytes, and then closes the connection."""

    def script(server: RawServer, connection: socket.socket) -> None:
        if server.read_request(connection):
            connection.sendall(data)

    return script


def keep_alive(data: bytes) -> Script:
    """A server that answers every request of a connection with these bytes."""

    def script(server: RawServer, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(data)

    return script


def mute(server: RawServer, connection: socket.socket) -> None:
    """A server that accepts a connection and never sends anything."""
    server.is_waited_for = True
    server.ended.wait()


def silent(server: RawServer, connection: socket.socket) -> None:
    """A server that reads a request and never answers."""
    server.read_request(connection)
    mute(server, connection)


def drip(head: bytes, piece: bytes, *, seconds: float = 0.05) -> Script:
    """A server that begins a response and then sends a small piece at regular intervals, without end."""

    def script(server: RawServer, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(head)
        server.is_waited_for = True
        while not server.ended.wait(seconds):
            connection.sendall(piece)

    return script


def reset(connection: socket.socket) -> None:
    """Close a connection with an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
