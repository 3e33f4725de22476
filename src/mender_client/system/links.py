"""Where a download may come from: the link of a deployment and each redirect follow the same rules.

Imported when something is downloaded: an idle daemon does without the memory.
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
    """The way of one download, from the server that named its link to the storage that has the bytes.

    Whoever names an address can't have the client fetch from one that only the device or its network can reach, unless
    it is there itself.

    Args:
        url: the server that named the link.
        peer: the address at which it was reached; empty when unknown, or when it was reached through a proxy.
    """

    def __init__(self, url: str, peer: str) -> None:
        self._is_redirect = False
        self._target = ""
        self._reach = Reach.DEVICE
        if url:
            self._pass(url, peer)

    def enter(self, url: str) -> None:
        """Check an address before anybody is asked.

        Raises:
            NetworkError: it may not be fetched from.
        """
        self._target = origin(url)
        self.check(urlsplit(url).hostname or "")

    def check(self, host: str) -> None:
        """Check an address that the target's name stands for; raises as ``enter``."""
        if reach_of(host) < self._reach:
            what = "redirect" if self._is_redirect else "link"
            text = f"cannot follow the {what} to {self._target}: it leads from outside to an address of this device or "
            raise NetworkError("NET01", f"{text}its network", remedy=CHECK_LINKS, kind=ErrorKind.REDIRECT)

    def follow(self, url: str, peer: str, location: str) -> str:
        """The address that a redirect leads to.

        Args:
            url: who redirects.
            peer: the address at which it was reached; empty when it was reached through a proxy.
            location: what it said.

        Raises:
            NetworkError: it leads nowhere, or from https to http.
        """
        self._pass(url, peer)
        self._is_redirect = True
        return _redirected(url, location)

    def _pass(self, url: str, peer: str) -> None:
        self._reach = max(self._reach, reach_of(peer or urlsplit(url).hostname or ""))


def warn_where_tls_ends(url: str, server_url: str) -> None:
    """Say that a server reached over TLS has the client fetch without."""
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
        # the text of the error may repeat what stands in the address
        raise refusal("it leads to no http or https address") from error
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise refusal("it leads from https to http")
    return target
