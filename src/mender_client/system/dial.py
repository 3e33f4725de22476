"""Connects to the first address of a host that answers (Happy Eyeballs, RFC 8305), and resolves names in bounded time.

A single thread races the addresses: it alternates between families and starts the next attempt when the previous one
has not been answered for a moment. Names are resolved in separate threads, because ``getaddrinfo`` can't be
interrupted.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass

from .connection import ConnectionGuard

if TYPE_CHECKING:
    from typing import Any

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, "tuple[Any, ...]"]
"""As returned by ``getaddrinfo``: family, kind, protocol, canonical name (empty), address."""
Resolve = Callable[[str, int], Sequence[Address]]
CheckAddress = Callable[[str], None]
"""Raises an error if connecting to an address is not allowed."""

STAGGER_SECONDS = 0.25
"""The delay before the next address is tried in parallel (RFC 8305, section 8)."""
_LONGEST_LABEL = 63
_MOST_REMEMBERED = 64


def resolve_by_system(host: str, port: int) -> Sequence[Address]:
    """The addresses of a host, in the system's order."""
    # bytes: for a str, Python loads the IDNA codec with its Unicode tables, half a megabyte
    return socket.getaddrinfo(host.encode("ascii"), port, 0, socket.SOCK_STREAM)


def accept_any(_: str) -> None:
    """Allow every address."""


