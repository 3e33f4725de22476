"""``mender-devserver terminal``: opens a terminal on a device in the local terminal.

If standard input is not a terminal, its content is sent as keyboard input, followed by Ctrl-D at its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import time
import tty
from contextlib import suppress
from typing import Any

from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, ShellStatus
from mender_client.errors import MenderError, NetworkError, ServerError
from mender_devserver.contact import Contact
from mender_devserver.remote import RemoteSession, refused_terminal

ESCAPE = b"\x1d"
"""Ctrl-], the escape character, as in telnet."""
_END_OF_INPUT = b"\x04"
_PIECE_BYTES = 4096
"""The maximum number of bytes of input in a message; some devices don't accept larger messages."""
_UNREAD_BYTES = 8 * _PIECE_BYTES
"""The number of bytes of input after which the device is asked to confirm; input sent too fast would be lost."""
_END_SECONDS = 1.0
_ASK_SECONDS = 20.0
_SILENT_SECONDS = 60.0
_SILENT = "it has not answered for a minute; see its log"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_terminal(contact: Contact, device_id: str) -> None:
    """Open a terminal, and return when its shell has ended or the user has left it.

    Raises:
        ServerError: the device isn't connected, or refuses the terminal, or ends it.
        NetworkError: the connection to the server is lost.
        MenderError: the command was stopped by a signal.
    """
    saved = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        asyncio.run(Terminal(contact, device_id, is_raw=saved is not None).run())
    finally:
        if saved is not None:
            with suppress(termios.error):  # the terminal was closed
                termios.tcsetattr(0, termios.TCSADRAIN, saved)


class Terminal:
    """A terminal over a session.

    Args:
        contact: the server.
        device_id: the device.
        is_raw: whether standard input is a terminal.
    """

    def __init__(self, contact: Contact, device_id: str, *, is_raw: bool) -> None:
        self._contact = contact
        self._device_id = device_id
        self._is_raw = is_raw
        self._session: RemoteSession
        self._end: asyncio.Future[MenderError | None]
        self._heard_at = 0.0
        self._may_type = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Open the terminal, and run it until its end."""
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        self._session = await RemoteSession.open(self._contact, self._device_id)
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._finish, _stopped_by(number))
        try:
            opening = asyncio.create_task(self._open())
            opening.add_done_callback(self._note_failure)
            either: set[asyncio.Future[Any]] = {opening, self._end}
            await asyncio.wait(either, timeout=_SILENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                opening.cancel()
                self._finish(ServerError(f"cannot open a terminal on device {self._device_id}: {_SILENT}", status=408))
            await self._go_on(loop)
        finally:
            await self._session.close()

    async def _open(self) -> None:
        width, height = _size()
        await self._send("new", terminal_width=width, terminal_height=height)
        while True:
            message = await self._session.receive()
            if message is None:
                raise _lost()
            if message.proto == Protocol.SHELL:
                break
        if message.props.get("status") != ShellStatus.NORMAL:
            raise refused_terminal(self._device_id, message)

    async def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_raw and not self._end.done():
            tty.setraw(0, termios.TCSADRAIN)  # keeps input that was typed early
            _say(f"connected to device {self._device_id}; Ctrl-] leaves\r\n")
            loop.add_signal_handler(signal.SIGWINCH, self._resize)
        self._heard_at = time.monotonic()
        works = [asyncio.create_task(work()) for work in (self._listen, self._type, self._watch)]
        for work in works:
            work.add_done_callback(self._note_failure)
        try:
            error = await self._end
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
        if error is not None:
            raise error

    def _finish(self, error: MenderError | None) -> None:
        if not self._end.done():
            self._end.set_result(error)

    def _note_failure(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None and not self._end.done():
            self._end.set_exception(error)

    async def _send(self, typ: str, body: bytes | None = None, **props: Any) -> None:
        await self._session.send(Message(Protocol.SHELL, typ, "", props, body))

    # the device

    async def _listen(self) -> None:
        while (message := await self._session.receive()) is not None:
            self._heard_at = time.monotonic()
            if message.proto == Protocol.SHELL:
                await self._take(message)
            elif message.proto == Protocol.CONTROL and message.typ == "ping":
                await self._session.send(Message(Protocol.CONTROL, "pong"))
            elif message.proto == Protocol.CONTROL and message.typ == "pong":
                self._may_type.set()
        self._finish(_lost())

    async def _take(self, message: Message) -> None:
        if message.typ == "ping":
            await self._send("pong")
        elif message.typ == "stop" or (message.typ == "shell" and message.props.get("status") == ShellStatus.ERROR):
            is_good = message.props.get("status") != ShellStatus.ERROR or _is_end_of_shell(message)
            reason = f"the terminal on device {self._device_id} has ended: {_text(message)}"
            self._finish(None if is_good else ServerError(reason, status=409))
        elif message.typ == "shell":
            _write(message.body or b"")

    async def _watch(self) -> None:
        """Detect a device that no longer answers, which the server doesn't report."""
        while True:
            await self._session.send(Message(Protocol.CONTROL, "ping"))
            await asyncio.sleep(_ASK_SECONDS)
            if (silent := time.monotonic() - self._heard_at) > _SILENT_SECONDS:
                end = "\r\n" if self._is_raw else "\n"
                _say(f"{end}the device has not answered for {silent:.0f} s{end}")

    # the user

    async def _type(self) -> None:
        """Send the user's input, one piece at a time."""
        unread = 0
        while piece := await _read():
            if self._is_raw and ESCAPE in piece:
                return self._finish(None)
            await self._send("shell", piece)
            unread += len(piece)
            if unread >= _UNREAD_BYTES:
                self._may_type.clear()
                await self._session.send(Message(Protocol.CONTROL, "ping"))
                await self._may_type.wait()
                unread = 0
        while True:  # a running program reads the first Ctrl-D, and the shell a later one
            await self._send("shell", _END_OF_INPUT)
            await asyncio.sleep(_END_SECONDS)

    def _resize(self) -> None:
        width, height = _size()
        sending = asyncio.create_task(self._send("resize", terminal_width=width, terminal_height=height))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)


async def _read() -> bytes:
    """Read the next piece of standard input; empty at its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(0, ready.set)
    except PermissionError:
        return os.read(0, _PIECE_BYTES)  # a regular file is always ready and can't be polled
    try:
        await ready.wait()
        return os.read(0, _PIECE_BYTES)
    except OSError:
        return b""  # the terminal was closed
    finally:
        loop.remove_reader(0)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _size() -> tuple[int, int]:
    """The columns and rows of the local terminal."""
    for number in (0, 1, 2):
        with suppress(OSError):
            return os.get_terminal_size(number)
    return 80, 24


def _text(message: Message) -> str:
    return printable((message.body or b"").decode("utf-8", "replace")) or "it gave no reason"


def _is_end_of_shell(message: Message) -> bool:
    """Whether the message is the error with which mender-connect reports that the shell has exited."""
    return (message.body or b"").endswith(b"input/output error")


def _lost() -> NetworkError:
    return NetworkError("cannot continue: the connection to the dev server is lost; is it still running?")


def _stopped_by(number: signal.Signals) -> MenderError:
    return MenderError(f"stopped by {number.name}")
