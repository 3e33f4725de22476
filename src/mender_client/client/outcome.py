"""The only place that concludes a deployment: the outcome and its reports first, then the lock and the Artifact.

The engine ends an update here, and so do the command ``report`` and a program that embeds the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mender_client import TYPE_CHECKING
from mender_client.core.machine import Event
from mender_client.core.record import Outcome
from mender_client.core.update import Update
from mender_client.dataclass import dataclass
from mender_client.errors import StorageError

if TYPE_CHECKING:
    from mender_client.core.ports import ArtifactStore, Clock, DeploymentLog, Journal, Lock

_logger = logging.getLogger(__name__)


@contextmanager
def recording(log: DeploymentLog, deployment_id: str) -> Iterator[None]:
    """Record log lines for the server while work on the deployment is in progress."""
    log.begin(deployment_id)
    try:
        yield
    finally:
        log.end()


@dataclass(kw_only=True, eq=False, repr=False)
class Outcomes:
    """Concludes deployments."""

    clock: Clock
    journal: Journal
    log: DeploymentLog
    lock: Lock
    store: ArtifactStore

    def report(self, deployment_id: str, *, is_success: bool, reporter: str, reason: str = "") -> Outcome | None:
        """Store an outcome that is reported from outside; the lock stays until the reporter removes it.

        Args:
            deployment_id: the deployment.
            is_success: whether its Artifact is installed.
            reporter: who reports, for the log.
            reason: why it failed.

        Returns:
            The stored outcome, which may be an earlier one: the first report is final.

        Raises:
            StorageError: it can't be stored.
            ValueError: the state of the update does not expect an outcome.
        """
        with recording(self.log, deployment_id):
            if is_success:
                _logger.info("deployment %s: %s reports success", deployment_id, reporter)
            else:
                because = f": {reason}" if reason else ""
                _logger.error("deployment %s: %s reports failure%s", deployment_id, reporter, because)
        return self._store_outcome(deployment_id, Event.SUCCESS if is_success else Event.FAILURE, reason=reason)

    def conclude(
        self,
        deployment_id: str,
        event: Event,
        *,
        note: Callable[[Update], Update] = lambda update: update,
        reason: str = "",
    ) -> None:
        """End a deployment: store its outcome, then remove the lock and the Artifact.

        Args:
            deployment_id: the deployment.
            event: what ended it.
            note: as ``Effects.note``, for the outcome.
            reason: why it failed.

        Raises:
            StorageError: the outcome can't be stored, or the lock can't be removed.
        """
        if event is Event.FAULT:
            self._discard()  # first, since the state file may need the space
        self._store_outcome(deployment_id, event, note, reason=reason)
        self.free(deployment_id)

    def _store_outcome(
        self,
        deployment_id: str,
        event: Event,
        note: Callable[[Update], Update] = lambda update: update,
        *,
        reason: str,
    ) -> Outcome | None:
        now = self.clock.now().isoformat(timespec="seconds")
        record = self.journal.update(
            lambda record: record.concluded(deployment_id, event, now=now, note=note, reason=reason)
        )
        return record.outcome_of(deployment_id)

    def free(self, deployment_id: str) -> None:
        """Remove the lock of a deployment that is over, if it is there, and the Artifact.

        Raises:
            StorageError: the lock can't be removed.
        """
        self._discard()
        if self.lock.read() == deployment_id:
            self.lock.remove()

    def tidy(self) -> bool:
        """Remove an Artifact that is no longer needed; return whether none is left."""
        return self.journal.load().update is None and self.lock.read() is None and self._discard()

    def _discard(self) -> bool:
        try:
            self.store.discard()
        except StorageError as error:
            _logger.error("%s", error)
            return False
        return True
