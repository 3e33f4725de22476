"""The certificates that a server shows, for people who look for a fault; nothing here is proven or trusted."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import Any

from mender_client.core.certificate import Certificate, parse_der

_DER = 2


def look_at_chain(host: str, port: int, *, timeout_seconds: float) -> Sequence[Certificate]:
    """The server's certificate and those of its issuers, as far as the server shows them; none when it can't be asked.

    Args:
        host: the server.
        port: its TLS port.
        timeout_seconds: for the connection and each step of the handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at: nothing is sent, and nothing that is said is believed
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            return [parse_der(encoded) for encoded in _shown(wrapped)]
    except (OSError, ValueError):
        return []


def _shown(wrapped: ssl.SSLSocket) -> Sequence[bytes]:
    """The whole chain where Python gives it (3.13 publicly, before by a private name), else its first link."""
    first = wrapped.getpeercert(binary_form=True) or b""
    get_chain: Any = getattr(wrapped, "get_unverified_chain", None)
    if get_chain is not None:
        return [bytes(one) for one in get_chain()]
    inner: Any = getattr(getattr(wrapped, "_sslobj", None), "get_unverified_chain", None)
    if inner is None:
        return [first]
    return [bytes(one.public_bytes(_DER)) for one in inner()]
