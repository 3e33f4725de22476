"""A timeline with two sides: the server on the left, the device on the right.

All output of the demo is printed here. On a terminal it has colours and a progress bar; in a file or a pipe it is plain
text with one line for each event.
"""

from __future__ import annotations

import os
import shutil
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

PLAIN_WIDTH = 118
NARROWEST, WIDEST = 90, 140
SERVER_SHARE = 0.42
BAR_CELLS = 24
PLAIN_STEP_PERCENT = 25

DIM, BOLD, RED, GREEN, YELLOW, CYAN = "2", "1", "31", "32", "33", "36"


@dataclass(frozen=True, slots=True)
class Style:
    """The style of the output.

    Args:
        is_live: whether the output is a terminal that can rewrite a line.
        has_colours: whether to use colours.
        width: the number of characters in a line.
    """

    is_live: bool
    has_colours: bool
    width: int

    @classmethod
    def of(cls, out: TextIO) -> Style:
        """The appropriate style for a stream; respects NO_COLOR and TERM=dumb."""
        if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
            return cls(is_live=False, has_colours=False, width=PLAIN_WIDTH)
        columns = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns
        return cls(
            is_live=True,
            has_colours=not os.environ.get("NO_COLOR"),
            # a full last column would wrap on some terminals
            width=max(NARROWEST, min(WIDEST, columns - 1)),
        )


class Timeline:
    """Prints the events.

    Args:
        out: the stream to print to.
        style: the style of the output.
    """

    def __init__(self, out: TextIO, style: Style) -> None:
        self._out = out
        self._style = style
        self._began = time.monotonic()
        self._left = int(style.width * SERVER_SHARE) - 9
        self._right = style.width - self._left - 12
        self._bar = ""
        self._next_percent = PLAIN_STEP_PERCENT

    @property
    def seconds(self) -> float:
        """Seconds since the timeline began."""
        return time.monotonic() - self._began

    def text(self, text: str = "", *codes: str) -> None:
        """Print text over the whole width, wrapping each line separately."""
        for line in text.split("\n"):
            for piece in textwrap.wrap(line, self._style.width) or [""]:
                self._print(self._painted(piece, *codes))

    def verbatim(self, text: str) -> None:
        """Print text unchanged, for commands that are to be copied."""
        self._print(text)

    def chapter(self, title: str, why: str) -> None:
        """Begin a new part of the story."""
        self._print("")
        self._print(self._painted(f"── {title} ".ljust(self._style.width, "─"), BOLD))
        self.text(why, DIM)
        head = f"{'time':>7}  {'SERVER':{self._left}} │ DEVICE"
        self._print("")
        self._print(self._painted(head, BOLD))

    def server(self, text: str) -> None:
        """Print a line on the server's side."""
        self._left_side("", text, "")

    def operator(self, text: str) -> None:
        """Print an action of the operator of the server."""
        self._left_side("operator", text, CYAN)

    def _left_side(self, who: str, text: str, colour: str) -> None:
        for number, piece in enumerate(_wrapped(who, text, self._left)):
            self._print(f"{self._time(number)}  {self._named(piece.ljust(self._left), who, number, colour)} │")

    def device(self, who: str, text: str, *, colour: str = GREEN) -> None:
        """Print a line of one of the device's programs."""
        for number, piece in enumerate(_wrapped(who, text, self._right)):
            gap = " " * self._left
            self._print(f"{self._time(number)}  {gap} │ {self._named(piece, who, number, colour)}")

    def progress(self, done: int, total: int) -> None:
        """Show the progress of a download: a progress bar on a terminal, otherwise a line for every quarter."""
        percent = min(100, done * 100 // max(total, 1))
        if self._style.is_live:
            self._show_bar(_bar(percent, total))
        elif percent >= self._next_percent:
            self._next_percent = percent - percent % PLAIN_STEP_PERCENT + PLAIN_STEP_PERCENT
            self.device("client", _bar(percent, total))

    def end_progress(self, total: int) -> None:
        """Complete the progress bar and leave it in the output."""
        if self._style.is_live and self._bar:
            self._show_bar(_bar(100, total))
            self._out.write("\n")
        self._bar = ""
        self._next_percent = PLAIN_STEP_PERCENT

    def verdict(self, *, is_good: bool, text: str) -> None:
        """Print the result of a check."""
        mark = self._painted("ok ", GREEN, BOLD) if is_good else self._painted("NOT", RED, BOLD)
        pieces = textwrap.wrap(text, self._style.width - 6)
        self._print(f"  {mark} {pieces[0]}")
        for piece in pieces[1:]:
            self._print(f"      {piece}")

    def _show_bar(self, bar: str) -> None:
        gap = " " * self._left
        self._bar = f"{self._time(0)}  {gap} │ {self._named(f'client: {bar}', 'client', 0, GREEN)}"
        self._out.write(f"\r\x1b[K{self._bar}")
        self._out.flush()

    def _print(self, line: str) -> None:
        """Print a line; an active progress bar continues below it."""
        if self._bar:
            self._out.write("\r\x1b[K")
        self._out.write(f"{line.rstrip()}\n{self._bar}")
        self._out.flush()

    def _time(self, number: int) -> str:
        return self._painted(f"{self.seconds:5.1f} s", DIM) if number == 0 else " " * 7

    def _named(self, piece: str, who: str, number: int, colour: str) -> str:
        if number or not who:
            return piece
        return self._painted(f"{who}:", colour) + piece[len(who) + 1 :]

    def _painted(self, text: str, *codes: str) -> str:
        if not (self._style.has_colours and codes):
            return text
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m"


def _wrapped(who: str, text: str, width: int) -> Sequence[str]:
    line = f"{who}: {text}" if who else text
    return textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)


def _bar(percent: int, total: int) -> str:
    full = BAR_CELLS * percent // 100
    return f"downloads ▕{'█' * full}{'░' * (BAR_CELLS - full)}▏ {percent:3d} % of {size(total)}"


def size(count: int) -> str:
    """Format a number of bytes for display."""
    if count < 1024:
        return f"{count} bytes"
    if count < 1024 * 1024:
        return f"{count / 1024:.0f} KiB"
    return f"{count / 1024 / 1024:.1f} MiB"
