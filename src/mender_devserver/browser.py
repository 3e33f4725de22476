"""The web page: its files, and its protection against other web sites.

Every request of the page needs the management token. The page gets it in the fragment of its URL, which browsers don't
send, and sends it in a header, which pages of other origins can't set. In addition, the server refuses requests from
another origin, and requests for host names that an attacker could have pointed at this machine (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
from importlib.resources import files
from urllib.parse import urlsplit

from mender_client.errors import ServerError
from mender_devserver.messages import Reply, Request

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
BEARER = "bearer."
"""The prefix of the websocket subprotocol that carries the management token."""


class Page:
    """The files of the page, read when they are requested."""

    def __init__(self) -> None:
        directory = files("mender_devserver") / "page"
        self._files = {
            f"/{prefix}{one.name}": one
            for prefix, place in (("", directory), ("vendor/", directory / "vendor"))
            for one in place.iterdir()
            if one.name.rpartition(".")[2] in TYPES
        }
        self._files["/"] = directory / "index.html"

    def answer(self, request: Request) -> Reply | None:
        """The reply to a request for one of the files; ``None`` for any other request."""
        file = self._files.get(request.path)
        if file is None or request.method not in ("GET", "HEAD"):
            return None
        return Reply(200, file.read_bytes(), {"Content-Type": TYPES[file.name.rpartition(".")[2]], **HEADERS})


class Guard:
    """Decides who may manage the server.

    Args:
        token: the management token.
        host: the name or address that the server listens on.
    """

    def __init__(self, token: str, host: str) -> None:
        self._token = token
        self._host = host

    def check(self, request: Request) -> None:
        """Refuse a request that doesn't have the token.

        The page can't set a header for a websocket, so it offers the token as a subprotocol, which the server doesn't
        select. Unlike a URL, a subprotocol is never logged.

        Raises:
            ServerError: 403 for another site, 401 without the token.
        """
        check_browser(request, self._host)
        offered = request.headers.get("sec-websocket-protocol", "").split(",")
        tokens = [one.strip().removeprefix(BEARER) for one in offered if one.strip().startswith(BEARER)]
        given = f"Bearer {tokens[0]}" if tokens else request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise ServerError("cannot use the management API: the token is missing or wrong", status=401)


def check_browser(request: Request, own_host: str) -> None:
    """Refuse requests that a browser sends on behalf of another site; other programs send no ``Origin``.

    Args:
        request: a management request.
        own_host: the name or address that the server listens on.

    Raises:
        ServerError: 403.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise ServerError("cannot answer a page of another origin: open the dev server's own page", status=403)
    if not is_own_host(host, own_host):
        raise ServerError("cannot answer for this host name: use an IP address, localhost or the --host", status=403)


def is_own_host(host: str, own_host: str) -> bool:
    """Whether a ``Host`` header holds a name that nobody else can have pointed at this machine.

    Args:
        host: the value of the header.
        own_host: the name or address that the server listens on.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", own_host.lower()):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
