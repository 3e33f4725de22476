"""What happened: every request, and a feed of events for people.

Requests are for tests that count (connections, bytes, polls); events are for a timeline. Both are kept in memory,
the newest few thousand of each.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

KEPT = 20_000
"""How many requests and events are remembered."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line in a timeline.

    Args:
        number: counts up from 1.
        time: by the server's clock.
        name: what happened: ``device-pending``, ``device-accepted``, ``device-rejected``,
            ``device-preauthorized``, ``device-decommissioned``, ``token``, ``inventory``, ``artifact``,
            ``artifact-deleted``, ``deployment``, ``offered``, ``download``, ``download-end``, ``status``, ``log``,
            ``aborted`` or ``fault``.
        data: the particulars; always JSON values.
    """

    number: int
    time: datetime
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Exchange:
    """One request of a device and what became of it; those of the management aren't recorded.

    Args:
        number: counts up from 1.
        time: when the request was read, by the server's clock.
        connection: the number of the TCP connection that it came on.
        method: the HTTP method.
        path: without the query, which may hold a signature.
        kind: ``auth``, ``inventory``, ``next``, ``status``, ``log``, ``artifact`` or ``other``.
        headers: of the request, names in lower case, without the secrets.
        device_id: whose good token it carried, or whom its link names; else empty.
        status: of the reply; 0 when the connection was cut instead.
        bytes_received: length of the request's body.
        bytes_sent: body bytes of the reply so far.
        fault: whether a fault was at work.
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


class Record:
    """Collects exchanges and events; hands out copies.

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
        """Note a request that has just been read; the caller fills in the rest as it goes along."""
        shown = {name: value for name, value in headers.items() if name not in ("authorization", "cookie")}
        number = next(self._exchange_numbers)
        exchange = Exchange(number, self._now(), connection, method, path, kind, shown)
        self._exchanges.append(exchange)
        return exchange

    def emit(self, name: str, **data: Any) -> None:
        """Note an event and tell everybody who listens."""
        event = Event(next(self._event_numbers), self._now(), name, data)
        self._events.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener`` for every event to come; the function returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def exchanges(self) -> list[Exchange]:
        """Copies of the exchanges, the oldest first."""
        return [replace(exchange) for exchange in tuple(self._exchanges)]

    def events(self, after: int = 0) -> list[Event]:
        """The events with a number above ``after``, the oldest first."""
        return [event for event in tuple(self._events) if event.number > after]

    def clear(self) -> None:
        """Forget the exchanges, for a test that counts from here on."""
        self._exchanges.clear()
