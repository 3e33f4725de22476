"""How fast a download may be now according to ``DownloadSpeedLimit``, or until when downloads are not permitted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mender_client import TYPE_CHECKING
from mender_client.core.gates import Closed
from mender_client.core.speed import STOPPED, Speed, SpeedRule, find_speed
from mender_client.dataclass import dataclass
from mender_client.errors import DeviceError, Diagnostic

from .known_time import CLOCK_IS_WRONG, KnownTime

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, GateConditions

_logger = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
"""How long a result is reused: a download asks for each piece, and a new result would cost more than the piece."""


@dataclass(kw_only=True, eq=False, repr=False)
class SpeedPlan:
    """Determines the speed that is permitted now.

    Attributes:
        rules: the rates, with their windows.
        conditions: finds the time zones of windows.
        time: determines the current time.
    """

    rules: Sequence[SpeedRule]
    conditions: GateConditions
    time: KnownTime
    clock: Clock

    def __post_init__(self) -> None:
        self._speed = STOPPED
        self._looked_at: float | None = None
        self._fault = ""
        rates = [rule.speed for rule in self.rules if not rule.speed.is_stopped]
        self._slowest = min(rates, key=lambda rate: rate.bytes_per_second or float("inf"))
        self._may_stop = len(rates) < len(self.rules) or all(rule.window is not None for rule in self.rules)

    def speed(self) -> Speed:
        """The speed that is permitted now; determined at most once a second."""
        elapsed = self.clock.monotonic()
        if self._looked_at is None or elapsed - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = elapsed
            self._speed, _ = self._look()
        return self._speed

    def closed(self) -> Closed | None:
        """Why nothing may be downloaded now, and until when; None if downloads are permitted."""
        speed, closed = self._look()
        return closed if speed.is_stopped else None

    def _look(self) -> tuple[Speed, Closed]:
        moment = self.time.at(self.clock.now())
        if moment.problem:
            is_stopped = self._may_stop and not moment.is_ignored
            return STOPPED if is_stopped else self._slowest, Closed(f"no download: {CLOCK_IS_WRONG}")
        try:
            speed, until = find_speed(self.rules, self.conditions.zone, moment.now)
        except DeviceError as error:
            return STOPPED, Closed(f"no download: {self._broken(error)}")
        self._fault = ""
        return speed, Closed("no download at this time", None if until is None else until - moment.ahead)

    def _broken(self, error: DeviceError) -> str:
        if error.text != self._fault:
            self._fault = error.text
            text = f"nothing is downloaded: the windows of DownloadSpeedLimit cannot be used: {error.text}"
            _logger.warning("%s", Diagnostic("GAT08", text, remedy=error.remedy))
        return error.text
