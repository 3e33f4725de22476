"""What this process inherits about signals must not go on to the programs that it starts."""

from __future__ import annotations

import signal

_RESTORED_BY_SUBPROCESS = (signal.SIGPIPE, signal.SIGXFSZ)


def forget_inherited_signals() -> None:
    """Unblock every signal, and pass none on as ignored; what was ignored for us (``nohup``) stays without effect.

    A sub-updater that can't be ended, or that never hears of a child's end, would be the fault of whoever started us.
    A handler is forgotten when a program is started, an ignored signal isn't.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in _RESTORED_BY_SUBPROCESS:
            signal.signal(number, _ignore)


def _ignore(*_: object) -> None:
    return
