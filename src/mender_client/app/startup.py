"""What this process inherits from whoever started it must change neither its files nor the programs that it starts."""

from __future__ import annotations

import os
import signal

_RESTORED_BY_SUBPROCESS = (signal.SIGPIPE, signal.SIGXFSZ)
_UMASK = 0o077


def reset_inherited_state() -> None:
    """Make every new file private from its creation on, unblock all signals, and pass none on as ignored.

    What was ignored for us (``nohup``) stays without effect. A sub-updater that can't be ended, or that never hears of
    a child's end, would be the fault of whoever started us: a handler is forgotten when a program is started, an
    ignored signal isn't.
    """
    os.umask(_UMASK)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in _RESTORED_BY_SUBPROCESS:
            signal.signal(number, _ignore)


def _ignore(*_: object) -> None:
    return
