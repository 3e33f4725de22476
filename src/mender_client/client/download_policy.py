"""The limits of a download."""

from __future__ import annotations

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass
from mender_client.errors import StorageError

from .pace import PaceLimits

if TYPE_CHECKING:
    from mender_client.core.artifact import SignatureCheck
    from mender_client.core.ports import Capacity


class NoSpaceError(StorageError):
    """There is too little free space for the Artifact."""


@dataclass(frozen=True)
class DownloadPolicy:
    """The limits of a download.

    Attributes:
        tries_without_progress: how many consecutive failures without a single new byte are tolerated
            (RetryDownloadCount).
        patience_seconds: how long such failures are tolerated in any case while the storage is unreachable or in
            trouble (RetryDownloadSeconds).
        longest_wait_seconds: the longest wait between attempts.
        reserve_bytes: the free space that must remain once the Artifact is on disk.
        pace: the maximum and minimum speed of a connection.
        check_signature: checks an Artifact's signature; None accepts every Artifact.
        capacity: what the device can hold; None if unknown.
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

    def check_space(self, left: int, free: int) -> None:
        """Check that there is space for the rest of the download.

        Args:
            left: the bytes still to come.
            free: the bytes that are free.

        Raises:
            NoSpaceError: there is not enough space.
        """
        if free < left + self.reserve_bytes:
            raise NoSpaceError(
                "DWN01",
                f"cannot store the Artifact: it needs {left + self.reserve_bytes} bytes ({left} still to come and a "
                f"reserve of {self.reserve_bytes}), but {free} are free",
                remedy="free some space in the data directory",
            )
