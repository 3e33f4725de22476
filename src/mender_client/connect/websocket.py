"""A non-blocking websocket over an established connection.

``wsproto`` parses the frames. No memory is allocated for a length that the peer announces, and a message that is too
long ends the connection.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType

from mender_client.core.wire.deviceconnect import MOST_MESSAGE_BYTES

from .loop import READ, WRITE, Loop


@contextmanager
def _frames_alone() -> Iterator[None]:
    """Import parts of ``wsproto`` without its handshake code, which isn't used here and takes 1 MiB."""
    spec = None if "wsproto" in sys.modules else PathFinder.find_spec("wsproto")
    if spec is None or spec.submodule_search_locations is None:
        yield
        return
    package = ModuleType("wsproto")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["wsproto"] = package
    try:
        yield
    finally:
        del sys.modules["wsproto"]


try:
    with _frames_alone():
        from wsproto.connection import Connection, ConnectionState, ConnectionType
        from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
        from wsproto.utilities import LocalProtocolError, RemoteProtocolError
except ImportError as error:  # the caller says what to install
    raise ModuleNotFoundError(str(error), name="wsproto") from error

HIGH_BYTES = 256 * 1024
"""If more than this is waiting to be sent, senders of data that can wait must pause."""
LOW_BYTES = 64 * 1024
_MOST_WAITING_BYTES = 4 * 1024 * 1024
"""If more than this is waiting, nothing is read either, since messages cause answers."""
_READ_BYTES = 16384
"""Not more, because even this may contain thousands of frames, which take time to handle."""
_TURN_SECONDS = 0.02
_TOO_BIG = 1009


class WebSocket:
    """One websocket connection.

    Args:
        loop: waits for I/O.
        sock: the connected, upgraded, non-blocking socket.
        early: the data that arrived after the response to the upgrade.
        received: called with each message.
        resumed: called when more can be sent, after ``is_congested`` was true.
        closed: called once, with the reason, when the connection is lost or closed by the server.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        early: bytes,
        received: Callable[[bytes], None],
        resumed: Callable[[], None],
        closed: Callable[[str], None],
    ) -> None:
        self.heard_at = loop.now()
        self.is_open = True
        self._loop = loop
        self._sock = sock
        self._received = received
        self._resumed = resumed
        self._closed = closed
        self._frames = Connection(ConnectionType.CLIENT, trailing_data=early)
        self._parts = bytearray()  # of an incomplete message; a bytearray, as any number of parts may be empty
        self._out: deque[memoryview] = deque()
        self._waiting = 0
        self._was_congested = False
        self._is_read_wanted_to_write = False
        loop.watch(sock, READ, self._ready)
        loop.post(self._early)

    @property
    def is_congested(self) -> bool:
        """Whether so much is waiting to be sent that senders should pause."""
        if self._waiting > HIGH_BYTES:
            self._was_congested = True
        return self._was_congested

    def send(self, data: bytes) -> None:
        """Send a message."""
        if self.is_open:
            self._write(self._frames.send(BytesMessage(data=data)))

    def ping(self, payload: bytes) -> None:
        """Send a ping."""
        if self.is_open:
            self._write(self._frames.send(Ping(payload=payload)))

    def close(self, code: int = 1000) -> None:
        """Send a close frame if that is possible without waiting, and close; ``closed`` isn't called."""
        if self.is_open:
            self._say_goodbye(code)
            self._end()

    def _say_goodbye(self, code: int) -> None:
        try:
            self._write(self._frames.send(CloseConnection(code=code)))
        except LocalProtocolError:
            return  # the server is already closing

    def _early(self) -> None:
        if self.is_open:
            self._handle_frames()
            if self.is_open:
                self._readable()  # TLS may have buffered data that polling doesn't show

    def _ready(self, events: int) -> None:
        if events & WRITE or self._is_read_wanted_to_write:
            self._flush()
        if events & READ and self.is_open:
            self._readable()

    def _readable(self) -> None:
        end = self._loop.now() + _TURN_SECONDS
        while self._loop.now() < end:
            if not self.is_open or self._waiting > _MOST_WAITING_BYTES:
                return
            try:
                data = self._sock.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._lose(error.strerror or str(error))
                return
            if not data:
                self._lose("the server has closed the connection")
                return
            self._take(data)
        if self.is_open:
            self._loop.post(self._readable)  # after others; TLS may have buffered data that polling doesn't show

    def _take(self, data: bytes) -> None:
        self.heard_at = self._loop.now()
        try:
            self._frames.receive_data(data)
        except (RemoteProtocolError, LocalProtocolError) as error:
            self._fail(1002, str(error))
            return
        self._handle_frames()

    def _handle_frames(self) -> None:
        try:
            for event in self._frames.events():
                if isinstance(event, (BytesMessage, TextMessage)):
                    self._part(event)
                elif isinstance(event, Ping):
                    self._write(self._frames.send(event.response()))
                elif isinstance(event, CloseConnection):
                    is_theirs = self._frames.state is ConnectionState.REMOTE_CLOSING
                    what = (
                        "the server has closed the connection" if is_theirs else "the server has violated the protocol"
                    )
                    reason = f"{what}: {event.code} {event.reason or ''}".rstrip()
                    self._write(self._frames.send(event.response()))
                    self._lose(reason)
                elif not isinstance(event, Pong):
                    self._fail(1002, "an unexpected frame")
                if not self.is_open:
                    return
        except (RemoteProtocolError, LocalProtocolError) as error:
            self._fail(1002, str(error))

    def _part(self, event: BytesMessage | TextMessage) -> None:
        part = event.data if isinstance(event, BytesMessage) else event.data.encode()
        if len(self._parts) + len(part) > MOST_MESSAGE_BYTES:
            self._fail(_TOO_BIG, f"the server has sent a message of more than {MOST_MESSAGE_BYTES} bytes")
            return
        self._parts += part
        if event.message_finished:
            message, self._parts = bytes(self._parts), bytearray()
            self._received(message)

    def _fail(self, code: int, reason: str) -> None:
        self._say_goodbye(code)
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        if self.is_open:
            self._end()
            self._closed(reason)

    def _end(self) -> None:
        self.is_open = False
        self._loop.watch(self._sock, 0, self._ready)
        self._sock.close()
        self._out.clear()

    def _write(self, data: bytes) -> None:
        self._out.append(memoryview(data))
        self._waiting += len(data)
        self._flush()

    def _flush(self) -> None:
        self._is_read_wanted_to_write = False
        try:
            while self._out:
                count = self._sock.send(self._out[0])
                self._waiting -= count
                if count == len(self._out[0]):
                    self._out.popleft()
                else:
                    self._out[0] = self._out[0][count:]
        except ssl.SSLWantReadError:
            self._is_read_wanted_to_write = True
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            reason = error.strerror or str(error)
            self._loop.post(lambda: self._lose(reason))  # not from within the caller's own call
            self._out.clear()
            self._waiting = 0
        if not self.is_open:
            return
        is_reading = self._waiting <= _MOST_WAITING_BYTES
        self._loop.watch(self._sock, (READ if is_reading else 0) | (WRITE if self._out else 0), self._ready)
        if self._was_congested and self._waiting < LOW_BYTES:
            self._was_congested = False
            self._loop.post(self._resumed)
