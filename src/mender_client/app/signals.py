"""Signal handlers of commands that run until they are stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def handled_signals(
    handlers: Mapping[int, Callable[..., object]], wake_descriptor: int | None = None
) -> Iterator[None]:
    """Install signal handlers, and restore the previous ones at the end.

    Args:
        handlers: the handlers, by signal number.
        wake_descriptor: the interpreter itself writes to it when a signal arrives, because the handler of a signal
            just before a wait would run too late; None if nothing waits.
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
