"""Download and verify in one pass: the Artifact reader reads the bytes while they are written to disk.

So a wrong device type, a missing signature or a bad manifest is refused after the header, before the payload. After a
restart the bytes on disk are read again, to verify them, but not downloaded again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from mender_client import TYPE_CHECKING
from mender_client.core.model import CONFIGURATION, Link, Software
from mender_client.core.ports import ArtifactStore, Capacity, Clock, Journal, PartialFile, Seeds, Transport
from mender_client.core.resume import RemoteObject
from mender_client.core.text import ROUTINE, amount
from mender_client.core.update import Update
from mender_client.dataclass import dataclass, replace
from mender_client.errors import ArtifactError, DownloadError, MenderError, StorageError

from .pace import PaceLimits
from .status_tracker import StatusTracker
from .stream import AdaptiveError, ArtifactStream, Progress, RenewableLink, RetryBudget, StartOverError

if TYPE_CHECKING:
    from mender_client.core.artifact import ArtifactReader, Header, NewDigest, SignatureCheck
    from mender_client.core.artifact.stream import Readable

    from .adaptive import AdaptiveDownload

    Accept = Callable[[Header], None]
    Consume = Callable[[Header, ArtifactReader], None]

_logger = logging.getLogger(__name__)
_PROGRESS_SECONDS = 30.0
"""How often the log says how far a download is; one that is shorter leaves no such line."""
_NOTE_BYTES = 256 * 1024
"""How often it is stored how much of an adaptive download has come."""
_SPACE_CHECK_BYTES = 4 * 1024 * 1024
"""How often the free space is checked where the storage doesn't say how much will come."""


@dataclass(frozen=True)
class DownloadPolicy:
    """The limits of a download.

    Attributes:
        tries_without_progress: failures in a row, none of which brought a new byte, that end it
            (RetryDownloadCount).
        patience_seconds: for how long such failures are tolerated in any case while the storage is out of reach or in
            trouble (RetryDownloadSeconds).
        longest_wait_seconds: the cap of the waiting time between tries.
        reserve_bytes: free space that must be left when the Artifact is on disk.
        pace: how fast a connection may and must be.
        check_signature: checks an Artifact's signature; None accepts every Artifact.
        capacity: what the device can hold; None: unknown.
        payload_types: the types of payloads to accept (PayloadTypes); empty accepts all but configurations.
    """

    tries_without_progress: int = 10
    patience_seconds: float = 3600.0
    longest_wait_seconds: float = 300.0
    reserve_bytes: int = 16 * 1024 * 1024
    pace: PaceLimits = PaceLimits()
    check_signature: SignatureCheck | None = None
    capacity: Capacity | None = None
    payload_types: tuple[str, ...] = ()


class NoSpaceError(StorageError):
    """There is too little free space for the Artifact."""


@dataclass(frozen=True)
class _Reading:
    """How the Artifact of an update is read.

    Attributes:
        accept: refuses it.
        consume: reads its payload, if it is not only stored.
        copies: how often there must be space for it.
        assembled: reads its payload instead of storing it, if that is put together from what the device has.
    """

    update: Update
    accept: Accept
    consume: Consume | None = None
    copies: int = 1
    assembled: Consume | None = None


class _NothingStored:
    """In the place of the partial Artifact where nothing is stored; see ``core.ports.PartialFile``."""

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002 - there is nothing
        return 0

    def write(self, data: memoryview, /) -> None:
        pass

    def restart(self) -> None:
        pass

    def seek(self, position: int) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


NOTHING_STORED = _NothingStored()


