"""Remote terminals: a shell for each session that requests one, until its user, a limit or the server ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, ShellStatus, number_of, text_of
from mender_client.dataclass import dataclass

from .pace import FRAME_BYTES, Pace
from .ports import RefusedError, Send, Shell, Shells, Timer, Timers

_logger = logging.getLogger(__name__)

MOST_SHELLS = 16
PING_SECONDS = 60.0
PONG_SECONDS = 65.0
GONE_SECONDS = 300.0
"""How long shells outlive the connection to the server."""
MOST_BYTES = 8 * 1024 * 1024 - 65536
"""The maximum output of one session; the server ends it after 8 MiB."""
_LARGEST_SIZE = 0xFFFF
_ASK_AGAIN_SECONDS = 0.05
_ASK_OFFLINE_SECONDS = 1.0


@dataclass(frozen=True)
class TerminalLimits:
    """The limits of terminals.

    Attributes:
        is_disabled: whether terminals are disabled.
        width, height: the default size, if the user requests none.
        per_user: the maximum number of shells per user.
        seconds: how long a shell may run; 0 for no limit.
        idle_seconds: how long a shell may run without input; 0 for no limit.
    """

    is_disabled: bool = False
    width: int = 80
    height: int = 40
    per_user: int = 1
    seconds: float = 0.0
    idle_seconds: float = 0.0


class Terminals:
    """The terminals of this device.

    Args:
        send: sends a message.
        timers: the clock and timers.
        shells: starts shells.
        is_congested: whether output must wait for a slow connection.
    """

    limits: TerminalLimits
    """The current limits."""

    def __init__(
        self,
        send: Send,
        timers: Timers,
        shells: Shells,
        is_congested: Callable[[], bool] = lambda: False,
    ) -> None:
        self.send = send
        self.timers = timers
        self.is_congested = is_congested
        self._shells = shells
        self._open: dict[str, Terminal] = {}
        self._gone: Timer | None = None

    def has_shell(self, sid: str) -> bool:
        """Whether a shell runs in this session."""
        return sid in self._open

    def __len__(self) -> int:
        return len(self._open)

    def receive(self, message: Message) -> None:
        """Handle a message from a user, or from the server on the user's behalf."""
        if not message.sid:
            _logger.warning("a message about a terminal names no session")  # an answer would end the connection
            return
        terminal = self._find(message)
        if self.limits.is_disabled or message.typ not in ("new", "shell", "resize", "stop", "pong"):
            self.answer(message, ShellStatus.ERROR, f"unknown message protocol and type: 1/{message.typ}")
        elif message.typ == "new":
            self._new(message)
        elif terminal is not None:
            terminal.receive(message)
        elif message.typ == "shell":
            self.answer(message, ShellStatus.ERROR, "session not found")
        elif message.typ == "stop":
            text = f"routeMessage: StopShellMessage: session not found for id {message.sid}"
            self.answer(message, ShellStatus.ERROR, text)

    def answer(self, message: Message, status: ShellStatus, text: str = "") -> None:
        """Answer a message with one of the same type."""
        self.send(
            Message(Protocol.SHELL, message.typ, message.sid, {"status": int(status)}, text.encode() if text else None)
        )

    def forget(self, terminal: Terminal) -> None:
        """Remove a terminal whose shell has ended."""
        if self._open.get(terminal.sid) is terminal:
            del self._open[terminal.sid]

    def end_all(self, why: str) -> None:
        """End every shell."""
        for terminal in list(self._open.values()):
            terminal.end(why)

    def connected(self, is_connected: bool) -> None:
        """The connection is established or lost; shells survive a short interruption, but not a long one."""
        if self._gone is not None:
            self._gone.cancel()
            self._gone = None
        if not is_connected:
            self._gone = self.timers.call_later(GONE_SECONDS, lambda: self.end_all("the connection is lost"))
        for terminal in self._open.values():
            terminal.connected(is_connected)

    def _find(self, message: Message) -> Terminal | None:
        """The terminal of a session, unless another user opened it."""
        terminal, user = self._open.get(message.sid), text_of(message.props, "user_id")
        return terminal if terminal is not None and (not user or user == terminal.user or not terminal.user) else None

    def _new(self, message: Message) -> None:
        width, height = _size(message) or (self.limits.width, self.limits.height)
        user = text_of(message.props, "user_id")
        try:
            self._check(message.sid, user)
            terminal = Terminal(self, message.sid, user, width, height, self._shells)
        except RefusedError as error:
            _logger.warning("terminal refused: user %s: %s", printable(user), printable(error.text))
            self.answer(message, ShellStatus.ERROR, error.text)
            return
        self._open[message.sid] = terminal
        self.answer(message, ShellStatus.NORMAL, "Shell started")

    def _check(self, sid: str, user: str) -> None:
        if sid in self._open:
            raise RefusedError("failed to start shell: shell is already running")
        if sum(one.user == user for one in self._open.values()) >= self.limits.per_user:
            raise RefusedError("user has too many open sessions")
        if len(self._open) >= MOST_SHELLS:
            raise RefusedError("too many shells spawned")


