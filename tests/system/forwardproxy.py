"""A small proxy on the loopback interface: CONNECT for https, absolute URLs for http, optionally a password."""

from __future__ import annotations

import contextlib
import select
import socket
from urllib.parse import urlsplit

from .rawserver import RawServer, answer


class ForwardProxy(RawServer):
    """Forwards all requests to one server, whatever host they name, so that the host needn't exist.

    Args:
        server: the server; None if no server can be reached.
        authorization: the ``Proxy-Authorization`` header that it requires; empty for none.
        status: the status with which it answers instead of forwarding; 0 to forward.
    """

    def __init__(self, server: RawServer | None, *, authorization: str = "", status: int = 0) -> None:
        super().__init__(ForwardProxy._forward)  # type: ignore[arg-type]  # it serves its own connections
        self._server = server
        self._authorization = authorization
        self._status = status

    def __enter__(self) -> ForwardProxy:
        super().__enter__()
        return self

    @property
    def asked(self) -> list[str]:
        """The first line of each request."""
        return [request.split(b"\r\n", 1)[0].decode() for request in self.requests]

    def _forward(self, connection: socket.socket) -> None:
        while request := self.read_request(connection):
            head = request.partition(b"\r\n\r\n")[0].decode("latin-1")
            if self._authorization and f"Proxy-Authorization: {self._authorization}" not in head.split("\r\n"):
                connection.sendall(answer(b"who are you?", "Proxy-Authenticate: Basic", status=407))
            elif self._status or self._server is None:
                connection.sendall(answer(b"no", status=self._status or 502))
            elif head.startswith("CONNECT "):
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                connection.sendall(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n")
                self._pump(connection, self._server.port)
                return
            else:
                self._exchange(connection, request, self._server.port)

    def _exchange(self, connection: socket.socket, request: bytes, port: int) -> None:
        method, url, rest = request.split(b" ", 2)
        parts = urlsplit(url.decode())
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            upstream.sendall(b" ".join([method, path.encode(), rest]))
            self._pump(connection, port, upstream)

    def _pump(self, connection: socket.socket, port: int, upstream: socket.socket | None = None) -> None:
        with upstream or socket.create_connection(("127.0.0.1", port)) as other, contextlib.suppress(OSError):
            pairs = {connection: other, other: connection}
            while not self.ended.is_set():
                for source in select.select(list(pairs), [], [], 0.2)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    pairs[source].sendall(data)