@dataclass(kw_only=True, eq=False, repr=False)
class Downloader:
    """Downloads and verifies Artifacts.

    Attributes:
        random: returns numbers in [0, 1) for jitter.
        progressed: shows the progress; None writes log lines.
        new_digest: begins a SHA-256; None hashes in this thread.
        seeds: where an adaptive download looks for what the device has; None: every download is an ordinary one.
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
        self.payload_type = ""
        self.software: Software | None = None
        self._deployment_id = ""
        self._received = 0
        self._kept = self._reused = self._noted = 0
        self._whole_id = ""

    def taken_of(self, deployment_id: str) -> Mapping[str, int]:
        """What the download of a deployment has cost since the client started; arguments of ``Update.fetched``."""
        is_known = deployment_id == self._deployment_id
        received = self._received - self._noted
        received, kept, reused = (received, self._kept, self._reused) if is_known else (0, 0, 0)
        return {"received": received, "kept": kept, "reused": reused}

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
            accept: refuses, by its verified header, an Artifact that can't be installed.
            copies: how often there must be space for it: twice if its files may have to be stored beside it.
            assembled: reads the payload if it can be put together from what the device has; None: it is stored then.

        Returns:
            Whether it was read by ``assembled``, and nothing is stored.

        Raises:
            ArtifactError: the Artifact is broken, not for this device or not signed as required.
            DownloadError: it can't be downloaded.
            NoSpaceError: there is no space for it.
            StorageError: it can't be stored.
            Interrupted: the client is to stop; the bytes on disk are kept.
        """
        partial = self.store.open_partial()
        try:
            reading = _Reading(update, accept, copies=copies, assembled=assembled)
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
        """Download the Artifact of an update and let its payload be consumed as it comes; nothing is stored.

        Args:
            update: as for ``fetch``.
            fresh_link: as for ``fetch``.
            accept: as for ``fetch``.
            consume: reads the payload; called again when the download has to start from the beginning.

        Raises:
            MenderError: as ``fetch``, and what ``consume`` raises.
            Interrupted: the client is to stop.
        """
        reading = _Reading(update, accept, consume)
        if self._may_be_adaptive(update) and self.store.free_bytes() > self.policy.reserve_bytes:
            partial = self.store.open_partial()  # for what stands before the payload
            try:
                self._download(update, fresh_link, partial, reading)
            finally:
                partial.close()
            return
        restarted = replace(update, remote_object=RemoteObject())
        self._download(restarted, fresh_link, NOTHING_STORED, reading)

    def _may_be_adaptive(self, update: Update) -> bool:
        is_whole = update.not_adaptive or update.deployment_id == self._whole_id
        return self.seeds is not None and not is_whole and self.seeds.are_there()

    def reread(self, update: Update, consume: Consume) -> None:
        """Verify the stored Artifact of an update once more and let its payload be consumed.

        Raises:
            MenderError: as ``fetch``, and what ``consume`` raises.
            Interrupted: the client is to stop.
        """
        partial = self.store.open_partial()
        try:
            self._read(partial, _Reading(update, lambda _: None, consume), None)
        finally:
            partial.close()

    def _download(
        self, update: Update, fresh_link: Callable[[], Link], partial: PartialFile, reading: _Reading
    ) -> bool:
        """Download and verify; returns whether it was put together from what the device has."""
        is_first = update.deployment_id != self._deployment_id
        if is_first:
            self._deployment_id = update.deployment_id
            self._received = self._kept = self._reused = self._noted = 0
        received_before, reused_before = self._received, self._reused
        retries = self._retries()
        seeds = self.seeds if self._may_be_adaptive(update) else None

        def renew() -> Link:
            link = fresh_link()
            self.journal.update(lambda record: record.linked(update.deployment_id, link))
            return link

        link = RenewableLink(link=update.link, renew=renew)
        try:
            remote_object = update.remote_object
            if remote_object == RemoteObject():  # nothing is known of the object whose bytes are on disk
                partial.restart()
            while True:
                stream = self._stream(update, link, partial, remote_object, retries, reading)
                adaptive = None if seeds is None else self._adaptive(seeds, stream, partial, reading)
                try:
                    if self._verify(stream, reading, adaptive):
                        return self._settle(update, adaptive)
                except AdaptiveError as error:
                    self._renounce(update, error)
                    seeds, remote_object, retries = None, stream.remote_object, self._retries()
                    partial.seek(0)
                else:
                    partial.restart()
                    remote_object = RemoteObject()
                finally:
                    if adaptive is not None:
                        adaptive.close()
                    if adaptive is not None and adaptive.is_declined:
                        seeds, self._whole_id = None, update.deployment_id
        finally:
            received, kept = self._received - received_before, self._kept if is_first else 0
            reused = self._reused - reused_before
            self.tracker.note(lambda one, _: one.fetched(received, kept, max(0, reused)))

    def _retries(self) -> RetryBudget:
        return RetryBudget(
            clock=self.clock,
            limit=self.policy.tries_without_progress,
            patience_seconds=self.policy.patience_seconds,
            longest_wait_seconds=self.policy.longest_wait_seconds,
            random=self.random,
            interrupted=self.tracker.interrupted,
        )

    def _adaptive(
        self, seeds: Seeds, stream: ArtifactStream, partial: PartialFile, reading: _Reading
    ) -> AdaptiveDownload:
        # imported when needed: most devices are never offered an Artifact with an index
        from .adaptive import FIRST_BYTES, AdaptiveDownload

        stream.ask_until(FIRST_BYTES)
        return AdaptiveDownload(
            stream=stream,
            partial=partial,
            store=self.store,
            seeds=seeds,
            clock=self.clock,
            alive=self.tracker.alive,
            check_space=self._check_space,
            is_rewritten=reading.consume is None and reading.assembled is None,
            is_stored=reading.consume is None,
        )

    def _settle(self, update: Update, adaptive: AdaptiveDownload | None) -> bool:
        """Put a rewritten Artifact in the place of the partial one, and say of what object it is the whole."""
        if adaptive is None or not adaptive.is_assembling:
            return False
        if (rewritten := adaptive.finish()) is not None:
            self.journal.update(lambda record: record.described(update.deployment_id, rewritten))
            self.store.adopt_rewritten()
        return True

    def _renounce(self, update: Update, error: MenderError) -> None:
        """Download the Artifact of this deployment as a whole from now on."""
        _logger.warning("%s; the Artifact is downloaded as a whole", error)
        self._whole_id = update.deployment_id
        self.store.discard_rewritten()
        self.journal.update(lambda record: record.not_adaptive(update.deployment_id, error.text))

    def _stream(
        self,
        update: Update,
        link: RenewableLink,
        partial: PartialFile,
        remote_object: RemoteObject,
        retries: RetryBudget,
        reading: _Reading,
    ) -> ArtifactStream:
        shown = self.progressed or _ProgressLog(self.clock)
        checked_at = noted_at = 0
        received_before = self._received

        is_stored = reading.consume is None

        def described(remote_object: RemoteObject, left: int | None) -> None:
            if partial is NOTHING_STORED:
                return
            if is_stored:
                others = 0 if stream.asks_for_part else reading.copies - 1
                self._check_space((left or 0) + others * (remote_object.total or 0))
            self.journal.update(lambda record: record.described(update.deployment_id, remote_object))

        def progressed(progress: Progress) -> None:
            nonlocal checked_at, noted_at
            if is_stored and progress.total is None and progress.done - checked_at >= _SPACE_CHECK_BYTES:
                self._check_space(0)
                checked_at = progress.done
            self._received = received_before + progress.fetched
            self._reused = progress.reused
            if not stream.has_gap:
                noted_at = progress.fetched  # that much is on disk, where it is found after a restart
            elif progress.fetched - noted_at >= _NOTE_BYTES:
                self._note(update, progress.fetched - noted_at, progress.done)
                noted_at = progress.fetched
            self._kept = max(0, progress.kept - received_before)  # the rest came since the client started
            self.tracker.downloaded(progress)
            shown(progress)

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

    def _note(self, update: Update, received: int, done: int) -> None:
        """Store how far an adaptive download is, for a client that is killed."""
        self._noted += received
        self.journal.update(lambda record: record.put_together(update.deployment_id, received=received, done=done))

    def _check_space(self, left: int) -> None:
        needed, free = left + self.policy.reserve_bytes, self.store.free_bytes()
        if free < needed:
            raise NoSpaceError(
                "DWN01",
                f"cannot store the Artifact: it needs {needed} bytes ({left} still to come and a reserve of "
                f"{self.policy.reserve_bytes}), but {free} are free",
                remedy="free some space in the data directory",
            )

    def _verify(self, stream: ArtifactStream, reading: _Reading, adaptive: AdaptiveDownload | None) -> bool:
        """Read the Artifact once through; False when the download must start from the beginning."""
        try:
            header = self._read(stream, reading, adaptive)
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
                raise AdaptiveError("DWN26", f"cannot put the payload together: {error.text}") from error
            if stream.is_pieced_together:
                # the fault may lie where two pieces meet: bytes from before a power cut, an object that changed
                why = "it was downloaded in pieces"
            elif stream.is_other_content:
                why = "something else was sent in its place"
                stream.link.forget()
            elif stream.is_end_unsure:
                why = "its length was not announced, and it may have been cut"
            else:
                raise
            stream.retries.failed(f"{error.text}; {why}, starting from the beginning", is_refused=True)
            return False
        finally:
            stream.close()
        _logger.info("Artifact %s verified (%d bytes)%s", header.artifact_name, stream.offset, stream.shares())
        if self.policy.check_signature is None:
            what = "its signature was not checked" if header.signed else "it is not signed"
            _logger.info("Artifact accepted without a signature check: %s, no ArtifactVerifyKey is set", what)
        return True

    def _read(self, stream: Readable, reading: _Reading, adaptive: AdaptiveDownload | None) -> Header:
        update = reading.update
        # imported late: an idle daemon does without the memory
        from mender_client.core.artifact import ArtifactReader, check_depends, limits_for

        capacity = self.policy.capacity
        reader = ArtifactReader(
            stream,
            limits=limits_for(None if capacity is None else capacity.memory_bytes()),
            check_signature=self.policy.check_signature,
            new_digest=self.new_digest,
            expander=adaptive,
        )
        header = reader.read_header()
        if header.artifact_name != update.artifact_name:
            raise ArtifactError(
                "DWN02",
                f"cannot install the Artifact: the server announced {update.artifact_name!r}, "
                f"but it is {header.artifact_name!r}",
                remedy="upload the Artifact again and deploy it again",
            )
        provides = update.provides
        check_depends(
            header,
            device_type=provides.device_type,
            artifact_name=provides.artifact_name,
            provides=provides.others,
        )
        self.payload_type = header.payload.type or ""
        before = self.journal.load().software
        if before is None or before.artifact_name != provides.artifact_name:
            before = Software(provides.artifact_name)
        payload = header.payload
        group = {"artifact_group": header.artifact_group} if header.artifact_group else {}
        brought = {**group, **(payload.provides or {})}
        name = provides.artifact_name if payload.type == CONFIGURATION else update.artifact_name
        self.software = before.followed_by(name, brought, payload.clears or ())
        _check_payload_type(self.payload_type, self.policy.payload_types)
        reading.accept(header)
        consume = reading.consume
        if reading.assembled is not None and adaptive is not None:
            reader.open_payload()
            consume = reading.assembled if adaptive.is_assembling else None
        if consume is not None:
            consume(header, reader)
        most_bytes = None if capacity is None else capacity.storage_bytes(header.payload.type)
        if most_bytes is not None:
            _check_sizes(reader, most_bytes)
        reader.finish()
        return header


