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

    def check_space(self, left: int, free: int) -> None:
        """Make sure that what is still to come has room.

        Args:
            left: so many bytes.
            free: so many are free.

        Raises:
            NoSpaceError: it has not.
        """
        if free < left + self.reserve_bytes:
            raise NoSpaceError(
                "DWN01",
                f"cannot store the Artifact: it needs {left + self.reserve_bytes} bytes ({left} still to come and a "
                f"reserve of {self.reserve_bytes}), but {free} are free",
                remedy="free some space in the data directory",
            )