class Terminal:
    """One terminal, which is the screen of its shell.

    Raises:
        RefusedError: the shell can't be started.
    """

    def __init__(self, terminals: Terminals, sid: str, user: str, width: int, height: int, shells: Shells) -> None:
        self.sid = sid
        self.user = user
        self._all = terminals
        self._timers = terminals.timers
        self._began = self._typed_at = self._heard_at = self._timers.now()
        self._pace = Pace(self._began)
        self._sent_bytes = 0
        self._is_over = False
        self._is_told = False
        self._is_connected = True
        self._shell: Shell = shells.start(width, height, self)
        self._pinger = self._timers.call_later(PING_SECONDS, self._ping)
        self._limiter: Timer | None = None
        self._limit()
        _logger.info("terminal %s opened by user %s", printable(sid[:40]), printable(user) or "(unknown)")

    # -- the user ---------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Handle a message from the user."""
        self._heard_at = self._timers.now()
        if message.typ == "stop":
            self._stop(message)
        elif message.typ == "shell" and not self._is_over:
            self._typed_at = self._heard_at
            self._pace.typed(self._heard_at)
            if message.body and not self._shell.write(message.body):
                self._say("shell", ShellStatus.ERROR, "input dropped: the program does not read it")
        elif message.typ == "resize" and (size := _size(message)) is not None:
            self._shell.resize(*size)

    def _stop(self, message: Message) -> None:
        self.end((message.body or b"").decode("utf-8", "replace")[:200] or "stopped by its user")

    # -- the shell --------------------------------------------------------------------------------------------------

    def room(self) -> tuple[int, float]:
        if self._is_over:
            return FRAME_BYTES, 0.0  # read and discarded, so that the programs can end
        if not self._is_connected:
            return 0, _ASK_OFFLINE_SECONDS
        if self._all.is_congested():
            return 0, _ASK_AGAIN_SECONDS
        wait = self._pace.wait_seconds(self._timers.now())
        return (0, wait) if wait > 0 else (FRAME_BYTES, 0.0)

    def output(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._sent_bytes + len(data) > MOST_BYTES:
            text = (
                f"\r\n[this session has shown {self._sent_bytes >> 20} MiB, and the server ends it; open a new one]\r\n"
            )
            self._say("shell", ShellStatus.NORMAL, text)
            self.end("the server's limit of a session is reached")
            return
        self._sent_bytes += len(data)
        self._pace.sent(len(data), self._timers.now())
        self._all.send(Message(Protocol.SHELL, "shell", self.sid, {"status": int(ShellStatus.NORMAL)}, data))

    def ended(self) -> None:
        self._pinger.cancel()
        if self._limiter is not None:
            self._limiter.cancel()
        self._all.forget(self)
        if not self._is_told:
            self._say("stop", ShellStatus.NORMAL)
        seconds = self._timers.now() - self._began
        _logger.info(
            "terminal %s of user %s closed after %.0f s, %d bytes shown",
            printable(self.sid[:40]), printable(self.user) or "(unknown)", seconds, self._sent_bytes,
        )  # fmt: skip

    def end(self, why: str) -> None:
        """End the shell."""
        if not self._is_over:
            self._is_over = True
            _logger.info("terminal %s is being closed: %s", printable(self.sid[:40]), printable(why))
            self._shell.hang_up()

    # -- limits -----------------------------------------------------------------------------------------------------

    def connected(self, is_connected: bool) -> None:
        """The connection is established or lost; no pings are sent while it is lost."""
        self._is_connected = is_connected
        self._pinger.cancel()
        if is_connected:
            self._pinger = self._timers.call_later(PING_SECONDS, self._ping)

    def _ping(self) -> None:
        asked_at = self._timers.now()
        props = {"timeout": int(PONG_SECONDS), "status": int(ShellStatus.CONTROL)}
        self._all.send(Message(Protocol.SHELL, "ping", self.sid, props))
        self._pinger = self._timers.call_later(PONG_SECONDS, lambda: self._expect_pong(asked_at))

    def _expect_pong(self, asked_at: float) -> None:
        if self._heard_at < asked_at:
            self._expire("no answer from the user's terminal")
        else:
            self._ping()

    def _limit(self) -> None:
        """End the shell if it has run or been idle for too long; otherwise schedule the next check."""
        limits, now = self._all.limits, self._timers.now()
        idle = (self._typed_at + limits.idle_seconds - now, "no input for too long")
        total = (self._began + limits.seconds - now, "it has run for too long")
        waits = [one for one, limit in ((idle, limits.idle_seconds), (total, limits.seconds)) if limit]
        if not waits:
            return
        left, why = min(waits)
        if left <= 0:
            self._expire(why)
        else:
            self._limiter = self._timers.call_later(left, self._limit)

    def _expire(self, why: str) -> None:
        if not self._is_over:
            self._is_told = True
            self._say("stop", ShellStatus.ERROR, f"session expired: {why}")
            self.end(why)

    def _say(self, typ: str, status: ShellStatus, text: str = "") -> None:
        body = text.encode() if text else None
        self._all.send(Message(Protocol.SHELL, typ, self.sid, {"status": int(status)}, body))


def _size(message: Message) -> tuple[int, int] | None:
    """The width and height that a message asks for; None if one of them is missing or invalid."""
    width, height = (number_of(message.props, f"terminal_{name}") or 0 for name in ("width", "height"))
    return (width, height) if 0 < width <= _LARGEST_SIZE and 0 < height <= _LARGEST_SIZE else None
