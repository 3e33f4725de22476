"""Passes bytes between two connections, in both directions, and throttles the faster side."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from mender_client.connect.loop import READ, WRITE, Loop

_MOST_WAITING_BYTES = 128 * 1024
_READ_BYTES = 16384
_ROUNDS = 16
_NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Stream:
    """One direction.

    Args:
        source: the connection from which its bytes are read.
        sink: the connection to which they are sent.
        waiting: bytes to send before them.
    """

    def __init__(self, source: socket.socket, sink: socket.socket, waiting: bytes) -> None:
        self.source = source
        self.sink = sink
        self.waiting = bytearray(waiting)
        self.first = b""
        self.is_at_end = False
        self.is_broken = False

    @property
    def is_reading(self) -> bool:
        return not (self.is_at_end or self.is_broken) and len(self.waiting) < _MOST_WAITING_BYTES

    @property
    def is_over(self) -> bool:
        return self.is_at_end and not self.waiting

    def move(self) -> bool:
        """Read and write once; return whether any bytes were moved."""
        return any((self._read(), self._write()))

    def _read(self) -> bool:
        if not self.is_reading:
            return False
        try:
            data = self.source.recv(_READ_BYTES)
        except _NOT_READY:
            return False
        except OSError:
            data = b""  # the bytes received before are still sent on
        self.first = self.first or data
        self.waiting += data
        self.is_at_end = not data
        return True

    def _write(self) -> bool:
        if not self.waiting:
            return False
        try:
            count = self.sink.send(self.waiting)
        except _NOT_READY:
            return False
        except OSError:
            self.is_broken = True
            self.waiting.clear()
            return False
        del self.waiting[:count]
        return bool(count)


class Relay:
    """Two non-blocking connections, joined until one of them ends.

    Args:
        loop: the event loop.
        near: the connection that was made to this program.
        far: the connection that this program made, with or without TLS.
        request: the bytes that are sent to the far side first.
        answered: called with the first bytes from the far side.
        ended: called when both are closed.
    """

    def __init__(
        self,
        loop: Loop,
        near: socket.socket,
        far: socket.socket,
        request: bytes,
        answered: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._near = near
        self._far = far
        self._out = _Stream(near, far, request)
        self._back = _Stream(far, near, b"")
        self._answered: Callable[[bytes], None] | None = answered
        self._ended = ended
        self._is_open = True
        loop.post(self._move)

    def close(self) -> None:
        """Close both connections, without calling ``ended``."""
        if self._is_open:
            self._is_open = False
            for sock in (self._near, self._far):
                self._loop.watch(sock, 0, self._ready)
                sock.close()

    def _ready(self, _: int) -> None:
        self._move()

    def _move(self) -> None:
        if not self._is_open:
            return
        is_moving = self._move_some()
        # not when only _out is broken: a server that reads no more may have sent an answer
        if self._out.is_over or self._back.is_over or self._back.is_broken:
            self._end()
            return
        self._watch(self._near, self._out, self._back)
        self._watch(self._far, self._back, self._out)
        if is_moving:
            self._loop.post(self._move)  # others first; TLS may have buffered bytes that no event announces

    def _move_some(self) -> bool:
        for _ in range(_ROUNDS):
            is_moving = self._out.move()
            is_moving |= self._back.move()
            if self._back.first and self._answered is not None:
                self._answered(self._back.first)
                self._answered = None
            if not is_moving:
                return False
        return True

    def _watch(self, sock: socket.socket, reading: _Stream, writing: _Stream) -> None:
        self._loop.watch(sock, (READ if reading.is_reading else 0) | (WRITE if writing.waiting else 0), self._ready)

    def _end(self) -> None:
        self.close()
        self._ended()
