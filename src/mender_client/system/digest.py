"""SHA-256 in parallel with the download: a second processor hashes while the first one receives."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from queue import SimpleQueue

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from mender_client.core.artifact import Digest, NewDigest

_SLOT_BYTES = 256 * 1024
_SLOTS = 4
_ENOUGH_BYTES = _SLOT_BYTES * 3 // 4


class BackgroundSha256:
    """A SHA-256 that is computed in another thread; see ``core.artifact.Digest``.

    The threads exchange a few buffers: the caller fills a buffer, and the thread hashes it and returns it. hashlib
    releases the GIL while it hashes. The thread ends when this object is garbage-collected.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        for _ in range(_SLOTS - 1):
            self._free.put(memoryview(bytearray(_SLOT_BYTES)))
        self._slot = memoryview(bytearray(_SLOT_BYTES))
        self._filled = 0
        self._thread = threading.Thread(target=_work, args=(self._hash, self._full, self._free), daemon=True)
        self._thread.start()
        weakref.finalize(self, self._full.put, None)

    def room(self) -> memoryview:
        return self._slot[self._filled :]

    def advance(self, count: int) -> None:
        self._filled += count
        if self._filled >= _ENOUGH_BYTES:
            self._full.put((self._slot, self._filled))
            self._slot = self._free.get()
            self._filled = 0

    def update(self, data: memoryview, /) -> None:
        while data:
            room = self.room()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.advance(count)
            data = data[count:]

    def hexdigest(self) -> str:
        self._full.put((self._slot, self._filled))
        self._full.put(None)
        self._thread.join()
        return self._hash.hexdigest()


def _work(
    digest: hashlib._Hash,
    full: SimpleQueue[tuple[memoryview, int] | None],
    free: SimpleQueue[memoryview],
) -> None:
    while (item := full.get()) is not None:
        slot, filled = item
        digest.update(slot[:filled])
        free.put(slot)


def choose_digest() -> NewDigest | None:
    """The background digest if there is a second processor for it, else None."""
    return _in_background if len(os.sched_getaffinity(0)) > 1 else None


def _in_background() -> Digest:
    try:
        return BackgroundSha256()
    except RuntimeError:  # no memory for another thread
        from mender_client.core.artifact.reader import PlainDigest

        return PlainDigest()
