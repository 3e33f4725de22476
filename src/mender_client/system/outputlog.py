"""Logs the output of a program line by line, up to a limit."""

from __future__ import annotations

import logging

from mender_client.core.text import printable

_logger = logging.getLogger(__name__)
_MOST_BYTES = 64 * 1024
"""The limit for one call, including the labels of the lines."""

_LONGEST_LINE_BYTES = 1000


class OutputLog:
    """The log of one call, shared by its streams.

    Args:
        title: the name of the call in the log.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._left = _MOST_BYTES

    def add(self, label: str, line: bytes, *, is_cut: bool) -> None:
        """Log a line; when the limit is reached, log a note instead of all further lines."""
        if self._left <= 0:
            return
        self._left -= len(label) + 2 + len(line)  # an empty line costs as much as its label
        text = line.decode("utf-8", "replace").rstrip("\r").expandtabs()
        _logger.info("%s: %s", label, printable(text + "…" * is_cut, limit=2 * _LONGEST_LINE_BYTES))
        if self._left <= 0:
            _logger.info("%s: further output is left out: it is more than %d KiB", self.title, _MOST_BYTES // 1024)

    @property
    def is_full(self) -> bool:
        """Whether the limit has been reached."""
        return self._left <= 0


class LoggedStream:
    """One output stream of a program; it buffers no more than a line.

    Args:
        log: the log.
        label: the prefix of each line.
    """

    def __init__(self, log: OutputLog, label: str) -> None:
        self._log = log
        self._label = label
        self._line = bytearray()
        self._is_cut = False

    def take(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._log.is_full:
            self._line.clear()
            return
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._extend(line)
            self._flush()
            if self._log.is_full:
                return
        self._extend(rest)

    def _extend(self, piece: bytes) -> None:
        room = _LONGEST_LINE_BYTES - len(self._line)
        self._is_cut |= len(piece) > room
        self._line += piece[:room]

    def _flush(self) -> None:
        self._log.add(self._label, bytes(self._line), is_cut=self._is_cut)
        self._line.clear()
        self._is_cut = False

    def end(self) -> None:
        """End the stream; a last line without a newline is logged, too."""
        if self._line:
            self._flush()


class Answer:
    """The line that a program prints as its answer."""

    _LONGEST_BYTES = 100

    def __init__(self) -> None:
        self._text = bytearray()

    def take(self, chunk: bytes) -> None:
        """Take the next bytes; anything beyond the maximum length is dropped."""
        self._text += chunk[: self._LONGEST_BYTES - len(self._text)]

    def end(self) -> None:
        """Do nothing."""

    def text(self) -> str:
        """The answer without its final newline; one that contains another newline is not valid."""
        return self._text.decode("utf-8", "replace").removesuffix("\n")
