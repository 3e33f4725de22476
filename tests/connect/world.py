"""A device in memory for the protocols: time, shells and connections are controlled by the test; files are real."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mender_client.app.config.connect_keys import CONNECT_KEYS, ConnectConfig, build_connect
from mender_client.app.config.reader import Reader
from mender_client.app.connect import connect_settings
from mender_client.connect.files import DeviceFiles
from mender_client.connect.openfiles import open_nameless
from mender_client.connect.protocol.client import ClientSession
from mender_client.connect.protocol.forward import PortSession, PortUse
from mender_client.connect.protocol.meter import Meter
from mender_client.connect.protocol.ports import LinkUser, RefusedError, Screen
from mender_client.connect.protocol.sessions import Sessions
from mender_client.connect.protocol.terminal import Terminals
from mender_client.connect.protocol.transfer import FileSession
from mender_client.connect.settings import ConnectSettings
from mender_client.core.wire.deviceconnect import Message, Protocol


class FakeTimer:
    """A call that is scheduled for later."""

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeTimers:
    """A clock that only ``advance`` moves."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._due: list[FakeTimer] = []

    def now(self) -> float:
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self._now + seconds, callback)
        self._due.append(timer)
        return timer

    @property
    def waiting(self) -> int:
        """The number of calls that are scheduled."""
        return sum(one.callback is not None for one in self._due)

    def advance(self, seconds: float) -> None:
        """Advance the clock, and make the calls that become due."""
        end = self._now + seconds
        while True:
            self._due = [one for one in self._due if one.callback is not None]
            timer = min((one for one in self._due if one.at <= end), key=lambda one: one.at, default=None)
            if timer is None:
                break
            self._due.remove(timer)
            self._now = max(self._now, timer.at)
            assert timer.callback is not None
            timer.callback()
        self._now = end


class FakeShell:
    """A shell controlled by the test."""

    def __init__(self, screen: Screen, size: tuple[int, int]) -> None:
        self.screen = screen
        self.size = size
        self.typed = b""
        self.is_hung_up = False
        self.is_deaf = False
        self.is_slow_to_end = False

    def write(self, data: bytes) -> bool:
        self.typed += data
        return not self.is_deaf

    def resize(self, width: int, height: int) -> None:
        self.size = (width, height)

    def hang_up(self) -> None:
        self.is_hung_up = True
        if not self.is_slow_to_end:
            self.screen.ended()


class FakeShells:
    """Starts such shells, or refuses to if ``problem`` is set."""

    def __init__(self) -> None:
        self.started: list[FakeShell] = []
        self.problem = ""

    def start(self, width: int, height: int, screen: Screen) -> FakeShell:
        if self.problem:
            raise RefusedError(self.problem)
        shell = FakeShell(screen, (width, height))
        self.started.append(shell)
        return shell


class FakeLink:
    """A connection whose remote side is the test."""

    def __init__(self, user: LinkUser) -> None:
        self.user = user
        self.sent: list[bytes] = []
        self.is_wanted = False
        self.is_closed = False
        self.is_deaf = False
        self.incoming: list[bytes | None] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)
        if not self.is_deaf:
            self.user.written()

    def read(self) -> None:
        self.is_wanted = True
        self._give()

    def close(self) -> None:
        self.is_closed = True

    def say(self, *parts: bytes | None) -> None:
        """Send data from the remote side; None closes the connection."""
        self.incoming += parts
        self._give()

    def _give(self) -> None:
        while self.is_wanted and self.incoming and not self.is_closed:
            self.is_wanted = False
            part = self.incoming.pop(0)
            if part is None:
                self.user.ended()
            else:
                self.user.received(part)


class FakeLinks:
    """Opens such connections at once, and records them."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int, bool]] = []
        self.links: list[FakeLink] = []

    def open(self, host: str, port: int, user: LinkUser, *, is_datagram: bool) -> FakeLink:
        self.opened.append((host, port, is_datagram))
        link = FakeLink(user)
        self.links.append(link)
        return link


class Inline:
    """Runs disk work at once, or, with ``is_held``, when the test calls for it."""

    def __init__(self) -> None:
        self.is_held = False
        self.held: list[Callable[[], None]] = []

    def run(self, work: Callable[[], Callable[[], None]]) -> None:
        def both() -> None:
            work()()

        if self.is_held:
            self.held.append(both)
        else:
            both()


def config_of(**keys: Any) -> ConnectConfig:
    """The settings from a configuration file with these keys."""
    reader = Reader(CONNECT_KEYS)
    reader.take(Path("mender-connect.conf"), json.dumps({"User": pwd.getpwuid(os.geteuid()).pw_name, **keys}).encode())
    assert [] == reader.problems
    return build_connect(reader.values)


class World:
    """The protocols of a device.

    Args:
        keys: the content of ``mender-connect.conf``.
    """

    def __init__(self, **keys: Any) -> None:
        self.timers = FakeTimers()
        self.shells = FakeShells()
        self.links = FakeLinks()
        self.disk = Inline()
        self.open_nameless: Callable[[int], int | None] = open_nameless
        self.port_use = PortUse()
        self.sent: list[Message] = []
        self.woken: list[str] = []
        self.is_congested = False
        self.wake_problem = ""
        self.settings: ConnectSettings = connect_settings(config_of(**keys))
        self.terminals = Terminals(self.sent.append, self.timers, self.shells, lambda: self.is_congested)
        self.terminals.limits = self.settings.terminals
        self.sessions = Sessions(self.sent.append, self.timers, self.terminals)
        self.sessions.makers = self._handlers()

    def _handlers(self) -> dict[int, Any]:
        settings = self.settings
        files = DeviceFiles(settings.files, self.disk, lambda one: self.open_nameless(one))  # type: ignore[arg-type]  # it runs at once
        meters = Meter(self.timers, settings.sent_per_minute), Meter(self.timers, settings.received_per_minute)
        send, timers = self.sent.append, self.timers
        handlers = {
            Protocol.FILES: lambda sid: FileSession(sid, send, timers, files, *meters, lambda: self.is_congested),
            Protocol.PORTS: lambda sid: PortSession(sid, send, timers, self.links, self.port_use),
            Protocol.CLIENT: lambda sid: ClientSession(sid, send, self.wake),
        }
        return {int(proto): make for proto, make in handlers.items() if proto not in settings.disabled}

    def wake(self, what: str) -> None:
        """Record a request to the daemon, or refuse it."""
        if self.wake_problem:
            raise RefusedError(self.wake_problem)
        self.woken.append(what)

    def receive(self, message: Message) -> list[Message]:
        """Pass a message to the device; returns the messages that it sends in reply."""
        count = len(self.sent)
        self.sessions.receive(message)
        return self.sent[count:]

    def taken(self) -> list[Message]:
        """The messages sent since the last call."""
        sent, self.sent[:] = self.sent[:], []
        return sent
