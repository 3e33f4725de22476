"""Handles the failures of a download: waits between attempts, and renews the link."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.backoff import Backoff
from mender_client.core.model import Link
from mender_client.dataclass import dataclass
from mender_client.errors import DownloadError

if TYPE_CHECKING:
    from mender_client.core.ports import Clock

_logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 1.0


@dataclass(kw_only=True, eq=False, repr=False)
class RetryBudget:
    """Counts consecutive failures without a new byte, and waits between attempts: about a second first, then longer.

    An outage ends the download after a number of attempts and a time, whichever is later. A storage that answers, but
    not with the object, ends it after the number of attempts.

    Attributes:
        limit: how many consecutive failures are tolerated.
        patience_seconds: for how long consecutive failures are tolerated.
        longest_wait_seconds: the longest wait between attempts.
        interrupted: called before each wait.
    """

    clock: Clock
    limit: int
    patience_seconds: float
    longest_wait_seconds: float
    random: Callable[[], float]
    interrupted: Callable[[], None]

    def __post_init__(self) -> None:
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, self.longest_wait_seconds, tries_per_interval=1)
        self._best_offset = 0
        self._refusals = 0
        self._since = self.clock.monotonic()

    def progressed(self, offset: int) -> None:
        """Note how far the download has come; only bytes never seen before are progress."""
        if offset > self._best_offset:
            self._best_offset = offset
            self._backoff = self._backoff.after_success()
            self._refusals = 0
            self._since = self.clock.monotonic()

    def failed(self, reason: str, *, retry_after_seconds: float | None = None, is_refused: bool = False) -> None:
        """Wait before the next attempt.

        Args:
            reason: why it failed.
            retry_after_seconds: what the storage asked for.
            is_refused: the storage has answered, but not with the object, or with a broken one.

        Raises:
            DownloadError: it was the last attempt.
            Interrupted: the client was asked to stop.
        """
        self._backoff = self._backoff.after_failure()
        self._refusals += is_refused
        tries, seconds = self._backoff.failures, self.clock.monotonic() - self._since
        text = (
            f"cannot download the Artifact: {reason}; gave up after {tries} failed attempts in a row in {seconds:.0f} s"
        )
        if self._refusals > self.limit:
            raise DownloadError(
                "DWN07", text, remedy="check the storage, upload the Artifact again and deploy it again"
            )
        if tries > self.limit and seconds >= self.patience_seconds:
            raise DownloadError("DWN03", text, remedy="check the storage and the network, then deploy again")
        delay = self._backoff.delay_seconds(random=self.random(), retry_after_seconds=retry_after_seconds)
        _logger.info("download interrupted: %s; next try in %.1f s", reason, delay)
        self.interrupted()
        self.clock.sleep(delay)


@dataclass(kw_only=True, eq=False, repr=False)
class RenewableLink:
    """A pre-signed link, replaced by a fresh one from the server if it has no address or no longer works."""

    link: Link
    renew: Callable[[], Link]

    def __post_init__(self) -> None:
        self._is_fresh = False

    def uri(self) -> str:
        """The address; raises as ``refresh``."""
        if not self.link.uri:
            self.refresh()
        return self.link.uri

    def refresh(self) -> None:
        """Replace the link.

        Raises:
            MenderError: the server issues none.
        """
        self.link = self.renew()
        self._is_fresh = True

    def forget(self) -> None:
        """Ask for another link before the next attempt."""
        self.link = Link("")

    def unreachable(self) -> None:
        """Note that there was no answer: a link from before a restart is replaced before the next attempt."""
        if not self._is_fresh:
            self.forget()
