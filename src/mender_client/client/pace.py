"""How fast a download may and must be: a rate limit, and a minimum below which the connection is given up."""

from __future__ import annotations

from mender_client.core.ports import Clock
from mender_client.dataclass import dataclass
from mender_client.errors import ErrorKind, NetworkError

_ANY_SIZE = 1 << 30


@dataclass(frozen=True)
class PaceLimits:
    """The bounds of a download's rate.

    Attributes:
        most_bytes_per_second: the limit (DownloadSpeedLimit); 0 for none.
        least_bytes_per_second: the minimum (DownloadMinimumRate); 0 for none.
        window_seconds: over which time the minimum is measured (DownloadStallSeconds).
    """

    most_bytes_per_second: int = 0
    least_bytes_per_second: int = 0
    window_seconds: float = 60.0


class Pace:
    """Measures and limits one connection's rate."""

    def __init__(self, clock: Clock, limits: PaceLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._began = self._window_began = clock.monotonic()
        self._bytes = self._window_bytes = 0

    @property
    def piece_bytes(self) -> int:
        """The most to take at once: with a limit, a quarter of a second's worth, so that the link isn't hogged."""
        limit = self._limits.most_bytes_per_second
        return max(limit // 4, 1024) if limit else _ANY_SIZE

    def received(self, count: int) -> None:
        """Note so many bytes; waits when they came too fast.

        Raises:
            NetworkError: the connection is slower than the minimum: another one may be faster.
            Interrupted: the client is to stop.
        """
        limits = self._limits
        if limits.least_bytes_per_second:
            self._check_floor(count)
        if limits.most_bytes_per_second:
            self._bytes += count
            ahead = self._bytes / limits.most_bytes_per_second - (self._clock.monotonic() - self._began)
            if ahead > 0:
                self._clock.sleep(ahead)

    def _check_floor(self, count: int) -> None:
        self._window_bytes += count
        seconds = self._clock.monotonic() - self._window_began
        if seconds < self._limits.window_seconds:
            return
        rate = self._window_bytes / seconds
        if rate < self._limits.least_bytes_per_second:
            raise NetworkError(
                "DWN08",
                f"the download is too slow: {rate:.0f} bytes per second over {seconds:.0f} s, "
                f"and DownloadMinimumRate is {self._limits.least_bytes_per_second}",
                kind=ErrorKind.TIMEOUT,
            )
        self._window_began, self._window_bytes = self._clock.monotonic(), 0
