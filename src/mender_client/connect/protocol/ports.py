"""The interfaces between the protocols and the device."""

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
"""Sends a message to the server, or discards it if there is no connection."""


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call; does nothing after the call."""


class Timers(Protocol):
    """The clock and scheduled calls; everything runs in one thread."""

    def now(self) -> float:
        """The monotonic time in seconds."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once, after this many seconds."""


class RefusedError(Exception):
    """The device refuses a request; the text is for the remote user.

    Args:
        text: the reason.
        code: the HTTP status for the user; 0 for none.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Shell(Protocol):
    """A running shell."""

    def write(self, data: bytes) -> bool:
        """Send input; returns False if it was dropped because too much input is unread."""

    def resize(self, width: int, height: int) -> None:
        """Change the size of the terminal."""

    def hang_up(self) -> None:
        """End the shell and all processes that it has started; ``Screen.ended`` follows."""


class Screen(Protocol):
    """The receiver of a shell's output."""

    def room(self) -> tuple[int, float]:
        """How many bytes of output can be taken now, and if 0, after how many seconds to ask again."""

    def output(self, data: bytes) -> None:
        """Take output of the shell."""

    def ended(self) -> None:
        """The shell and all processes that it has started have ended."""


class Shells(Protocol):
    """Starts shells."""

    def start(self, width: int, height: int, screen: Screen) -> Shell:
        """Start a shell.

        Raises:
            RefusedError: it can't be started.
        """


class Source(Protocol):
    """A file that is being read."""

    def read(self, size: int) -> bytes:
        """Read the next bytes; empty at the end.

        Raises:
            RefusedError: it can't be read.
        """

    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True)
class PutRequest:
    """A file that a user uploads; attributes that aren't given are None or empty.

    Attributes:
        path: its path on the device.
        source: its path on the sender's machine.
        mode: POSIX permissions.
    """

    path: str
    source: str = ""
    user: int | None = None
    group: int | None = None
    mode: int | None = None


class Target(Protocol):
    """A file that is being written; it gets its name when it is complete."""

    path: str

    def write(self, data: bytes) -> None:
        """Append data.

        Raises:
            RefusedError: it can't be written.
        """

    def finish(self, done: Callable[[RefusedError | None], None]) -> None:
        """Give the file its name, durably; ``done`` is then called with the error, or None."""

    def abort(self) -> None:
        """Remove the file; does nothing after ``finish``."""


class Files(Protocol):
    """The files of this device, within the configured limits."""

    def stat(self, path: str) -> Mapping[str, Any]:
        """The content of ``file_info`` for a file.

        Raises:
            RefusedError: it doesn't exist, or access is refused.
        """

    def open(self, path: str) -> Source:
        """Open a file for reading; raises the same errors as ``stat``."""

    def create(self, request: PutRequest) -> Target:
        """Begin to write a file, after all checks that are possible before the first byte.

        Raises:
            RefusedError: it can't be written, or writing it is not allowed.
        """


class Link(Protocol):
    """A connection to a port, which may not be established yet."""

    def write(self, data: bytes) -> None:
        """Send bytes, or one datagram; ``LinkUser.written`` follows."""

    def read(self) -> None:
        """Request the next data; one call of ``LinkUser.received`` or ``ended`` follows."""

    def close(self) -> None:
        """Close the connection; no further method of ``LinkUser`` is called."""


class LinkUser(Protocol):
    """The user of a connection."""

    def connected(self) -> None:
        """The connection is established."""

    def failed(self, text: str) -> None:
        """The connection can't be established."""

    def received(self, data: bytes) -> None:
        """Data, or one datagram, has been received."""

    def written(self) -> None:
        """The data of one ``write`` has been sent."""

    def ended(self) -> None:
        """The remote side has closed the connection, or it has failed."""


class Links(Protocol):
    """Makes connections to ports."""

    def open(self, host: str, port: int, user: LinkUser, *, is_datagram: bool) -> Link:
        """Begin to connect.

        Raises:
            RefusedError: too many connections are being established.
        """


class Handler(Protocol):
    """One protocol in one session."""

    def receive(self, message: Message) -> None:
        """Handle a message from the user."""

    def close(self) -> None:
        """End everything in progress."""

    def resume(self) -> None:
        """More messages can be sent again."""