class Dialer:
    """Makes connections, and remembers which address of a host answered if the first one didn't.

    Args:
        guard: limits the time, and ends waits.
        resolve: resolves a name.
    """

    def __init__(self, guard: ConnectionGuard, resolve: Resolve = resolve_by_system) -> None:
        self._guard = guard
        self._ask = resolve
        self._lookups: dict[tuple[str, int], _Lookup] = {}
        self._answered: dict[tuple[str, int], Address] = {}
        self._distrusted: tuple[str, int, int] | None = None

    def dial(self, host: str, port: int, check_address: CheckAddress = accept_any) -> socket.socket:
        """Connect to the first address of a host that answers.

        Args:
            host: a name or an address, in ASCII.
            port: the port.
            check_address: called with every address before any connection is attempted; may raise.

        Raises:
            OSError: no address answers; the error of the first that failed.
        """
        found = self.resolve(host, port)
        for *_, address in found:
            check_address(str(address[0]))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        usual = found[0]
        if self._distrusted is not None and self._distrusted[:2] == (host, port):
            family, self._distrusted = self._distrusted[2], None
            found = sorted(found, key=lambda one: one[0] == family)
        ordered = in_turn(found, self._answered.pop((host, port), None))
        sock, address = _Race(ordered, self._guard).run()
        if address != usual:
            if len(self._answered) >= _MOST_REMEMBERED:
                self._answered.clear()
            self._answered[host, port] = address
        return sock

    def distrust(self, host: str, port: int, family: int) -> None:
        """Begin with another family the next time: with this one, connections are established but data is lost."""
        self._answered.pop((host, port), None)
        self._distrusted = (host, port, family)

    def resolve(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a host.

        Raises:
            OSError: it can't be resolved, or not in time.
        """
        if _is_numeric(host):
            return self._ask(host, port)
        if any(not 0 < len(label) <= _LONGEST_LABEL for label in host.rstrip(".").split(".")):
            raise socket.gaierror(socket.EAI_NONAME, "no host can have this name")
        lookup = self._lookups.pop((host, port), None)
        if lookup is None or lookup.is_done:
            lookup = _Lookup(lambda: self._ask(host, port))
        try:
            return lookup.wait(self._guard)
        finally:
            if not lookup.is_done:  # the next call waits for it, so that threads don't accumulate
                self._lookups[host, port] = lookup


def _is_numeric(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return ":" in host
    return True


def in_turn(found: Sequence[Address], first: Address | None) -> list[Address]:
    """The order in which to try addresses: alternating families, each in the given order, the last to answer first."""
    if first is not None:
        # the address itself if it is still one of them, else its family
        found = sorted(found, key=lambda one: (one != first, one[0] != first[0]))
    families: dict[int, deque[Address]] = {}
    for address in found:
        families.setdefault(address[0], deque()).append(address)
    ordered: list[Address] = []
    while len(ordered) < len(found):
        ordered += [queue.popleft() for queue in families.values() if queue]
    return ordered


class _Lookup:
    """A name lookup in a daemon thread, for which the process doesn't wait on exit."""

    def __init__(self, resolve: Callable[[], Sequence[Address]]) -> None:
        self._resolve = resolve
        self._found: Sequence[Address] = ()
        self._error: Exception | None = None
        self.is_done = False
        self._awaited = threading.Lock()  # a signal handler may release a lock, but not set an Event
        self._awaited.acquire()
        try:
            threading.Thread(target=self._run, name="resolver", daemon=True).start()
        except RuntimeError:  # no memory, or too many threads
            self._run()

    def _run(self) -> None:
        try:
            self._found = self._resolve()
        except (OSError, UnicodeError, MemoryError) as error:
            self._error = error
        self.is_done = True
        self.interrupt()

    def interrupt(self) -> None:
        """End the wait; safe in a signal handler."""
        with suppress(RuntimeError):  # nothing is waiting any more
            self._awaited.release()

    def wait(self, guard: ConnectionGuard) -> Sequence[Address]:
        """Wait for the addresses and return them.

        Raises:
            OSError: the name can't be resolved, or not in time.
            Interrupted: the client is to stop.
        """
        guard.add(self)
        with suppress(TimeoutError):
            self._awaited.acquire(timeout=guard.limit(guard.timeouts.total))
            guard.limit(0)
        if not self.is_done:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time")
        if self._error is not None:
            raise self._error
        return self._found


@dataclass(frozen=True)
class _Attempt:
    """A connection attempt, and when it times out."""

    sock: socket.socket
    address: Address
    ends_at: float


class _Race:
    """Connects to several addresses, each a moment after the previous one, until one answers."""

    def __init__(self, addresses: Sequence[Address], guard: ConnectionGuard) -> None:
        self._left = deque(addresses)
        self._guard = guard
        self._running: dict[int, _Attempt] = {}
        self._poll = select.poll()
        self._errors: list[OSError] = []

    def run(self) -> tuple[socket.socket, Address]:
        """The connection, which is non-blocking, and its address; raises the same errors as ``Dialer.dial``."""
        try:
            winner = self._run()
        finally:
            for attempt in self._running.values():
                attempt.sock.close()
        return winner.sock, winner.address

    def _run(self) -> _Attempt:
        next_at = 0.0
        while self._left or self._running:
            if self._left and (not self._running or time.monotonic() >= next_at):
                self._start(self._left.popleft())
                next_at = time.monotonic() + STAGGER_SECONDS
                continue
            for attempt in self._wait(next_at if self._left else None):
                code = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    return attempt
                self._fail(attempt.sock, OSError(code, os.strerror(code)))
                next_at = 0.0
            self._expire()
        raise self._errors[0]

    def _start(self, address: Address) -> None:
        family, kind, protocol, _, target = address
        limit = self._guard.limit(self._guard.timeouts.connect)
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            self._errors.append(error)
            return
        self._guard.add(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(target)
        if code in (0, errno.EINPROGRESS):
            self._poll.register(sock, select.POLLOUT)
            self._running[sock.fileno()] = _Attempt(sock, address, time.monotonic() + limit)
        else:
            self._fail(sock, OSError(code, os.strerror(code)))

    def _wait(self, until: float | None) -> list[_Attempt]:
        """Wait until an attempt ends, one times out, or the given time; returns the attempts that have ended."""
        ends = [attempt.ends_at for attempt in self._running.values()] + ([] if until is None else [until])
        seconds = max(0.0, min(ends) - time.monotonic())
        ready = self._poll.poll(self._guard.limit(seconds) * 1000)
        self._guard.limit(0)
        for descriptor, _ in ready:
            self._poll.unregister(descriptor)
        return [self._running.pop(descriptor) for descriptor, _ in ready]

    def _expire(self) -> None:
        now = time.monotonic()
        for descriptor, attempt in list(self._running.items()):
            if now >= attempt.ends_at:
                del self._running[descriptor]
                self._poll.unregister(descriptor)
                self._fail(attempt.sock, TimeoutError("no answer in time"))

    def _fail(self, sock: socket.socket, error: OSError) -> None:
        sock.close()
        self._errors.append(error)
