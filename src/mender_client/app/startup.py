"""Resets inherited process state, so that it affects neither the client's files nor the programs that it starts."""

from __future__ import annotations

import os
import signal

_RESTORED_BY_SUBPROCESS = (signal.SIGPIPE, signal.SIGXFSZ)
_UMASK = 0o077


def reset_inherited_state() -> None:
    """Make new files private from their creation on, unblock all signals, and let no program inherit an ignored signal.

    A signal that was ignored (``nohup``) still has no effect, but because of a handler: exec resets handlers, whereas
    ignored signals stay ignored, and a sub-updater that ignores signals could not be stopped.
    """
    os.umask(_UMASK)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in _RESTORED_BY_SUBPROCESS:
            signal.signal(number, lambda *_: None)
