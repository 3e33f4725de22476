"""What time it is, as far as that is known: windows must not go by a clock that is evidently wrong.

Where a server has told the time, it is that. Otherwise nothing is known for an hour; a clock that nobody has set by
then never will be, and windows don't count any more.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from mender_client.core.ports import Clock, GateConditions
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic

_logger = logging.getLogger(__name__)

CLOCK_PATIENCE_SECONDS = 3600.0
"""How long windows stay closed because the clock is wrong."""


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
        clock: measures for how long.
    """

    conditions: GateConditions
    clock: Clock

    def __post_init__(self) -> None:
        self._wrong_since: float | None = None
        self._is_ignored = False

    def at(self, now: datetime) -> Moment:
        """The time when the device's clock shows this one; what is wrong with it is logged once."""
        problem = self.conditions.clock_problem()
        if not problem:
            self._wrong_since, self._is_ignored = None, False
            return Moment(now)
        server = self.conditions.server_time()
        if server is not None:
            return Moment(server, server - now)
        self._mistrust(problem)
        return Moment(now, problem=problem, is_ignored=self._is_ignored)

    def _mistrust(self, problem: str) -> None:
        elapsed = self.clock.monotonic()
        if self._wrong_since is None:
            self._wrong_since = elapsed
            text = f"windows stay closed until this device's clock is set: {problem}"
            _logger.warning("%s", Diagnostic("GAT02", text, remedy="set the clock, for instance by NTP"))
        elif not self._is_ignored and elapsed - self._wrong_since >= CLOCK_PATIENCE_SECONDS:
            self._is_ignored = True
            text = f"windows don't count any more: for an hour nobody has set this device's clock: {problem}"
            _logger.warning("%s", Diagnostic("GAT03", text, remedy="set the clock, for instance by NTP"))
