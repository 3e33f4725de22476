"""Download and verify in one pass: the Artifact is verified while its bytes are written to disk.

After a restart the bytes on disk are read again, to verify them, but not downloaded again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.model import Link, Software
from mender_client.core.resume import RemoteObject
from mender_client.core.update import Update
from mender_client.dataclass import dataclass, replace
from mender_client.errors import ArtifactError, DownloadError

from .adaptive_choice import AdaptiveChoice
from .download_policy import DownloadPolicy
from .download_progress import DownloadCost, ProgressLog, StreamProgress
from .retries import RenewableLink, RetryBudget
from .status_tracker import StatusTracker
from .stream import NOTHING_STORED, AdaptiveError, ArtifactStream, Progress, StartOverError
from .verification import Reading, Verifier

if TYPE_CHECKING:
    from mender_client.core.artifact import NewDigest
    from mender_client.core.ports import ArtifactStore, Clock, Journal, PartialFile, Seeds, Transport

    from .adaptive import AdaptiveDownload
    from .verification import Accept, Consume

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class Downloader:
    """Downloads and verifies Artifacts.

    Attributes:
        random: returns numbers in [0, 1) for jitter.
        progressed: displays the progress; None writes log lines.
        new_digest: starts a SHA-256 digest; None computes it in this thread.
        seeds: the data on the device that an adaptive download scans for blocks; None disables adaptive downloads.
    """

    transport: Transport
    clock: Clock
    store: ArtifactStore
    journal: Journal
    policy: DownloadPolicy
    random: Callable[[], float]
    tracker: StatusTracker
    progressed: Callable[[Progress], None] | None = None
    new_digest: NewDigest | None = None
    seeds: Seeds | None = None

    def __post_init__(self) -> None:
        self._cost = DownloadCost()
        self._verifier = Verifier(policy=self.policy, journal=self.journal, new_digest=self.new_digest)
        self._choice = AdaptiveChoice(
            store=self.store,
            journal=self.journal,
            clock=self.clock,
            seeds=self.seeds,
            alive=self.tracker.alive,
            check_space=self._check_space,
        )

    @property
    def payload_type(self) -> str:
        """The payload type of the last Artifact; empty if it has no payload."""
        return self._verifier.payload_type

    @property
    def software(self) -> Software | None:
        """The software of the device once the last Artifact is installed."""
        return self._verifier.software

    def taken_of(self, deployment_id: str) -> Mapping[str, int]:
        """The cost of a deployment's download that isn't stored yet, as arguments of ``Update.fetched``."""
        return self._cost.of(deployment_id)

    def note_cost(self, update: Update) -> tuple[int, int]:
        """Store the cost of an abandoned download; return the bytes received so far and the size of the Artifact."""
        cost = self._cost
        received, cost.noted = cost.received - cost.noted, cost.received
        record = self.journal.update(lambda one: one.put_together(update.deployment_id, received=received, done=0))
        noted = record.update_of(update.deployment_id)
        return 0 if noted is None else noted.fetched_bytes, cost.total

    def fetch(
        self,
        update: Update,
        fresh_link: Callable[[], Link],
        *,
        accept: Accept = lambda _: None,
        copies: int = 1,
        assembled: Consume | None = None,
    ) -> bool:
        """Download the Artifact of an update, verify it and commit it to the store.

        Args:
            update: what to download, and what the Artifact's depends are compared with.
            fresh_link: requests a new link from the server.
            accept: checks the verified header, and raises an error if the Artifact can't be installed.
            copies: how many copies there must be space for: 2 if the payload files may have to be stored as well.
            assembled: reads the payload if it can be assembled from data on the device; None stores it in that case.

        Returns:
            Whether ``assembled`` has read the payload, so that nothing is stored.

        Raises:
            ArtifactError: the Artifact is broken, not for this device or not signed as required.
            DownloadError: it can't be downloaded.
            NoSpaceError: there is no space for it.
            StorageError: it can't be stored.
            Interrupted: the client was asked to stop; the bytes on disk are kept.
        """
        partial = self.store.open_partial()
        try:
            reading = Reading(update, accept, copies=copies, assembled=assembled)
            if self._download(update, fresh_link, partial, reading) and assembled is not None:
                self.store.discard()
                return True
            self.tracker.alive()
            partial.sync()
        finally:
            partial.close()
        self.store.commit()
        return False

    def stream(self, update: Update, fresh_link: Callable[[], Link], *, accept: Accept, consume: Consume) -> None:
        """Download the Artifact of an update and pass its payload to ``consume`` as it arrives, without storing it.

        Args:
            update: as for ``fetch``.
            fresh_link: as for ``fetch``.
            accept: as for ``fetch``.
            consume: reads the payload; called again if the download has to start from the beginning.

        Raises:
            MenderError: as ``fetch``, and what ``consume`` raises.
            Interrupted: the client was asked to stop.
        """
        reading = Reading(update, accept, consume)
        if self._choice.is_open(update) and self.store.free_bytes() > self.policy.reserve_bytes:
            partial = self.store.open_partial()  # for everything before the payload
            try:
                self._download(update, fresh_link, partial, reading)
            finally:
                partial.close()
            return
        restarted = replace(update, remote_object=RemoteObject())
        self._download(restarted, fresh_link, NOTHING_STORED, reading)

    def reread(self, update: Update, consume: Consume) -> None:
        """Verify the stored Artifact of an update again and pass its payload to ``consume``.

        Raises:
            MenderError: as ``fetch``, and what ``consume`` raises.
            Interrupted: the client was asked to stop.
        """
        partial = self.store.open_partial()
        try:
            self._verifier.read(partial, Reading(update, lambda _: None, consume))
        finally:
            partial.close()

    def _download(self, update: Update, fresh_link: Callable[[], Link], partial: PartialFile, reading: Reading) -> bool:
        """Download and verify; return whether the payload was assembled from data on the device."""
        is_first = update.deployment_id != self._cost.deployment_id
        if is_first:
            self._cost = DownloadCost(update.deployment_id)
        cost, before = self._cost, replace(self._cost)
        try:
            return self._attempt_until_verified(self._link(update, fresh_link), partial, reading)
        finally:
            received, kept = cost.received - before.received, cost.kept if is_first else 0
            reused = max(0, cost.reused - before.reused)
            self.tracker.note(lambda one, _: one.fetched(received, kept, reused))

    def _link(self, update: Update, fresh_link: Callable[[], Link]) -> RenewableLink:
        def renew() -> Link:
            link = fresh_link()
            self.journal.update(lambda record: record.linked(update.deployment_id, link))
            return link

        return RenewableLink(link=update.link, renew=renew)

    def _attempt_until_verified(self, link: RenewableLink, partial: PartialFile, reading: Reading) -> bool:
        """Read the Artifact from its beginning, again and again until it is verified or has failed for good.

        Returns:
            Whether the payload was assembled from data on the device.
        """
        update, retries = reading.update, self._retries()
        remote_object = update.remote_object
        if remote_object == RemoteObject():  # nothing is known about the object whose bytes are on disk
            partial.restart()
        while True:
            stream = self._stream(link, partial, remote_object, retries, reading)
            adaptive = self._choice.begin(stream, partial, reading)
            try:
                if self._verify(stream, reading, adaptive):
                    return self._choice.settle(update, adaptive)
                partial.restart()
                remote_object = RemoteObject()
            except AdaptiveError as error:
                self._choice.renounce(update, error)
                partial.seek(0)
                remote_object, retries = stream.remote_object, self._retries()
            finally:
                self._choice.end(update, adaptive)

    def _retries(self) -> RetryBudget:
        return RetryBudget(
            clock=self.clock,
            limit=self.policy.tries_without_progress,
            patience_seconds=self.policy.patience_seconds,
            longest_wait_seconds=self.policy.longest_wait_seconds,
            random=self.random,
            interrupted=self.tracker.interrupted,
        )

    def _stream(
        self,
        link: RenewableLink,
        partial: PartialFile,
        remote_object: RemoteObject,
        retries: RetryBudget,
        reading: Reading,
    ) -> ArtifactStream:
        deployment_id = reading.update.deployment_id

        def described(remote_object: RemoteObject, left: int | None) -> None:
            if partial is NOTHING_STORED:
                return
            if reading.is_stored:
                others = 0 if stream.asks_for_part else reading.copies - 1
                self._check_space((left or 0) + others * (remote_object.total or 0))
            self.journal.update(lambda record: record.described(deployment_id, remote_object))

        def note(received: int, done: int) -> None:
            self.journal.update(lambda record: record.put_together(deployment_id, received=received, done=done))

        progressed = StreamProgress(
            cost=self._cost,
            tracker=self.tracker,
            shown=self.progressed or ProgressLog(self.clock),
            note=note,
            has_gap=lambda: stream.has_gap,
            check_space=(lambda: self._check_space(0)) if reading.is_stored else None,
        )
        stream = ArtifactStream(
            transport=self.transport,
            clock=self.clock,
            link=link,
            partial=partial,
            remote_object=remote_object,
            retries=retries,
            described=described,
            progressed=progressed,
            alive=self.tracker.alive,
            pace_limits=self.policy.pace,
        )
        return stream

    def _check_space(self, left: int) -> None:
        self.policy.check_space(left, self.store.free_bytes())

    def _verify(self, stream: ArtifactStream, reading: Reading, adaptive: AdaptiveDownload | None) -> bool:
        """Read the whole Artifact; return False if the download must start from the beginning."""
        try:
            header = self._verifier.read(stream, reading, adaptive)
        except MemoryError as error:
            raise DownloadError(
                "DWN20",
                "cannot verify the Artifact: this device has too little memory for it",
                remedy="build it with gzip, fewer files or smaller scripts",
            ) from error
        except StartOverError as reason:
            stream.retries.failed(f"{reason.text}; starting from the beginning", is_refused=True)
            return False
        except ArtifactError as error:
            if adaptive is not None and adaptive.is_assembling:
                raise AdaptiveError("DWN26", f"cannot assemble the payload: {error.text}") from error
            if (doubt := _doubt(stream)) is None:
                raise
            stream.retries.failed(f"{error.text}; {doubt}, starting from the beginning", is_refused=True)
            return False
        finally:
            stream.close()
        _logger.info("Artifact %s verified (%d bytes)%s", header.artifact_name, stream.offset, stream.shares())
        if self.policy.check_signature is None:
            what = "its signature was not checked" if header.signed else "it is not signed"
            _logger.info("Artifact accepted without a signature check: %s, and no ArtifactVerifyKey is set", what)
        return True


def _doubt(stream: ArtifactStream) -> str | None:
    """Why an Artifact that is broken may be intact when downloaded again; None if there is no reason to think so."""
    if stream.is_pieced_together:
        # the fault may be where two pieces meet: bytes from before a power cut, an object that has changed
        return "it was downloaded in pieces"
    if stream.is_other_content:
        stream.link.forget()
        return "something else was sent in its place"
    if stream.is_end_unsure:
        return "its length was not announced, and it may be truncated"
    return None
