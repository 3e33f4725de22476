"""Resets what the process inherits, so that it affects neither its files nor the programs that it starts."""

from __future__ import annotations

import os
import signal

_RESTORED_BY_SUBPROCESS = (signal.SIGPIPE, signal.SIGXFSZ)
_UMASK = 0o077


def reset_inherited_state() -> None:
    """Make every new file private from its creation on, unblock all signals, and pass none on as ignored.

    A signal that was ignored (``nohup``) still has no effect, but by a handler: a handler is reset when a program is
    started, an ignored signal is not, and a sub-updater that ignores signals could not be stopped.
    """
    os.umask(_UMASK)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in _RESTORED_BY_SUBPROCESS:
            signal.signal(number, lambda *_: None)
