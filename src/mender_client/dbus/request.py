"""The head of a request, as received from an add-on and as sent to the server. The proxy reads nothing else."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

from mender_client.dataclass import dataclass, field

_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*)")
_OF_THE_CONNECTION = (b"host", b"connection", b"keep-alive", b"proxy-connection")


@dataclass(frozen=True, eq=False)
class Far:
    """A new connection to the server.

    Attributes:
        sock: the non-blocking socket.
        host: the server, as in the header ``Host``.
        prefix: put before the target of a request; needed by a plain HTTP proxy on the way.
        headers: additional header fields.
    """

    sock: socket.socket
    host: str
    prefix: str = ""
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)


@dataclass(frozen=True, eq=False)
class Request:
    """The head of a request.

    Attributes:
        method: the method.
        target: the path and query.
        fields: the header fields, except those that concern the connection and not the request.
        token: the bearer token; empty if there is none.
    """

    method: bytes
    target: bytes
    fields: Sequence[tuple[bytes, bytes]] = field(repr=False)
    token: bytes = field(repr=False)

    def build(self, host: str, prefix: str = "", headers: Sequence[tuple[str, str]] = ()) -> bytes:
        """The head to send to the server; arguments as for ``Far``."""
        ours = [(name.encode(), value.encode()) for name, value in (("Host", host), *headers)]
        first = b"%b %b%b HTTP/1.1" % (self.method, prefix.encode(), self.target)
        return b"\r\n".join([first, *(b"%b: %b" % one for one in (*ours, *self.fields)), b"", b""])


def parse_head(head: bytes) -> Request | None:
    """Parse a request; return None if it isn't an HTTP/1 request for a path."""
    first, *lines = head.split(b"\r\n")
    request, found = _REQUEST.fullmatch(first), [_FIELD.fullmatch(line) for line in lines]
    if request is None:
        return None
    fields = [(one[1].lower(), one[2].strip(), one[1]) for one in found if one is not None]
    if len(fields) < len(lines):
        return None
    tokens = [value for name, value, _ in fields if name == b"authorization"]
    is_upgrade = any(name == b"upgrade" for name, _, _ in fields)
    # one request per connection: the token of a second one would not be checked
    kept = [(name, value) for lower, value, name in fields if lower not in _OF_THE_CONNECTION]
    kept.append((b"Connection", b"Upgrade" if is_upgrade else b"close"))
    scheme, _, token = (tokens[0] if len(tokens) == 1 else b"").partition(b" ")
    return Request(request[1], request[2], kept, token.strip() if scheme.lower() == b"bearer" else b"")
