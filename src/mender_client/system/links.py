"""Which addresses a download may use: the link of a deployment and each redirect obey the same rules.

Imported for the first download: an idle daemon saves the memory.
"""

from __future__ import annotations

import logging
from urllib.parse import urljoin, urlsplit

from mender_client.core.model import parse_link
from mender_client.core.reach import Reach, reach_of
from mender_client.errors import Diagnostic, ErrorKind, NetworkError

from .netfaults import origin

_logger = logging.getLogger(__name__)
CHECK_LINKS = "check where the server's storage and its redirects are"


class Trail:
    """The path of one download, from the server that provided the link to the storage with the data.

    A server can't make the client fetch from an address that only the device or its network can reach, unless the
    server is there itself.

    Args:
        url: the server that provided the link.
        peer: the address at which it was reached; empty if unknown, or if it was reached through a proxy.
    """

    def __init__(self, url: str, peer: str) -> None:
        self._is_redirect = False
        self._target = ""
        self._reach = Reach.DEVICE
        if url:
            self._pass(url, peer)

    def enter(self, url: str) -> None:
        """Check a URL before it is requested.

        Raises:
            NetworkError: fetching from it is not allowed.
        """
        self._target = origin(url)
        self.check(urlsplit(url).hostname or "")

    def check(self, host: str) -> None:
        """Check an address to which the target's name resolves; raises the same errors as ``enter``."""
        if reach_of(host) < self._reach:
            what = "redirect" if self._is_redirect else "link"
            text = f"cannot follow the {what} to {self._target}: it leads from outside to an address of this device or "
            raise NetworkError("NET01", f"{text}its network", remedy=CHECK_LINKS, kind=ErrorKind.REDIRECT)

    def follow(self, url: str, peer: str, location: str) -> str:
        """The target of a redirect.

        Args:
            url: the URL that redirects.
            peer: the address at which it was reached; empty if it was reached through a proxy.
            location: its ``Location`` header.

        Raises:
            NetworkError: the target is missing or invalid, or it leads from https to http.
        """
        self._pass(url, peer)
        self._is_redirect = True
        return _redirected(url, location)

    def _pass(self, url: str, peer: str) -> None:
        self._reach = max(self._reach, reach_of(peer or urlsplit(url).hostname or ""))


def warn_where_tls_ends(url: str, server_url: str) -> None:
    """Warn that a server that is reached over TLS has provided a link without TLS."""
    text = (
        f"the link of {origin(server_url)} leads to {origin(url)}, without TLS: anybody in between can read the "
        "Artifact, and change it unless its signature is verified"
    )
    _logger.warning("%s", Diagnostic("NET26", text, "give the storage an https address"))


def _redirected(url: str, location: str) -> str:
    def refusal(reason: str) -> NetworkError:
        text = f"cannot follow the redirect of {origin(url)}: {reason}"
        return NetworkError("NET14", text, remedy=CHECK_LINKS, kind=ErrorKind.REDIRECT)

    if not location:
        raise refusal("it names no address")
    try:
        target = parse_link(urljoin(url, location))
    except ValueError as error:
        # the text of the error may contain the address
        raise refusal("it leads to no http or https address") from error
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise refusal("it leads from https to http")
    return target
