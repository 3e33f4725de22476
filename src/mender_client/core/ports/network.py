"""What the workflow needs from the network."""

from __future__ import annotations

from collections.abc import Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.wire.messages import Reply, Request

if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Body(Protocol):
    """A response whose body is read piece by piece."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names lower-case."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read available bytes into the buffer; 0 at the end, which may come before the announced length.

        Raises:
            NetworkError: the connection broke or stalled.
        """

    def close(self) -> None:
        """End the response and release its connection."""


class Transport(Protocol):
    """Sends requests to servers."""

    def send(self, request: Request) -> Reply:
        """Send a request of the device API and read the whole response, whatever its status.

        Raises:
            NetworkError: there was no complete response.
        """

    def open(self, url: str, headers: Mapping[str, str]) -> Body:
        """Start a download: send a GET without the token, and follow a limited number of redirects.

        Raises:
            NetworkError: there was no response.
        """

    def rest(self) -> None:
        """Close idle connections, because nothing will be sent for a while."""
