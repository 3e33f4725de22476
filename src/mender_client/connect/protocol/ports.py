"""What the protocols need from the device, and what the device tells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.wire.deviceconnect import Message
from mender_client.dataclass import dataclass

if TYPE_CHECKING:
    from typing import Any, Protocol
else:
    Protocol = object

Send = Callable[[Message], None]
"""Sends a message to the server, or forgets it when there is no connection."""


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Don't call; harmless afterwards."""


class Timers(Protocol):
    """The time, and calls that are due later; there is no thread but one."""

    def now(self) -> float:
        """Monotonic, in seconds."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once, after so many seconds."""


class RefusedError(Exception):
    """Something of this device refuses; the text is for the user at the other end.

    Args:
        text: why.
        code: the HTTP status that the user sees, where there is one.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Shell(Protocol):
    """A running shell."""

    def write(self, data: bytes) -> bool:
        """Type; False when so much is waiting to be read by the shell that this was dropped."""

    def resize(self, width: int, height: int) -> None:
        """Change the size of the terminal."""

    def hang_up(self) -> None:
        """End it and all that it has started; ``Screen.ended`` follows."""


class Screen(Protocol):
    """Who looks at a shell."""

    def room(self) -> tuple[int, float]:
        """How many bytes of output are wanted now; for 0, in how many seconds to ask again."""

    def output(self, data: bytes) -> None:
        """The shell has written."""

    def ended(self) -> None:
        """The shell is gone, and what it has started."""


class Shells(Protocol):
    """Starts shells."""

    def start(self, width: int, height: int, screen: Screen) -> Shell:
        """Start one.

        Raises:
            RefusedError: it can't be started.
        """


class Source(Protocol):
    """A file that is being read."""

    def read(self, size: int) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            RefusedError: it can't be read any more.
        """

    def close(self) -> None:
        """Give it back."""


@dataclass(frozen=True)
class PutRequest:
    """A file that a user sends; None or empty for what isn't given.

    Attributes:
        path: where it is to be.
        source: its path at the sender.
        mode: POSIX permissions.
    """

    path: str
    source: str = ""
    user: int | None = None
    group: int | None = None
    mode: int | None = None


class Target(Protocol):
    """A file that is being written, under another name until it is complete."""

    path: str

    def write(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            RefusedError: they can't be written.
        """

    def finish(self, done: Callable[[RefusedError | None], None]) -> None:
        """Put it in its place, durably; ``done`` is called afterwards, with what has gone wrong."""

    def abort(self) -> None:
        """Remove it; after ``finish`` nothing happens."""


class Files(Protocol):
    """The files of this device, as far as the limits allow."""

    def stat(self, path: str) -> Mapping[str, Any]:
        """What ``file_info`` says of a file.

        Raises:
            RefusedError: it isn't there, or can't be read.
        """

    def open(self, path: str) -> Source:
        """Read a file; raises as ``stat``."""

    def create(self, request: PutRequest) -> Target:
        """Begin to write a file. All that can be checked before the first byte is checked.

        Raises:
            RefusedError: it may not or can't be written.
        """


class Link(Protocol):
    """A connection to a port, perhaps still being made."""

    def write(self, data: bytes) -> None:
        """Send bytes, or one datagram; ``LinkUser.written`` follows."""

    def read(self) -> None:
        """Ask for the next bytes; one call of ``LinkUser.received`` follows, or of ``ended``."""

    def close(self) -> None:
        """Close it; nothing more is told."""


class LinkUser(Protocol):
    """Who uses a connection."""

    def connected(self) -> None:
        """It is there."""

    def failed(self, text: str) -> None:
        """It can't be made."""

    def received(self, data: bytes) -> None:
        """Bytes, or one datagram, have come."""

    def written(self) -> None:
        """What one ``write`` gave is sent."""

    def ended(self) -> None:
        """The other end has closed, or the connection is broken."""


class Links(Protocol):
    """Makes connections to ports."""

    def open(self, host: str, port: int, user: LinkUser, *, is_datagram: bool) -> Link:
        """Begin to connect.

        Raises:
            RefusedError: too many connections are being made.
        """


class Handler(Protocol):
    """One protocol in one session."""

    def receive(self, message: Message) -> None:
        """Take a message of the user."""

    def close(self) -> None:
        """End whatever is under way."""

    def resume(self) -> None:
        """There is room for more messages again."""
