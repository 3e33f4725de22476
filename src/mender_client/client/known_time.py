"""The current time, as far as it is known: windows must not depend on a clock that is evidently wrong.

If a server has sent the time, that is used. Otherwise the time is unknown for an hour after the boot, or after the
clock went wrong. If the clock has not been set by then, it is assumed that it never will be, and windows are ignored.
Commands come to the same result as the daemon.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, GateConditions

_logger = logging.getLogger(__name__)

CLOCK_PATIENCE_SECONDS = 3600.0
"""How long windows stay closed because the clock is wrong."""

CLOCK_IS_WRONG = "this device's clock is wrong"
"""The reason for a closed gate. Details are only logged: stored ones would have to be updated as they change."""

_BY_SERVER = "windows use the server's time"
_WAITS = "windows stay closed until it is set"
_IGNORED = "it has been wrong for an hour, and windows are ignored"


@dataclass(frozen=True)
class Moment:
    """The time as far as it is known.

    Attributes:
        now: the time.
        ahead: how much it is ahead of the device's clock.
        problem: why the time isn't known; empty when it is.
        is_ignored: whether it has been unknown for so long that windows are ignored.
    """

    now: datetime
    ahead: timedelta = timedelta()
    problem: str = ""
    is_ignored: bool = False


@dataclass(kw_only=True, eq=False, repr=False)
class KnownTime:
    """Determines the current time.

    Attributes:
        conditions: reports what is wrong with the clock, and the time of the server.
        clock: measures how long the clock has been wrong; its monotonic time begins with the boot.
    """

    conditions: GateConditions
    clock: Clock

    def __post_init__(self) -> None:
        self._wrong_since: float | None = 0.0  # since the boot, unless it has been right in between
        self._said = ""

    def at(self, now: datetime) -> Moment:
        """The actual time when the device's clock shows ``now``; a problem with the clock is logged once."""
        problem = self.conditions.clock_problem()
        if not problem:
            self._wrong_since, self._said = None, ""
            return Moment(now)
        server = self.conditions.server_time()
        if server is not None:
            self._say(_BY_SERVER, problem)
            return Moment(server, server - now)
        elapsed = self.clock.monotonic()
        if self._wrong_since is None:
            self._wrong_since = elapsed
        is_ignored = elapsed - self._wrong_since >= CLOCK_PATIENCE_SECONDS
        self._say(_IGNORED if is_ignored else _WAITS, problem)
        return Moment(now, problem=problem, is_ignored=is_ignored)

    def _say(self, what: str, problem: str) -> None:
        if what != self._said:
            self._said = what
            text = f"{CLOCK_IS_WRONG}: {problem}; {what}"
            _logger.warning("%s", Diagnostic("GAT02", text, remedy="set the clock, for instance by NTP"))
