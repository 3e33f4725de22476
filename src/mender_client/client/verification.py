"""Reads a whole Artifact, and refuses one that is broken or must not be installed on this device.

A wrong device type, a missing signature or a bad manifest is refused after the header, before the payload is read.
"""

from __future__ import annotations

from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.model import CONFIGURATION, Software
from mender_client.core.update import Update
from mender_client.dataclass import dataclass
from mender_client.errors import ArtifactError, StorageError

from .download_policy import DownloadPolicy

if TYPE_CHECKING:
    from mender_client.core.artifact import ArtifactReader, Header, NewDigest
    from mender_client.core.artifact.stream import Readable
    from mender_client.core.ports import Journal

    from .adaptive import AdaptiveDownload

    Accept = Callable[[Header], None]
    Consume = Callable[[Header, ArtifactReader], None]


@dataclass(frozen=True)
class Reading:
    """How the Artifact of an update is read.

    Attributes:
        accept: raises an error if it can't be installed.
        consume: reads its payload; None if the Artifact is stored.
        copies: how many copies there must be space for.
        assembled: reads its payload, which is not stored then, if it is assembled from data on the device.
    """

    update: Update
    accept: Accept
    consume: Consume | None = None
    copies: int = 1
    assembled: Consume | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the Artifact is stored as it arrives."""
        return self.consume is None


@dataclass(kw_only=True, eq=False, repr=False)
class Verifier:
    """Verifies Artifacts, and remembers the payload type and the software of the last one.

    Attributes:
        new_digest: starts a SHA-256 digest; None computes it in this thread.
        payload_type: the payload type of the last Artifact; empty if it has no payload.
        software: the software of the device once the last Artifact is installed.
    """

    policy: DownloadPolicy
    journal: Journal
    new_digest: NewDigest | None
    payload_type: str = ""
    software: Software | None = None

    def read(self, stream: Readable, reading: Reading, adaptive: AdaptiveDownload | None = None) -> Header:
        """Read and verify an Artifact from its first byte to its last.

        Raises:
            MenderError: it is refused or can't be read; also what ``accept`` and ``consume`` raise.
            Interrupted: the client was asked to stop.
        """
        # imported late, to save memory in an idle daemon
        from mender_client.core.artifact import ArtifactReader, limits_for

        capacity = self.policy.capacity
        reader = ArtifactReader(
            stream,
            limits=limits_for(None if capacity is None else capacity.memory_bytes()),
            check_signature=self.policy.check_signature,
            new_digest=self.new_digest,
            expander=adaptive,
        )
        header = reader.read_header()
        _check_update(header, reading.update)
        self._note(header, reading.update)
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

    def _note(self, header: Header, update: Update) -> None:
        """Remember the payload type, and the software of the device once the Artifact is installed."""
        payload, provides = header.payload, update.provides
        self.payload_type = payload.type or ""
        before = self.journal.load().software
        if before is None or before.artifact_name != provides.artifact_name:
            before = Software(provides.artifact_name)
        group = {"artifact_group": header.artifact_group} if header.artifact_group else {}
        brought = {**group, **(payload.provides or {})}
        name = provides.artifact_name if payload.type == CONFIGURATION else update.artifact_name
        self.software = before.followed_by(name, brought, payload.clears or ())


def _check_update(header: Header, update: Update) -> None:
    """Refuse an Artifact other than the announced one, or for another device or other software."""
    from mender_client.core.artifact import check_depends

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


def _check_payload_type(payload_type: str, accepted: tuple[str, ...]) -> None:
    """Refuse a payload that nothing on this device installs, before it is downloaded."""
    if accepted and payload_type not in accepted:
        text = f"cannot install the Artifact: its payload type {payload_type!r} is not one of PayloadTypes"
        raise ArtifactError("DWN22", text, remedy="deploy another Artifact, or add the type to PayloadTypes")


def _check_sizes(reader: ArtifactReader, most_bytes: int) -> None:
    """Refuse a payload that the device can't hold, before its files are read: a few MB may expand to many GB."""
    total = 0
    for file in reader.payload_files():
        total += file.size
        if total > most_bytes:
            raise StorageError(
                "DWN21",
                f"cannot install the Artifact: its files take up {total} bytes or more, but this device can hold "
                f"{most_bytes}",
                remedy="build it for the size of this device's partitions",
            )