def _check_payload_type(payload_type: str, accepted: tuple[str, ...]) -> None:
    """Refuse a payload that nothing on this device installs, before it is downloaded."""
    if accepted and payload_type not in accepted:
        text = f"cannot install the Artifact: its payload type {payload_type!r} is not one of PayloadTypes"
        raise ArtifactError("DWN22", text, remedy="deploy another Artifact, or add the type to PayloadTypes")


def _check_sizes(reader: ArtifactReader, most_bytes: int) -> None:
    """Refuse a payload that the device can't hold before its files are read: a few MB may claim to be many GB."""
    total = 0
    for file in reader.payload_files():
        total += file.size
        if total > most_bytes:
            raise StorageError(
                "DWN21",
                f"cannot install the Artifact: its files have {total} bytes or more, and this device can hold "
                f"{most_bytes}",
                remedy="build it for the size of this device's partitions",
            )


class _ProgressLog:
    """A log line every half a minute: how far the download is, and how fast since the last one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()
        self._done: int | None = None

    def __call__(self, progress: Progress) -> None:
        if self._done is None:
            self._done = progress.kept  # that much was on disk
        seconds = self._clock.monotonic() - self._at
        if seconds < _PROGRESS_SECONDS:
            return
        done, total = progress.done, progress.total
        rate = amount(max(0, done - self._done) / seconds)
        of = f" of {amount(total)} ({100 * done // total} %)" if total else ""
        _logger.info("download: %s%s, %s/s", amount(done), of, rate, extra=ROUTINE)
        self._at, self._done = self._at + seconds, done
