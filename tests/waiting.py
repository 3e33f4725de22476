"""How tests wait: for an event, never for a fixed time that may not suffice on some machine."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 180.0
"""How long a test waits for an event that must occur. Only a bug, never a busy machine, should exceed it."""
NEVER_S = 3600.0
"""A delay or a time limit that no test waits for: when it runs out, the test has failed long ago."""


def wait_until(
    condition: Callable[[], object], *, within: float = PATIENCE_S, what: str | Callable[[], str] = "the condition"
) -> None:
    """Wait until something is true.

    Args:
        condition: whether it is true.
        within: seconds.
        what: what is waited for, for the message; a function is called when the time is over.

    Raises:
        AssertionError: it did not come true in time.
    """
    end, pause = time.monotonic() + within, 0.01
    while not condition():
        if time.monotonic() >= end:
            raise AssertionError(f"{what if isinstance(what, str) else what()} did not come true within {within:g} s")
        time.sleep(pause)
        pause = min(1.2 * pause, 0.1)  # slow conditions are checked less often: others need the processor
