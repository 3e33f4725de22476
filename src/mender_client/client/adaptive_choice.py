"""The choice between an adaptive and an ordinary download of an Artifact, made for each deployment."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.update import Update
from mender_client.dataclass import dataclass
from mender_client.errors import MenderError

from .stream import ArtifactStream
from .verification import Reading

if TYPE_CHECKING:
    from mender_client.core.ports import ArtifactStore, Clock, Journal, PartialFile, Seeds

    from .adaptive import AdaptiveDownload

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class AdaptiveChoice:
    """Begins and ends adaptive downloads where they are possible.

    Attributes:
        seeds: the data on the device that an adaptive download scans for blocks; None disables adaptive downloads.
        alive: called while seeds are scanned.
        check_space: checks that there is space for a number of bytes; raises StorageError if there is not.
    """

    store: ArtifactStore
    journal: Journal
    clock: Clock
    seeds: Seeds | None
    alive: Callable[[], None]
    check_space: Callable[[int], None]

    def __post_init__(self) -> None:
        self._ordinary_id = ""

    def is_open(self, update: Update) -> bool:
        """Whether the download of an update may be adaptive."""
        is_ordinary = update.not_adaptive or update.deployment_id == self._ordinary_id
        return self.seeds is not None and not is_ordinary and self.seeds.are_there()

    def begin(self, stream: ArtifactStream, partial: PartialFile, reading: Reading) -> AdaptiveDownload | None:
        """Begin to read a stream adaptively; return None if that is not possible."""
        if self.seeds is None or not self.is_open(reading.update):
            return None
        # imported when needed: most devices are never offered an Artifact with an index
        from .adaptive import FIRST_BYTES, AdaptiveDownload

        stream.ask_until(FIRST_BYTES)
        return AdaptiveDownload(
            stream=stream,
            partial=partial,
            store=self.store,
            seeds=self.seeds,
            clock=self.clock,
            alive=self.alive,
            check_space=self.check_space,
            is_rewritten=reading.is_stored and reading.assembled is None,
            is_stored=reading.is_stored,
        )

    def settle(self, update: Update, adaptive: AdaptiveDownload | None) -> bool:
        """Replace the partial Artifact with the rewritten one, if there is one, and store its size.

        Returns:
            Whether the payload was assembled from data on the device.
        """
        if adaptive is None or not adaptive.is_assembling:
            return False
        if (rewritten := adaptive.finish()) is not None:
            self.journal.update(lambda record: record.described(update.deployment_id, rewritten))
            self.store.adopt_rewritten()
        return True

    def end(self, update: Update, adaptive: AdaptiveDownload | None) -> None:
        """Close an adaptive download; if it was declined, the next attempt is an ordinary one."""
        if adaptive is None:
            return
        adaptive.close()
        if adaptive.is_declined:
            self._ordinary_id = update.deployment_id

    def renounce(self, update: Update, error: MenderError) -> None:
        """Use only ordinary downloads for this deployment from now on."""
        _logger.warning("%s; the whole Artifact is downloaded", error)
        self._ordinary_id = update.deployment_id
        self.store.discard_rewritten()
        self.journal.update(lambda record: record.not_adaptive(update.deployment_id, error.text))
