"""The time, as far as it is known: windows must not follow a clock that is evidently wrong.

If a server has sent the time, that is used. Otherwise the time is unknown for an hour after the boot, or after the
clock went wrong; a clock that has not been set by then never will be, and windows are ignored. A command gets the same
answer as a daemon.
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
"""As the reason of a closed gate. The log says why: what changes with the time would be stored anew."""

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
        is_ignored: it has not been known for so long that windows don't count any more.
    """

    now: datetime
    ahead: timedelta = timedelta()
    problem: str = ""
    is_ignored: bool = False


@dataclass(kw_only=True, eq=False, repr=False)
class KnownTime:
    """Knows the time.

    Attributes:
        conditions: knows what is wrong with the clock.
        clock: measures for how long; its monotonic time begins with the boot.
    """

    conditions: GateConditions
    clock: Clock

    def __post_init__(self) -> None:
        self._wrong_since: float | None = 0.0  # since the boot, unless it was right meanwhile
        self._said = ""

    def at(self, now: datetime) -> Moment:
        """The time when the device's clock shows this one; what is wrong with it is logged once."""
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
