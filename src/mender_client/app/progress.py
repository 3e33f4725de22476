"""A progress bar for downloads on a terminal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.client.stream import Progress
from mender_client.core.text import amount

from .formatting import clock_time

if TYPE_CHECKING:
    from typing import TextIO

_DRAWINGS_PER_SECOND = 5
_BAR_COLUMNS = 30


class ProgressBar:
    """Draws the amount received, the rate, the time left, and how much was resumed or reused."""

    def __init__(self, terminal: TextIO, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._monotonic = monotonic
        self._began: tuple[float, int] | None = None
        self._drawn_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Draw the bar, at most a few times per second."""
        now = self._monotonic()
        if self._began is None or progress.done < self._began[1]:
            self._began = (now, progress.done)
        is_done = progress.total is not None and progress.done >= progress.total
        if not is_done and now - self._drawn_at < 1 / _DRAWINGS_PER_SECOND:
            return
        self._drawn_at = now
        seconds, received = now - self._began[0], progress.done - self._began[1]
        line = render(progress, rate=received / seconds if seconds > 0 else 0.0)
        columns = shutil.get_terminal_size().columns
        self._terminal.write(f"\r\x1b[K{line[: columns - 1]}" + ("\n" if is_done else ""))
        self._terminal.flush()
        if is_done:
            self._began = None


def render(progress: Progress, *, rate: float) -> str:
    """The line that shows the progress of a download."""
    done, total, kept = progress.done, progress.total, progress.kept
    speed = f"{amount(rate)}/s"
    if not total:
        return f"{amount(done)}  {speed}"
    filled = _BAR_COLUMNS * done // total
    bar = "#" * filled + "-" * (_BAR_COLUMNS - filled)
    left = f"  {clock_time((total - done) / rate)} left" if rate > 0 and done < total else ""
    resumed = f"  ({100 * kept // total} % resumed)" if kept else ""
    reused = f"  ({100 * progress.reused // total} % reused)" if progress.reused else ""
    return f"[{bar}] {100 * done // total:3d} %  {amount(done)} of {amount(total)}  {speed}{left}{resumed}{reused}"
