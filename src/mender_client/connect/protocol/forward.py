"""Port forwarding: connections from this device to ports, each with at most one unacknowledged message to the user."""

from __future__ import annotations

import logging
from collections import deque

from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, decode_body, number_of, text_of
from mender_client.core.wire.msgpack import pack
from mender_client.dataclass import dataclass

from .ports import Link, Links, RefusedError, Send, Timers

_logger = logging.getLogger(__name__)

IDLE_SECONDS = 600.0
"""A connection is closed if its remote side sends nothing for this long."""
MOST_CONNECTIONS = 64
MOST_CONNECTIONS_OF_ALL = 256
MOST_WAITING_BYTES = 1024 * 1024
MOST_WAITING_BYTES_OF_ALL = 8 * 1024 * 1024
MOST_WAITING_MESSAGES = 256
MOST_DATAGRAM_BYTES = 65507
LONGEST_NAME = 128
_INVALID = "invalid port-forward message: missing connection_id, remote_port or protocol"


class PortUse:
    """The total use by the connections of all sessions: their number and the bytes waiting in them."""

    def __init__(self) -> None:
        self.connections = 0
        self.waiting_bytes = 0


class PortSession:
    """The connections of one session.

    Args:
        sid: its id.
        send: sends a message.
        timers: the clock and timers.
        links: makes connections.
        use: counts the connections of all sessions.
    """

    def __init__(self, sid: str, send: Send, timers: Timers, links: Links, use: PortUse) -> None:
        self._sid = sid
        self._send = send
        self._links = links
        self.timers = timers
        self.use = use
        self._open: dict[str, _Connection] = {}

    def receive(self, message: Message) -> None:
        try:
            self._receive(message)
        except (RefusedError, ValueError) as error:
            self.refuse(text_of(message.props, "connection_id"), message.typ, str(error))

    def resume(self) -> None:
        """Do nothing: with at most one unacknowledged message per connection, none waits for room."""

    def close(self) -> None:
        for connection in list(self._open.values()):
            connection.close()
        self._open.clear()

    def refuse(self, name: str, typ: str, text: str) -> None:
        """Answer with an error."""
        _logger.info("port forwarding: %s", printable(text))
        self.send("error", name, pack({"err": text, "msgtype": typ}))

    def send(self, typ: str, name: str, body: bytes | None = None) -> None:
        """Send a message about a connection."""
        self._send(Message(Protocol.PORTS, typ, self._sid, {"connection_id": name} if name else {}, body))

    def forget(self, connection: _Connection) -> None:
        """Remove a closed connection."""
        if self._open.get(connection.name) is connection:
            del self._open[connection.name]

    def _receive(self, message: Message) -> None:
        name = text_of(message.props, "connection_id")
        if message.typ == "new":
            self._new(name, message)
            return
        if message.typ not in ("forward", "ack", "stop"):
            raise RefusedError("unknown message type")
        connection = self._open.get(name)
        if connection is None:
            raise RefusedError("unknown connection")
        if message.typ == "forward":
            connection.forward(message.body or b"")
        elif message.typ == "ack":
            connection.acknowledged()
        else:
            connection.close()
            self.forget(connection)
            self.send("stop", name)

    def _new(self, name: str, message: Message) -> None:
        body = decode_body(message)
        host, port, kind = text_of(body, "remote_host"), number_of(body, "remote_port"), text_of(body, "protocol")
        if not name or len(name) > LONGEST_NAME or not port or not 0 < port < 65536 or not kind:
            raise RefusedError(_INVALID)
        if kind not in ("tcp", "udp"):
            raise RefusedError(f"unknown protocol: {kind}")
        if (old := self._open.pop(name, None)) is not None:
            old.close()
        if len(self._open) >= MOST_CONNECTIONS or self.use.connections >= MOST_CONNECTIONS_OF_ALL:
            raise RefusedError("too many connections")
        host = host.removeprefix("[").removesuffix("]") or "localhost"
        user = text_of(message.props, "user_id")
        place = _Place(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", kind, user)
        connection = _Connection(self, name, place)
        self._open[name] = connection
        try:
            connection.link = self._links.open(host, port, connection, is_datagram=kind == "udp")
        except RefusedError:
            connection.close()
            self.forget(connection)
            raise


@dataclass(frozen=True)
class _Place:
    address: str
    kind: str
    user: str

    def __str__(self) -> str:
        return f"{self.kind} {printable(self.address)} for user {printable(self.user) or '(unknown)'}"


class _Connection:
    """One connection; data from the remote side waits here until the previous message is acknowledged."""

    link: Link

    def __init__(self, session: PortSession, name: str, place: _Place) -> None:
        self.name = name
        self._session = session
        self._place = place
        self._is_connected = False
        self._is_awaiting = False
        self._has_ended = False
        self._is_closed = False
        self._early: deque[bytes] = deque()
        self._unwritten: deque[int] = deque()  # the sizes of messages that the remote side has not taken
        self._waiting_bytes = 0
        session.use.connections += 1
        self._next: bytes | None = None
        self._heard_at = session.timers.now()
        self._timer = session.timers.call_later(IDLE_SECONDS, self._look)

    # -- the user ---------------------------------------------------------------------------------------------------

    def forward(self, data: bytes) -> None:
        """Send data from the user; it may arrive before the connection is established."""
        if self._place.kind == "udp" and len(data) > MOST_DATAGRAM_BYTES:
            self._session.refuse(self.name, "forward", "message too long")
            self._session.send("ack", self.name)
            return
        self._unwritten.append(len(data))
        self._count(len(data))
        is_too_much = (
            self._waiting_bytes > MOST_WAITING_BYTES
            or self._session.use.waiting_bytes > MOST_WAITING_BYTES_OF_ALL
            or len(self._unwritten) > MOST_WAITING_MESSAGES
        )
        if is_too_much:
            self.close()
            self._session.forget(self)
            self._session.refuse(self.name, "forward", "more bytes than the remote side takes")
            self._session.send("stop", self.name)
        elif self._is_connected:
            self._write(data)
        else:
            self._early.append(data)

    def acknowledged(self) -> None:
        """The user has acknowledged a message; unexpected acknowledgements are ignored."""
        if self._is_awaiting:
            self._is_awaiting = False
            self._pass_on()

    def close(self) -> None:
        self._release()
        if hasattr(self, "link"):
            self.link.close()

    # -- the remote side --------------------------------------------------------------------------------------------

    def connected(self) -> None:
        self._is_connected = True
        self._heard_at = self._session.timers.now()
        _logger.info("port forwarding: connected to %s", self._place)
        self._session.send("new", self.name)
        while self._early:
            self._write(self._early.popleft())
        self.link.read()

    def failed(self, text: str) -> None:
        self._release()
        self._session.forget(self)
        self._session.refuse(self.name, "new", text)
        self._session.send("stop", self.name)  # otherwise mender-cli would wait forever

    def received(self, data: bytes) -> None:
        self._heard_at = self._session.timers.now()
        self._next = data
        self._pass_on()

    def written(self) -> None:
        self._count(-self._unwritten.popleft())
        self._session.send("ack", self.name)

    def ended(self) -> None:
        self._has_ended = True
        self._pass_on()

    def _count(self, size: int) -> None:
        self._waiting_bytes += size
        self._session.use.waiting_bytes += size

    def _release(self) -> None:
        self._timer.cancel()
        if not self._is_closed:
            self._is_closed = True
            self._session.use.connections -= 1
            self._count(-self._waiting_bytes)

    def _write(self, data: bytes) -> None:
        if data or self._place.kind == "udp":
            self.link.write(data)
        else:
            self.written()

    def _pass_on(self) -> None:
        if self._next is not None and not self._is_awaiting:
            data, self._next, self._is_awaiting = self._next, None, True
            self._session.send("forward", self.name, data)
            if not self._has_ended and not self._is_closed:
                self.link.read()
        if self._has_ended and self._next is None and not self._is_closed:
            self.close()
            self._session.forget(self)
            self._session.send("stop", self.name)
            _logger.info("port forwarding: connection to %s closed by the remote side", self._place)

    def _look(self) -> None:
        left = self._heard_at + IDLE_SECONDS - self._session.timers.now()
        if left > 0:
            self._timer = self._session.timers.call_later(left, self._look)
        else:
            self._next = None
            self.ended()
