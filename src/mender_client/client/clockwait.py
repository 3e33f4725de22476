"""Waits for a wrong clock to be set: while it makes certificates seem out of date, contacting the server is useless.

Certificate checks are not relaxed. The client checks the clock instead, which is cheap, and contacts the server as soon
as the clock is set.
"""

from __future__ import annotations

import logging

from mender_client import TYPE_CHECKING
from mender_client.core.clocksense import ClockLook
from mender_client.errors import Diagnostic, ErrorKind, MenderError, NetworkError

if TYPE_CHECKING:
    from mender_client.core.ports import Clock

_logger = logging.getLogger(__name__)
_DATED = (ErrorKind.CLOCK, ErrorKind.CERTIFICATE_EARLY, ErrorKind.CERTIFICATE_EXPIRED)
"""Errors that a wrong clock causes or may cause."""


class ClockWait:
    """Watches the clock while certificates seem out of date."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._look: ClockLook | None = None
        self._is_announced = False

    def failed(self, error: MenderError) -> None:
        """Note an error; if the clock may be its cause, the clock is watched from now on."""
        if not isinstance(error, NetworkError) or error.kind not in _DATED:
            return
        self._look = ClockLook(self._clock.now(), self._clock.monotonic())
        if error.kind is ErrorKind.CLOCK and not self._is_announced:
            text = "waiting until this device's clock is set; until then no certificate is accepted"
            _logger.warning("%s", Diagnostic("AUT05", text, remedy="set the clock, for instance by NTP"))
            self._is_announced = True

    def succeeded(self) -> None:
        """Note that the server was reached: there is nothing to wait for."""
        self._look = None
        if self._is_announced:
            _logger.info("certificates are valid again; no longer waiting for the clock")
            self._is_announced = False

    def is_set(self) -> bool:
        """Whether the clock was set while it was watched, so that the server should be asked now."""
        if self._look is None or not self._look.has_been_set(self._clock.now(), self._clock.monotonic()):
            return False
        _logger.info("the clock was set; asking the server again")
        self._look = None
        return True

    def bounded(self, seconds: float) -> float:
        """Shorten a wait so that it ends at the next check of the clock, if the clock is watched."""
        if self._look is None:
            return seconds
        wait, self._look = self._look.wait_seconds, self._look.later()
        return min(seconds, wait)
