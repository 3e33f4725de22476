"""Keeps the client status and tells the observers; the workflow does not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from mender_client import TYPE_CHECKING
from mender_client.core.client_status import ClientStatus, Download
from mender_client.dataclass import replace

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, Observer

    from .stream import Progress

DOWNLOAD_SECONDS = 5.0
"""How often observers are notified of the progress of a download; they may write it to flash."""


class StatusTracker:
    """Keeps the client status.

    Changes are noted at once, but observers are notified only when a step of the work is done: once for each poll.

    Args:
        clock: supplies the times of the changes.
        observers: the observers to notify.
        client_status: the initial status.
    """

    def __init__(
        self, clock: Clock, observers: Sequence[Observer] = (), client_status: ClientStatus | None = None
    ) -> None:
        self._clock = clock
        self._observers = tuple(observers)
        self._download_told_at: float | None = None
        self._download_told = 0
        self.client_status = client_status or ClientStatus()

    def note(self, change: Callable[[ClientStatus, str], ClientStatus]) -> None:
        """Change the client status.

        Args:
            change: makes the new status from the last one and the time (RFC 3339).
        """
        self.client_status = change(self.client_status, self.time())
        self.alive()

    def tell(self) -> None:
        """Tell the observers the current client status."""
        for observer in self._observers:
            observer.noticed(self.client_status)

    def does(self, doing: str, *, deployment_id: str = "", artifact_name: str = "") -> None:
        """Note what the client is doing now, and tell the observers."""
        self.note(lambda one, now: one.does(doing, now, deployment_id=deployment_id, artifact_name=artifact_name))
        self.tell()

    def downloaded(self, progress: Progress) -> None:
        """Note the progress of a download; observers are notified every few seconds and at its end."""
        self.alive()
        now, last = self._clock.monotonic(), self._download_told_at
        is_done = progress.done == progress.total
        is_new = last is None or progress.done < self._download_told
        if not is_new and not is_done and now - (last or 0.0) < DOWNLOAD_SECONDS:
            return
        seconds = 0.0 if is_new else now - (last or 0.0)
        rate = round((progress.done - self._download_told) / seconds) if seconds > 0 else 0
        self._download_told_at, self._download_told = (None if is_done else now), progress.done
        download = Download(progress.done, progress.total or 0, progress.kept, rate, progress.reused)
        self.note(lambda one, _: one.downloads(download))
        self.tell()

    def interrupted(self) -> None:
        """Note that a download waits for its next attempt, so that its rate is no longer valid."""
        self._download_told_at = None
        download = self.client_status.download
        if download.bytes_per_second:
            self.note(lambda one, _: one.downloads(replace(download, bytes_per_second=0)))
            self.tell()

    def alive(self) -> None:
        """Tell the observers that the client is at work."""
        for observer in self._observers:
            observer.alive()

    def time(self, *, in_seconds: float = 0.0) -> str:
        """The wall-clock time, now or a number of seconds later."""
        return (self._clock.now() + timedelta(seconds=in_seconds)).isoformat(timespec="seconds")
