"""Signals of programs that run until they are told to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def handled_signals(
    handlers: Mapping[int, Callable[..., object]], wake_descriptor: int | None = None
) -> Iterator[None]:
    """Handle signals, and restore what was before.

    Args:
        handlers: by number.
        wake_descriptor: the interpreter writes to it itself when a signal arrives, since a handler runs too late for
            one that comes just before a wait begins; None if nothing waits.
    """
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    if wake_descriptor is not None:
        signal.set_wakeup_fd(wake_descriptor, warn_on_full_buffer=False)
    try:
        yield
    finally:
        if wake_descriptor is not None:
            signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            signal.signal(number, handler)
