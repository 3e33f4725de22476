"""Time that passes only when a process waits."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from mender_client.errors import Interrupted

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class WorldClock:
    """True time, the device's monotonic time since its boot, and the device's wall clock, which may be wrong."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.wall_error = timedelta()
        self.is_stopping = False
        self.stops_after_sleeps: int | None = None
        self.sleeps: list[float] = []
        self._booted_at = -10.0

    def true_time(self) -> datetime:
        """The time on the server's clock."""
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the boot."""
        return self.seconds - self._booted_at

    def now(self) -> datetime:
        """The device's wall clock."""
        return self.true_time() + self.wall_error

    def sleep(self, seconds: float) -> None:
        """Wait, unless the client is to stop."""
        if self.is_stopping or len(self.sleeps) == self.stops_after_sleeps:
            raise Interrupted("the client was asked to stop")
        self.sleeps.append(seconds)
        self.seconds += seconds

    def boot(self) -> None:
        """Boot the device: its monotonic time starts again."""
        self.seconds += 10.0
        self._booted_at = self.seconds - 3.0
