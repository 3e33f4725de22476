"""What the workflow needs of the network."""

from __future__ import annotations

from collections.abc import Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.wire.messages import Reply, Request

if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Body(Protocol):
    """An answer whose body is read piece by piece."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names lower-case."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as bytes are there; 0 at the end, which may come before the promised length.

        Raises:
            NetworkError: the connection broke or stalled.
        """

    def close(self) -> None:
        """Give the connection up."""


class Transport(Protocol):
    """Brings requests to servers."""

    def send(self, request: Request) -> Reply:
        """Send a request of the device API and read its whole answer, whatever its status.

        Raises:
            NetworkError: no complete answer.
        """

    def open(self, url: str, headers: Mapping[str, str]) -> Body:
        """Start a download: GET without the token, redirects followed within bounds.

        Raises:
            NetworkError: no answer.
        """

    def rest(self) -> None:
        """Nothing is to be sent for a while: close idle connections."""
