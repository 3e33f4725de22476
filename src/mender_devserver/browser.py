"""The page for a browser: its files, and what keeps other web sites out.

Nothing that the page does works without the management's token. The page gets it in the fragment of its address,
which no browser sends anywhere, and puts it into a header, which no other site can. Two more rings stand around that:
a request that a page of another origin made is refused, and so is one for a name that somebody may have pointed at
this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from importlib.resources import files
from urllib.parse import urlsplit

from mender_client.errors import ServerError
from mender_devserver.messages import Reply, Request

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Page:
    """The page's files, read when they are asked for."""

    def __init__(self) -> None:
        directory = files("mender_devserver") / "page"
        names = [one.name for one in directory.iterdir() if one.name.rpartition(".")[2] in TYPES]
        self._files = {f"/{name}": directory / name for name in names}
        self._files["/"] = directory / "index.html"

    def answer(self, request: Request) -> Reply | None:
        """The reply to a request for one of the files; ``None`` for any other request."""
        file = self._files.get(request.path)
        if file is None or request.method not in ("GET", "HEAD"):
            return None
        return Reply(200, file.read_bytes(), {"Content-Type": TYPES[file.name.rpartition(".")[2]], **HEADERS})


def check_browser(request: Request, own_host: str) -> None:
    """Refuse what a browser sends for another site; programs that aren't browsers send no ``Origin``.

    Args:
        request: a request to the management.
        own_host: the name or address that the server listens on.

    Raises:
        ServerError: 403.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise ServerError("cannot answer a page of another site: open the dev server's own page", status=403)
    if not _is_own(host, own_host):
        raise ServerError("cannot answer under this name: use an address, localhost, or the name of --host", status=403)


def _is_own(host: str, own_host: str) -> bool:
    """Whether nobody else can have made the name in a ``Host`` header lead here."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", own_host.lower()):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
