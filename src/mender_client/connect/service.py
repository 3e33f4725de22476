"""Maintains the connection to the server and the sessions that use it.

After a connection is lost, the client reconnects after a short random pause, so that a fleet doesn't reconnect all at
once, and then after increasing pauses. Terminals survive the interruption. Connecting resolves names, runs scripts and
waits for the server, so each attempt runs in its own thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache

from mender_client import TYPE_CHECKING
from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, decode, encode
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, Interrupted, MenderError, NotAcceptedError, ServerError

from .loop import Background, Call, Callback, Loop
from .protocol.ports import Handler
from .protocol.reconnect import Reconnect
from .protocol.sessions import MakeHandler, Sessions
from .protocol.terminal import Terminals
from .settings import ConnectSettings
from .shells import PtyShells, ShellSettings
from .websocket import WebSocket

if TYPE_CHECKING:
    import socket

_logger = logging.getLogger(__name__)

PING_SECONDS = 45.0
"""The server closes a connection without a ping or pong for 60 s, regardless of other messages."""
PONG_SECONDS = 15.0
MOST_TOLD = 20
"""The number of malformed messages that are logged per connection."""
_PAYLOAD = b"60"
_GOODBYE_SECONDS = 0.5
_SETTLE_SECONDS = 5.0
"""How long to wait for killed processes, and for a program run by the authentication, to end."""


@dataclass(frozen=True)
class Opened:
    """A websocket that has just been opened.

    Attributes:
        sock: the connected, non-blocking socket.
        early: the data that arrived after the handshake.
        server_url: the address of the server.
    """

    sock: socket.socket
    early: bytes
    server_url: str


class ConnectService:
    """The device connect service of one device.

    Args:
        open_websocket: authenticates and connects; called in a thread. Raises MenderError, or Interrupted if the
            program is to stop.
        settings: what is allowed.
        wake: as for ``ClientSession``.
        name: the name of this device, as for ``PtyShells``.
        language: the locale variables, for shells.
        longest_pause_seconds: the longest pause between two attempts to connect.
        random: as for ``Reconnect``.
        told: called with a text about the state of the connection.
    """

    def __init__(
        self,
        open_websocket: Callable[[], Opened],
        settings: ConnectSettings,
        wake: Callable[[str], None],
        name: str,
        language: Mapping[str, str],
        longest_pause_seconds: float,
        random: Callable[[], float],
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.loop = Loop()
        self._open = open_websocket
        self._socket: WebSocket | None = None
        self._random = random
        self._wake = wake
        self._told = told
        self._is_stopping = False
        self._connector = Background(self.loop, most=1)
        self._background = Background(self.loop)
        self._ping: Call | None = None
        self._connected_at = 0.0
        self._garbage = 0
        self._said = ""
        self._retry: Call | None = None
        self._waiting: list[Callback] = []
        self._shells = PtyShells(self.loop, name, language, lambda: self._connector.is_full)
        self._terminals = Terminals(self._send, self.loop, self._shells, self._is_congested)
        self._sessions = Sessions(self._send, self.loop, self._terminals)
        self._take(settings, longest_pause_seconds)

    def _take(self, settings: ConnectSettings, longest_pause_seconds: float) -> None:
        self._reconnect = Reconnect(longest_pause_seconds, self._random)
        self._shells.settings = ShellSettings(settings.shell_command, settings.shell_arguments, settings.user)
        self._terminals.limits = settings.terminals
        self._sessions.makers = self._makers(settings)

    def _makers(self, settings: ConnectSettings) -> dict[int, MakeHandler]:
        """The factories of the protocol handlers. Their modules are imported for the first session, to save memory."""
        files, ports = cache(lambda: self._file_sessions(settings)), cache(self._port_sessions)
        makers: dict[int, MakeHandler] = {
            Protocol.FILES: lambda sid: files()(sid),
            Protocol.PORTS: lambda sid: ports()(sid),
            Protocol.CLIENT: self._client_session,
        }
        return {proto: make for proto, make in makers.items() if proto not in settings.disabled}

    def _file_sessions(self, settings: ConnectSettings) -> MakeHandler:
        from .files import DeviceFiles
        from .protocol.meter import Meter
        from .protocol.transfer import FileSession

        files = DeviceFiles(settings.files, self._background)
        meters = Meter(self.loop, settings.sent_per_minute), Meter(self.loop, settings.received_per_minute)
        return lambda sid: FileSession(sid, self._send, self.loop, files, *meters, self._is_congested)

    def _port_sessions(self) -> MakeHandler:
        from .links import SocketLinks
        from .protocol.forward import PortSession, PortUse

        links, use = SocketLinks(self.loop, self._background), PortUse()
        return lambda sid: PortSession(sid, self._send, self.loop, links, use)

    def _client_session(self, sid: str) -> Handler:
        from .protocol.client import ClientSession

        return ClientSession(sid, self._send, self._wake)

    # -- called by the program --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Maintain the connection until ``stop`` is called."""
        try:
            self._shells.end_left()
            self._connect()
            self.loop.run(lambda: self._is_stopping)
        finally:
            self._say_goodbye()
            self.loop.close()

    def stop(self) -> None:
        """Make ``run`` return soon; safe in a signal handler."""
        self._is_stopping = True
        self.loop.wake()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def call_when_settled(self, callback: Callback) -> None:
        """Call soon, but not while the websocket is being opened; safe in a signal handler."""
        self.loop.post(lambda: self._waiting.append(callback) if self._connector.is_full else callback())

    def renew(self, settings: ConnectSettings, longest_pause_seconds: float) -> None:
        """Apply new settings and reconnect; must not be called while the websocket is being opened.

        File transfers and port forwarding end. Terminals keep running, unless they are now disabled or the shell or its
        user has changed.
        """
        before = self._shells.settings
        self._take(settings, longest_pause_seconds)
        if settings.terminals.is_disabled or self._shells.settings != before:
            self._terminals.end_all("the configuration has changed")
        if self._retry is not None:
            self._retry.cancel()
        if self._socket is not None:
            self._socket.close(1001)
            self._lose()
        self._connect()

    def child_ended(self) -> None:
        """Note that a child process has ended; safe in a signal handler."""
        self.loop.post(self._shells.reap)

    # -- the connection ---------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._retry = None
        if not self._is_stopping:
            self._connector.run(self._try_to_open)

    def _try_to_open(self) -> Callback:
        """Open the websocket, in a thread; returns the callback for the loop."""
        try:
            opened = self._open()
        except Interrupted:
            return lambda: self._settled(lambda: None)
        except MenderError as error:
            failure = error
            return lambda: self._settled(lambda: self._failed(failure))
        return lambda: self._settled(lambda: self._opened(opened))

    def _settled(self, then: Callback) -> None:
        """The connecting thread has ended, and so have the programs that it ran."""
        self._shells.reap()
        then()
        while self._waiting and not self._connector.is_full:
            self._waiting.pop(0)()

    def _failed(self, error: MenderError) -> None:
        self._report(error)
        self._told(f"not connected: {error.text}")
        wanted = error.retry_after_seconds if isinstance(error, ServerError) else None
        self._retry = self.loop.call_later(self._reconnect.after_failure(wanted), self._connect)

    def _opened(self, opened: Opened) -> None:
        self._said = ""
        self._garbage = 0
        self._connected_at = self.loop.now()
        self._socket = WebSocket(self.loop, opened.sock, opened.early, self._received, self._resumed, self._closed)
        self._ping = self.loop.call_later(PING_SECONDS, self._keep_alive)
        self._terminals.connected(True)
        _logger.info("connected to %s", opened.server_url)
        self._told(f"connected to {opened.server_url}")

    def _report(self, error: MenderError) -> None:
        """Log why there is no connection, unless the reason is unchanged."""
        text = str(error)
        if text != self._said and not isinstance(error, NotAcceptedError):  # the authentication has logged it
            self._said = text
            _logger.warning("%s", error)

    def _lose(self) -> None:
        self._socket = None
        if self._ping is not None:
            self._ping.cancel()
        self._sessions.close()
        self._terminals.connected(False)

    def _closed(self, reason: str) -> None:
        self._lose()
        reason = printable(reason[:300])
        _logger.info("connection lost: %s", reason)
        self._told(f"connection lost: {reason}")
        pause = self._reconnect.after_loss(self.loop.now() - self._connected_at)
        self._retry = self.loop.call_later(pause, self._connect)

    def _keep_alive(self) -> None:
        if self._socket is not None:
            self._socket.ping(_PAYLOAD)
            asked_at = self.loop.now()
            self._ping = self.loop.call_later(PONG_SECONDS, lambda: self._expect_pong(asked_at))

    def _expect_pong(self, asked_at: float) -> None:
        if self._socket is not None and self._socket.heard_at < asked_at:
            self._socket.close()
            self._closed("the server is silent")
        else:
            self._ping = self.loop.call_later(PING_SECONDS - PONG_SECONDS, self._keep_alive)

    def _received(self, data: bytes) -> None:
        try:
            message = decode(data)
        except ValueError as error:
            self._tell_of_garbage(str(error))
            return
        try:
            self._sessions.receive(message)
        except Exception:  # a bug here must not end the other terminals
            text = f"cannot handle a message of session {printable(message.sid[:40])}: internal error"
            _logger.exception("%s", Diagnostic("CON14", text, "report this as a bug, with the traceback that follows"))
            self._sessions.fail(message)

    def _tell_of_garbage(self, reason: str) -> None:
        self._garbage += 1
        if self._garbage <= MOST_TOLD:
            rest = "" if self._garbage < MOST_TOLD else "; further ones are not logged until the next connection"
            _logger.warning("cannot understand a message from the server: %s%s", printable(reason), rest)

    def _resumed(self) -> None:
        self._sessions.resume()

    def _send(self, message: Message) -> None:
        if self._socket is not None:
            self._socket.send(encode(message))

    def _is_congested(self) -> bool:
        return self._socket is not None and self._socket.is_congested

    def _say_goodbye(self) -> None:
        self._sessions.close()
        self._terminals.end_all("the program ends")
        self.loop.run_for(_GOODBYE_SECONDS, lambda: self._shells.is_idle)
        self._shells.kill()
        self.loop.run_for(_SETTLE_SECONDS, lambda: self._shells.is_idle and not self._connector.is_full)
        if self._socket is not None:
            self._socket.close(1001)
        _logger.info("stopped")
