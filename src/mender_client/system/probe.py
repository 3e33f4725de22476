"""A look at a server that verifies nothing and tells nothing: whose certificates it shows, and what time it has.

Only to explain a fault. Nothing is verified, so nothing is believed; no token, no certificate of this device and no
path of an address is shown.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from mender_client.core.certificate import Certificate, parse_der
from mender_client.core.proxies import authority

from .clockevidence import parse_date
from .connection import ConnectionGuard, GuardedSocket, dial

if TYPE_CHECKING:
    from mender_client.core.proxies import Proxies

_DER = 2
"""What ``_ssl`` calls the binary form."""


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What a server shows, unverified.

    Attributes:
        certificates: its chain as it sends it, its own certificate first.
        date: what time it has; None when it doesn't say.
    """

    certificates: tuple[Certificate, ...]
    date: datetime | None


def look(host: str, port: int, *, seconds: float, guard: ConnectionGuard, proxies: Proxies | None) -> PeerInfo:
    """Look at an https server.

    Args:
        host: its name or address, ASCII.
        port: its port.
        seconds: the time limit of each wait.
        watch: bounds the whole.
        proxies: which proxy leads to whom.

    Raises:
        OSError: it can't be reached, or doesn't speak TLS.
        ValueError: it shows what is no certificate.
        NetworkError: its proxy doesn't let us through.
    """
    proxy = None if proxies is None else proxies.choose("https", host, port)
    if proxy is None:
        sock = dial(host, port, seconds=seconds, guard=guard)
    else:
        from .tunnel import dial_through

        sock = dial_through(proxy, host, port, scheme="https", seconds=seconds, guard=guard)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(sock, server_hostname=host.encode("ascii"), do_handshake_on_connect=False) as secure:
        guard.add(secure)
        secure.do_handshake()
        return PeerInfo(_chain(secure), _date(GuardedSocket(secure, guard), authority(host, port)))


def _chain(secure: Any) -> tuple[Certificate, ...]:
    """The certificates that the server sent; Python has the method since 3.10, and a public one since 3.13."""
    public = getattr(secure, "get_unverified_chain", None)
    shown = (
        public() if public is not None else [one.public_bytes(_DER) for one in secure._sslobj.get_unverified_chain()]
    )
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
        response = HTTPResponse(sock, method="HEAD")  # type: ignore[arg-type]  # it needs makefile alone
        with response:
            response.begin()
            return parse_date(response.getheader("Date", ""))
    except (OSError, HTTPException, ValueError):
        return None
