"""Gets the certificates and the time of a server, to explain an error.

Nothing is verified, so the result must not be trusted; no token, client certificate or path is sent.
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime
from http.client import HTTPException, HTTPResponse

from mender_client import TYPE_CHECKING
from mender_client.core.certificate import Certificate, parse_der
from mender_client.core.proxies import authority
from mender_client.dataclass import dataclass

from .clockevidence import parse_date
from .connection import ConnectionGuard, GuardedSocket, Server, secure

if TYPE_CHECKING:
    from typing import Any

_DER = 2  # _ssl's constant for DER


@dataclass(frozen=True)
class PeerInfo:
    """What a server presents, unverified.

    Attributes:
        certificates: its chain in the order sent, its own certificate first.
        date: its time; None if it doesn't send it.
    """

    certificates: tuple[Certificate, ...]
    date: datetime | None


def look(sock: socket.socket, server: Server, guard: ConnectionGuard) -> PeerInfo:
    """Get the information from an https server over a connection, which is closed afterwards.

    Raises:
        OSError: it doesn't speak TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with secure(sock, server.host, context, guard) as tls:
        return PeerInfo(_chain(tls), _date(GuardedSocket(tls, guard), authority(server.host, server.port)))


def _chain(tls: Any) -> tuple[Certificate, ...]:
    """The certificates that the server sent; Python has had the method since 3.10, publicly since 3.13."""
    public = getattr(tls, "get_unverified_chain", None)
    shown = public() if public is not None else [one.public_bytes(_DER) for one in tls._sslobj.get_unverified_chain()]
    found = []
    for der in shown:
        try:
            found.append(parse_der(der))
        except ValueError:
            continue
    return tuple(found)


def _date(sock: GuardedSocket, host: str) -> datetime | None:
    try:
        sock.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii"))
        with HTTPResponse(sock, method="HEAD") as response:  # type: ignore[arg-type]  # it needs makefile alone
            response.begin()
            return parse_date(response.getheader("Date", ""))
    except (OSError, HTTPException, ValueError):
        return None
