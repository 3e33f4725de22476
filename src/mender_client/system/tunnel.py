"""Tunnels through a proxy with CONNECT, and explains a proxy's refusal."""

from __future__ import annotations

import socket
from http.client import HTTPException

from mender_client.core.proxies import Proxy, authority
from mender_client.dataclass import replace
from mender_client.errors import Diagnostic, ErrorKind, NetworkError

from .connection import ConnectionGuard, FinalResponse, GuardedSocket, Server
from .dial import Dialer
from .netfaults import describe, shown_cause


def dial_through(proxy: Proxy, server: Server, dialer: Dialer, guard: ConnectionGuard) -> socket.socket:
    """Connect to a proxy and, for https, through it to the server.

    Raises:
        NetworkError: the proxy can't be reached, or refuses the connection.
    """
    name = authority(server.host, server.port)
    try:
        sock = dialer.dial(proxy.host, proxy.port)
        try:
            if server.scheme == "https":
                with guard.within(guard.timeouts.connect):
                    _connect(GuardedSocket(sock, guard), name, proxy)
        except BaseException:
            sock.close()
            raise
    except (OSError, ValueError, HTTPException) as error:
        said = replace(describe(error), remedy=f"check the address in {proxy.variable}, and that the proxy works")
        raise _failure(f"{server.scheme}://{name}", proxy, said) from shown_cause(error)
    return sock


def _connect(sock: GuardedSocket, server: str, proxy: Proxy) -> None:
    lines = [f"CONNECT {server} HTTP/1.1", f"Host: {server}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    with FinalResponse(sock, method="CONNECT") as response:  # type: ignore[arg-type]  # it needs makefile alone
        response.begin()
        if not 200 <= response.status < 300:
            raise refusal(response.status, f"https://{server}", proxy)


def refusal(status: int, server: str, proxy: Proxy) -> NetworkError:
    """The error for a proxy's response status; the server is given as scheme, host and port."""
    if status == 407 and proxy.authorization:
        said = Diagnostic("NET21", "it rejects the user and password (407)", f"check them in {proxy.variable}")
    elif status == 407:
        remedy = f"set {proxy.variable} to http://USER:PASSWORD@HOST:PORT"
        said = Diagnostic("NET22", "it requires a user and password (407)", remedy)
    elif status in (401, 403, 405):
        remedy = "ask the administrator of the proxy"
        said = Diagnostic("NET23", f"it denies this device access ({status})", remedy)
    elif status in (502, 503, 504):
        said = Diagnostic("NET24", f"it cannot reach the server ({status})", "check the server's name and port")
    else:
        said = Diagnostic("NET25", f"it answered {status}", f"check the address in {proxy.variable}")
    return _failure(server, proxy, said)


def _failure(server: str, proxy: Proxy, said: Diagnostic) -> NetworkError:
    text = f"cannot reach {server} through the proxy {proxy}: {said.text}"
    return NetworkError(said.code, text, remedy=said.remedy, kind=ErrorKind.PROXY)
