"""The one place that concludes a deployment: the outcome and its messages first, then the lock and the Artifact.

The engine ends an update here, so do the command ``report`` for the sub-updater and a program that embeds the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mender_client.core.machine import Event
from mender_client.core.ports import ArtifactStore, Clock, DeploymentLog, Journal, Lock
from mender_client.core.record import Outcome, Update
from mender_client.errors import StorageError

_logger = logging.getLogger(__name__)


@contextmanager
def recording(log: DeploymentLog, deployment_id: str) -> Iterator[None]:
    """Record log lines for the server while the deployment is worked on."""
    log.begin(deployment_id)
    try:
        yield
    finally:
        log.end()


class Outcomes:
    """Concludes deployments.

    Args:
        clock: dates outcomes, for people.
        journal: keeps them, together with the messages that report them.
        log: gets the reason, for the server.
        lock: the lock file, removed when nothing is being installed any more.
        store: holds the Artifact, removed when nobody needs it any more.
    """

    def __init__(self, *, clock: Clock, journal: Journal, log: DeploymentLog, lock: Lock, store: ArtifactStore) -> None:
        self._clock = clock
        self._journal = journal
        self._log = log
        self._lock = lock
        self._store = store

    def report(self, deployment_id: str, *, is_success: bool, reporter: str, reason: str = "") -> Outcome | None:
        """Store what is reported from outside; the lock stays, as whoever installs removes it.

        Args:
            deployment_id: which deployment.
            is_success: whether it is installed.
            reporter: who reports, for the log.
            reason: why it is not.

        Returns:
            The outcome that stands, which may be an earlier one: the first report is final.

        Raises:
            StorageError: it can't be stored.
            ValueError: the update has not come so far.
        """
        with recording(self._log, deployment_id):
            if is_success:
                _logger.info("deployment %s: %s reports success", deployment_id, reporter)
            else:
                because = f": {reason}" if reason else ""
                _logger.error("deployment %s: %s reports failure%s", deployment_id, reporter, because)
        return self._store_outcome(deployment_id, Event.SUCCESS if is_success else Event.FAILURE)

    def conclude(
        self, deployment_id: str, event: Event, *, note: Callable[[Update], Update] = lambda update: update
    ) -> None:
        """End a deployment and free the device.

        Args:
            deployment_id: which deployment.
            event: what ended it.
            note: adds to the update what became known, for the outcome.

        Raises:
            StorageError: the outcome can't be stored, or the lock can't be removed.
        """
        if event is Event.FAULT:
            self._discard()  # first of all: the journal may need the room
        self._store_outcome(deployment_id, event, note)
        self.free(deployment_id)

    def _store_outcome(
        self, deployment_id: str, event: Event, note: Callable[[Update], Update] = lambda update: update
    ) -> Outcome | None:
        now = self._clock.now().isoformat(timespec="seconds")
        record = self._journal.update(lambda record: record.concluded(deployment_id, event, now=now, note=note))
        return record.outcome_of(deployment_id)

    def free(self, deployment_id: str) -> None:
        """Remove the lock of a deployment that is over, if it is there, and the Artifact.

        Raises:
            StorageError: the lock can't be removed.
        """
        self._discard()
        if self._lock.read() == deployment_id:
            self._lock.remove()

    def tidy(self) -> bool:
        """Remove an Artifact that nobody needs any more, as it only takes room; whether none is left."""
        return self._journal.load().update is None and self._lock.read() is None and self._discard()

    def _discard(self) -> bool:
        try:
            self._store.discard()
        except StorageError as error:
            _logger.error("%s", error)
            return False
        return True
