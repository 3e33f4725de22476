"""The progress bar of a download on a terminal."""

from __future__ import annotations

import io

from mender_client.app.progress import ProgressBar, render
from mender_client.client.stream import Progress

MIB = 1024 * 1024


def test_line_says_it_all() -> None:
    """The line shows percentage, bytes, rate, time left and the resumed share."""
    line = render(Progress(done=50 * MIB, total=100 * MIB, kept=10 * MIB), rate=MIB / 2)
    assert line == (
        "[###############---------------]  50 %  50.0 MiB of 100.0 MiB  512.0 KiB/s  1:40 left  (10 % resumed)"
    )


def test_line_without_a_total() -> None:
    """If the size is unknown, only bytes and rate are shown."""
    assert render(Progress(done=2048, total=None, kept=0), rate=100.0) == "2.0 KiB  100 B/s"


def test_line_of_a_long_download() -> None:
    """Long times are shown in hours, large sizes in gigabytes."""
    line = render(Progress(done=0, total=4 * 1024 * MIB, kept=0), rate=MIB)
    assert line.endswith("0 %  0 B of 4.00 GiB  1.0 MiB/s  1:08:16 left")


def test_bar_draws_at_most_five_times_a_second_and_ends_its_line() -> None:
    """However many pieces arrive, the line is drawn at most five times a second, and it is complete at the end."""
    terminal, time = io.StringIO(), iter(range(2000))
    bar = ProgressBar(terminal, monotonic=lambda: next(time) / 100)
    for done in range(1, 1001):
        bar(Progress(done=done, total=1000, kept=0))
    drawings = terminal.getvalue().split("\r")[1:]
    assert 40 <= len(drawings) <= 60
    assert drawings[-1].endswith("\n")
    assert "100 %" in drawings[-1]
