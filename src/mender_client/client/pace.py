"""The speed of a download: a rate limit, and a minimum rate below which the connection is abandoned."""

from __future__ import annotations

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass
from mender_client.errors import ErrorKind, MenderError, NetworkError

if TYPE_CHECKING:
    from mender_client.core.ports import Clock

    from .speed_plan import SpeedPlan

_ANY_SIZE = 1 << 30

AGAIN_SECONDS = 1.0
"""How long a suspended download waits if downloads have become permitted again in the meantime."""


class SuspendedError(MenderError):
    """Nothing may be downloaded at this time; the bytes on disk are kept."""


@dataclass(frozen=True)
class PaceLimits:
    """The bounds of a download's rate.

    Attributes:
        most_bytes_per_second: the limit (DownloadSpeedLimit); 0 for none.
        least_bytes_per_second: the minimum (DownloadMinimumRate); 0 for none.
        window_seconds: the period over which the minimum is measured (DownloadStallSeconds).
        plan: the limit by day and time, in place of ``most_bytes_per_second``; None if it is always the same.
    """

    most_bytes_per_second: int = 0
    least_bytes_per_second: int = 0
    window_seconds: float = 60.0
    plan: SpeedPlan | None = None


class Pace:
    """Measures and limits one connection's rate."""

    def __init__(self, clock: Clock, limits: PaceLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._most = limits.most_bytes_per_second
        self._began = self._window_began = clock.monotonic()
        self._bytes = self._window_bytes = 0

    @property
    def piece_bytes(self) -> int:
        """The most to read at once: with a limit, what it permits in 0.25 s, so that the link isn't monopolised."""
        return max(self._most // 4, 1024) if self._most else _ANY_SIZE

    def check(self) -> None:
        """Apply the limit that is in force now.

        Raises:
            SuspendedError: nothing may be downloaded.
        """
        if self._limits.plan is None:
            return
        speed = self._limits.plan.speed()
        if speed.is_stopped:
            text = "cannot download at this time: DownloadSpeedLimit does not allow it"
            raise SuspendedError("DWN27", text, remedy="try again later, or change DownloadSpeedLimit")
        if speed.bytes_per_second != self._most:
            self._most, self._began, self._bytes = speed.bytes_per_second, self._clock.monotonic(), 0

    def received(self, count: int) -> None:
        """Count received bytes, and wait if they came too fast.

        Raises:
            NetworkError: the connection is slower than the minimum; another one may be faster.
            SuspendedError: nothing more may be downloaded now.
            Interrupted: the client was asked to stop.
        """
        if self._limits.least_bytes_per_second:
            self._check_floor(count)
        if self._most:
            self._bytes += count
            ahead = self._bytes / self._most - (self._clock.monotonic() - self._began)
            if ahead > 0:
                self._clock.sleep(ahead)
        self.check()

    def _check_floor(self, count: int) -> None:
        self._window_bytes += count
        seconds = self._clock.monotonic() - self._window_began
        if seconds < self._limits.window_seconds:
            return
        rate, least = self._window_bytes / seconds, self._limits.least_bytes_per_second
        if rate < (min(least, self._most // 2) if self._most else least):  # our own limit is not a slow connection
            raise NetworkError(
                "DWN08",
                f"the download is too slow: {rate:.0f} bytes per second over {seconds:.0f} s, "
                f"and DownloadMinimumRate is {least}",
                kind=ErrorKind.TIMEOUT,
            )
        self._window_began, self._window_bytes = self._clock.monotonic(), 0
