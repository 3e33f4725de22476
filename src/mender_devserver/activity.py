"""The activity log: every request of a device, and events for a timeline.

Tests use it to count requests, connections and bytes. It is kept in memory and limited to the newest ``KEPT`` entries
of each kind.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

KEPT = 20_000
"""The number of requests kept, and the number of events kept."""
KEPT_CHARACTERS = 4096
"""How many characters of a request's headers are kept, and of its path, since any client can send long ones."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Args:
        number: counted from 1.
        time: by the server's clock.
        name: the kind of event: ``device-pending``, ``device-accepted``, ``device-rejected``,
            ``device-preauthorized``, ``device-decommissioned``, ``device-connected``, ``device-disconnected``,
            ``token``, ``inventory``, ``configuration``, ``artifact``, ``artifact-deleted``, ``deployment``,
            ``offered``, ``download``, ``download-end``, ``status``, ``log``, ``aborted`` or ``fault``.
        data: details, as JSON values.
    """

    number: int
    time: datetime
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Exchange:
    """One request of a device and its reply; management requests are not logged.

    Args:
        number: counted from 1.
        time: when the request was read, by the server's clock.
        connection: the number of the TCP connection on which it arrived.
        method: the HTTP method.
        path: without the query, which can contain a signature.
        kind: ``auth``, ``inventory``, ``next``, ``status``, ``log``, ``configuration``, ``artifact`` or ``other``.
        headers: the request headers, with names in lower case and without secrets; headers beyond
            ``KEPT_CHARACTERS`` in total are omitted.
        device_id: the device that the token or link belongs to; empty if there is none.
        status: of the reply; 0 if the connection was closed instead.
        bytes_received: length of the request body.
        bytes_sent: bytes of the reply body so far.
        fault: whether a fault was injected.
    """

    number: int
    time: datetime
    connection: int
    method: str
    path: str
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)
    device_id: str = ""
    status: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    fault: bool = False


class ActivityLog:
    """Collects exchanges and events; returns copies.

    Args:
        now: the server's clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT)
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._exchange_numbers = itertools.count(1)
        self._event_numbers = itertools.count(1)
        self._listeners: list[Callable[[Event], None]] = []

    def open(self, connection: int, method: str, path: str, kind: str, headers: Mapping[str, str]) -> Exchange:
        """Log a request that has been read; the caller fills in the remaining fields later."""
        told = ((name, value) for name, value in headers.items() if name not in ("authorization", "cookie"))
        shown = {sys.intern(name): sys.intern(value) for name, value in told}  # most devices send the same headers
        sizes = itertools.accumulate(len(name) + len(value) for name, value in shown.items())
        kept = {name: shown[name] for name, size in zip(shown, sizes, strict=True) if size <= KEPT_CHARACTERS}
        number = next(self._exchange_numbers)
        exchange = Exchange(number, self._now(), connection, method, path[:KEPT_CHARACTERS], kind, kept)
        self._exchanges.append(exchange)
        return exchange

    def emit(self, name: str, **data: Any) -> None:
        """Log an event and pass it to the listeners."""
        event = Event(next(self._event_numbers), self._now(), name, data)
        self._events.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def forget(self, device_id: str) -> None:
        """Remove the events of a device."""
        others = (event for event in self._events if event.data.get("device_id") != device_id)
        self._events = deque(others, maxlen=KEPT)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener`` for each new event, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def exchanges(self) -> list[Exchange]:
        """Copies of the exchanges, oldest first."""
        return [replace(exchange) for exchange in tuple(self._exchanges)]

    def events(self, after: int = 0) -> list[Event]:
        """The events with a number above ``after``, oldest first."""
        newest_first = itertools.takewhile(lambda event: event.number > after, reversed(tuple(self._events)))
        return list(newest_first)[::-1]

    def clear(self) -> None:
        """Remove all exchanges, so that a test can count from this point."""
        self._exchanges.clear()
