"""The way through a proxy: CONNECT, and the words for what a proxy says instead of letting us through."""

from __future__ import annotations

import socket
from http.client import HTTPException, HTTPResponse

from mender_client.core.proxies import Proxy, authority
from mender_client.errors import ErrorKind, NetworkError

from .connection import ConnectionGuard, GuardedSocket, dial
from .netfaults import describe


def dial_through(
    proxy: Proxy, host: str, port: int, *, scheme: str, seconds: float | None, guard: ConnectionGuard
) -> socket.socket:
    """Connect to a proxy, and for https through it to the server.

    Args:
        proxy: the proxy.
        host: the server.
        port: the server's port.
        scheme: the server's scheme; for http the proxy itself is spoken to.
        seconds: the time limit of the connection to each address of the proxy.
        watch: bounds the whole.

    Raises:
        NetworkError: the proxy can't be reached, or doesn't let us through.
    """
    target = authority(host, port)
    prefix = f"cannot reach {scheme}://{target} through the proxy {proxy}"
    try:
        sock = dial(proxy.host, proxy.port, seconds=seconds, guard=guard)
    except (OSError, ValueError) as error:
        raise NetworkError(f"{prefix}: {describe(error, _no_clock_problem).text}", kind=ErrorKind.PROXY) from error
    if scheme == "http":
        return sock
    try:
        status = _connect(GuardedSocket(sock, guard), target, proxy.authorization)
    except (OSError, ValueError, HTTPException) as error:
        sock.close()
        raise NetworkError(f"{prefix}: {describe(error, _no_clock_problem).text}", kind=ErrorKind.PROXY) from error
    if not 200 <= status < 300:
        sock.close()
        raise NetworkError(f"{prefix}: {refusal(status, proxy)}", kind=ErrorKind.PROXY)
    return sock


def _connect(sock: GuardedSocket, target: str, authorization: str) -> int:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if authorization:
        lines.append(f"Proxy-Authorization: {authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    response = HTTPResponse(sock, method="CONNECT")  # type: ignore[arg-type]  # it needs makefile alone
    try:
        response.begin()
        return response.status
    finally:
        response.close()


def refusal(status: int, proxy: Proxy) -> str:
    """What a proxy's answer means.

    Args:
        status: the HTTP status.
        proxy: who answered.
    """
    if status == 407 and proxy.authorization:
        return f"it refuses the user and password (407); check those in {proxy.variable}"
    if status == 407:
        return f"it wants a user and password (407); set {proxy.variable} to http://USER:PASSWORD@HOST:PORT"
    if status in (401, 403, 405):
        return f"it does not let this device through to there ({status}); ask who runs it"
    if status in (502, 503, 504):
        return f"it can't reach the server ({status}); check the server's name and port"
    return f"it answered {status}"


def _no_clock_problem() -> str:
    return ""
