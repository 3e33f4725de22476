"""Requests to the client: ``check-update`` and ``send-inventory`` wake the daemon, without waiting for the outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, ShellStatus, text_of

from .ports import RefusedError, Send

_logger = logging.getLogger(__name__)

TYPES = ("check-update", "send-inventory")


class ClientSession:
    """The requests of one session.

    Args:
        sid: its id.
        send: sends a message.
        wake: makes the daemon carry out one of ``TYPES``, without waiting for it; raises RefusedError.
    """

    def __init__(self, sid: str, send: Send, wake: Callable[[str], None]) -> None:
        self._sid = sid
        self._send = send
        self._wake = wake

    def receive(self, message: Message) -> None:
        status, text = ShellStatus.NORMAL, ""
        try:
            if message.typ not in TYPES:
                raise RefusedError("unknown message type")
            self._wake(message.typ)
            who = printable(text_of(message.props, "user_id"))
            _logger.info("%s requested by %s", message.typ, f"user {who}" if who else "the server")
        except RefusedError as error:
            _logger.warning("%s not done: %s", printable(message.typ), printable(error.text))
            status, text = ShellStatus.ERROR, error.text
        body = text.encode() if text else None
        self._send(Message(Protocol.CLIENT, message.typ, self._sid, {"status": int(status)}, body))

    def resume(self) -> None:
        """Do nothing: no message is waiting."""

    def close(self) -> None:
        """Do nothing: no request is in progress."""
