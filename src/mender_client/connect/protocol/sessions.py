"""Sessions and their control messages: handshake, dispatch to protocols, and timeouts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, decode_body, text_of
from mender_client.core.wire.msgpack import pack

from .ports import Handler, Send, Timers
from .terminal import Terminals

if TYPE_CHECKING:
    from typing import Any

_logger = logging.getLogger(__name__)

VERSION = 1
SILENT_SECONDS = 48.0
"""After this long without a message, the other side is pinged."""
ANSWER_SECONDS = 12.0
MOST_SESSIONS = 256

MakeHandler = Callable[[str], Handler]
"""Makes the handler of a protocol for the session with this id."""


class Sessions:
    """Passes each message to the handler of its session and protocol. Any message with a new id opens a session.

    Messages about terminals don't: terminals have their own limits and timeouts, and remain usable when others have
    opened the maximum number of sessions.

    Args:
        send: sends a message.
        timers: the clock and timers.
        terminals: the terminals, which outlive sessions.
    """

    makers: Mapping[int, MakeHandler]
    """The factories of the handlers for the enabled protocols other than terminals."""

    def __init__(self, send: Send, timers: Timers, terminals: Terminals) -> None:
        self._send = send
        self._timers = timers
        self._terminals = terminals
        self._open: dict[str, _Session] = {}

    def receive(self, message: Message) -> None:
        """Handle a message from the server or a user."""
        session = self._open.get(message.sid)
        if message.proto == Protocol.SHELL:
            if session is not None:
                session.heard()
            self._terminals.receive(message)
            return
        if session is None:
            if len(self._open) >= MOST_SESSIONS:
                self._refuse(message, "too many sessions", is_closing=True)
                return
            session = self._open[message.sid] = _Session(message.sid, self)
        session.heard()
        if message.proto == Protocol.CONTROL:
            self._control(session, message)
        elif (handler := self._handler(session, message.proto)) is not None:
            handler.receive(message)
        else:
            self._refuse(message, f"no handler registered for protocol: 0x{message.proto & 0xFFFF:04X}")

    def resume(self) -> None:
        """Continue transfers, now that more messages can be sent."""
        for handler in list(self._handlers()):
            handler.resume()

    def close(self) -> None:
        """End all sessions after a lost connection, as messages may be lost. Terminals keep running."""
        for sid in list(self._open):
            self.drop(sid)

    def fail(self, message: Message) -> None:
        """End the session of a message that could not be handled."""
        self._refuse(message, "internal error", is_closing=True)
        self.drop(message.sid)

    def drop(self, sid: str) -> None:
        """Remove a session, and end its transfers and connections."""
        if (session := self._open.pop(sid, None)) is not None:
            session.close()

    def send_control(self, sid: str, typ: str, body: Mapping[str, Any] | None = None) -> None:
        """Send a control message."""
        self._send(Message(Protocol.CONTROL, typ, sid, body=None if body is None else pack(body)))

    def has_shell(self, sid: str) -> bool:
        """Whether a shell runs in this session."""
        return self._terminals.has_shell(sid)

    @property
    def timers(self) -> Timers:
        return self._timers

    def _handlers(self) -> Iterator[Handler]:
        for session in self._open.values():
            yield from session.handlers.values()

    def _handler(self, session: _Session, proto: int) -> Handler | None:
        if proto not in session.handlers and (make := self.makers.get(proto)) is not None:
            session.handlers[proto] = make(session.sid)
        return session.handlers.get(proto)

    def _control(self, session: _Session, message: Message) -> None:
        if message.typ == "ping":
            self.send_control(message.sid, "pong")
        elif message.typ == "open":
            self._opened(message)
        elif message.typ == "accept":
            self._accepted(message)
        elif message.typ == "close":
            self.drop(session.sid)
        elif message.typ == "error":
            self._failed(session, message)
        elif message.typ != "pong":
            self._refuse(message, f"session: control type message not understood: '{message.typ}'")

    def _opened(self, message: Message) -> None:
        try:
            versions = decode_body(message).get("versions")
            if not isinstance(versions, list):
                raise ValueError("versions is not a list")
        except ValueError as error:
            self._refuse(message, f"failed to decode handshake request: {error}", is_closing=True)
            return
        if VERSION not in versions:
            self._refuse(message, f"handshake rejected: require version {VERSION}", is_closing=True)
            return
        shell = () if self._terminals.limits.is_disabled else (int(Protocol.SHELL),)
        protocols = sorted((*shell, *self.makers))
        self.send_control(message.sid, "accept", {"version": VERSION, "protocols": protocols})

    def _accepted(self, message: Message) -> None:
        try:
            version = decode_body(message).get("version")
        except ValueError:
            version = None
        if version != VERSION:
            text = f"unsupported protocol version {version}: require version {VERSION}"
            self._refuse(message, text, is_closing=True)

    def _failed(self, session: _Session, message: Message) -> None:
        try:
            body = decode_body(message)
        except ValueError:
            body = {}
        _logger.info("session %s: the remote side reports: %s", session.name, printable(text_of(body, "err")[:200]))
        if body.get("close") is True:
            self.drop(session.sid)

    def _refuse(self, message: Message, text: str, *, is_closing: bool = False) -> None:
        body: dict[str, Any] = {"err": text, "close": is_closing}
        for name, value in (("msgproto", message.proto), ("msgtype", message.typ)):
            if value:
                body[name] = value
        if identifier := text_of(message.props, "msgid"):
            body["msgid"] = identifier
        self.send_control(message.sid, "error", body)


class _Session:
    def __init__(self, sid: str, sessions: Sessions) -> None:
        self.sid = sid
        self.name = printable(sid[:40]) or "(none)"
        self.handlers: dict[int, Handler] = {}
        self._sessions = sessions
        self._heard_at = sessions.timers.now()
        self._is_asked = False
        self._timer = sessions.timers.call_later(SILENT_SECONDS, self._look)

    def heard(self) -> None:
        self._heard_at = self._sessions.timers.now()
        if self._is_asked:
            self._is_asked = False
            self._timer.cancel()
            self._timer = self._sessions.timers.call_later(SILENT_SECONDS, self._look)

    def close(self) -> None:
        self._timer.cancel()
        for handler in self.handlers.values():
            handler.close()

    def _look(self) -> None:
        left = self._heard_at + SILENT_SECONDS - self._sessions.timers.now()
        if left > 0:
            self._timer = self._sessions.timers.call_later(left, self._look)
        elif self._sessions.has_shell(self.sid) or not self.sid:
            self._sessions.drop(self.sid)  # a terminal sends its own pings; a session without an id can't be pinged
        elif not self._is_asked:
            self._is_asked = True
            self._sessions.send_control(self.sid, "ping")
            self._timer = self._sessions.timers.call_later(ANSWER_SECONDS, self._look)
        else:
            self._sessions.send_control(self.sid, "error", {"err": "session timeout", "close": True})
            self._sessions.drop(self.sid)
