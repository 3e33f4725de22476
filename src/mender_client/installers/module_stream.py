"""Feeds the payload's files to an update module through FIFOs, as the module asks for them.

The module opens ``stream-next`` and reads the name of the next FIFO, then reads the file from that FIFO. The client
never blocks in a system call for a module that may never read: it opens a FIFO only once it has a reader.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from enum import Enum
from pathlib import Path
from termios import FIONREAD

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    from mender_client.core.artifact import PayloadFile
else:
    Protocol = object

_SHORTEST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.1
_DRAIN_PAUSE_SECONDS = 0.02
_BUFFER_BYTES = 256 * 1024
_PIPE_BYTES = 1024 * 1024
_EXIT_SECONDS = 3.0
"""How long a module that has stopped reading may take to exit; its exit code tells why it stopped."""


class Call(Protocol):
    """A running update module; it is ended when the context is left."""

    @property
    def has_exited(self) -> bool:
        """Whether the module itself has exited."""

    def attend(self, seconds: float, descriptor: int = -1) -> bool:
        """Log its output for at most this time; return True if the descriptor is writable or has no reader.

        Raises:
            ScriptError: it has run for too long.
            Interrupted: the client was asked to stop.
        """


class Streams(Protocol):
    """The FIFOs in the tree. Every method raises StorageError."""

    next_stream: Path

    def add_stream(self, name: str) -> Path:
        """Create the FIFO of a file, and replace the open ``stream-next`` with a new one."""

    def remove_stream(self, name: str) -> None:
        """Remove the FIFO of a file."""

    def end_streams(self) -> None:
        """Remove ``stream-next``."""


class Taken(Enum):
    """How much of the payload a module has read."""

    NOTHING = "it never opened stream-next"
    PART = "it didn't read all files to the end"
    ALL = "it took all files and has been told that there are no more"


class _Descriptor:
    """An open descriptor, for ``closing``."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


def feed(call: Call, streams: Streams, files: Iterator[PayloadFile], *, with_sizes: bool) -> Taken:
    """Feed files to a module until it has read all of them, exits, or stops reading.

    Args:
        call: the module.
        streams: its FIFOs; ``stream-next`` already exists.
        files: the files to feed.
        with_sizes: whether the module is told the size of each file.

    Returns:
        How much it has read; it may still be running.

    Raises:
        StorageError: the FIFOs can't be created.
        ScriptError: the module has run for too long.
        Interrupted: the client was asked to stop.
        MenderError: whatever reading the files raises.
    """
    taken = Taken.NOTHING
    while (line := _open_when_read(call, streams.next_stream)) is not None:
        taken = Taken.PART
        with closing(line):
            file = next(files, None)
            if file is None:
                streams.end_streams()
                return Taken.ALL
            path = streams.add_stream(file.name)
            text = f"streams/{file.name} {file.size}\n" if with_sizes else f"streams/{file.name}\n"
            if not _write_all(call, line.number, memoryview(text.encode())):
                break
        if not _feed_file(call, path, file):
            break
        streams.remove_stream(file.name)
    _let_exit(call)
    return taken


def _open_when_read(call: Call, path: Path) -> _Descriptor | None:
    """Open a FIFO for writing as soon as it has a reader; return None if the module exits first."""
    pause = _SHORTEST_PAUSE_SECONDS
    while True:
        has_exited = call.has_exited
        try:
            return _Descriptor(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError as error:
            # the module may have removed it, in which case it will never have a reader
            if error.errno not in (errno.ENXIO, errno.ENOENT, errno.EINTR):
                raise
        if has_exited:
            return None
        call.attend(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _feed_file(call: Call, path: Path, file: PayloadFile) -> bool:
    """Feed one file; return False if the module didn't read all of it."""
    pipe = _open_when_read(call, path)
    if pipe is None:
        return False
    with closing(pipe):
        with suppress(OSError):  # it may exceed the limit of an unprivileged user
            fcntl.fcntl(pipe.number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while count := file.readinto(buffer):
            call.attend(0.0)
            if not _write_all(call, pipe.number, buffer[:count]):
                return False
        return _is_read_to_the_end(call, pipe.number)


def _write_all(call: Call, descriptor: int, data: memoryview) -> bool:
    """Write as the module reads; return False if it has stopped reading."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            if call.has_exited:
                return False
            call.attend(1.0, descriptor)
        except BrokenPipeError:
            return False
    return True


def _is_read_to_the_end(call: Call, descriptor: int) -> bool:
    """Wait until the pipe is empty; return False if the module stops reading before that."""
    poll = select.poll()
    poll.register(descriptor, 0)  # reports only that there is no reader any more
    pause = _SHORTEST_PAUSE_SECONDS
    while True:
        is_left = bool(poll.poll(0)) or call.has_exited
        if not int.from_bytes(fcntl.ioctl(descriptor, FIONREAD, bytes(4)), "little"):
            return True
        if is_left:
            return False
        call.attend(pause)
        pause = min(pause * 2, _DRAIN_PAUSE_SECONDS)


def _let_exit(call: Call) -> None:
    end = time.monotonic() + _EXIT_SECONDS
    while not call.has_exited and (left := end - time.monotonic()) > 0:
        call.attend(left)
