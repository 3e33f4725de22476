"""What the workflow needs from the device on which it runs: its clocks, key, data and log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from mender_client import TYPE_CHECKING
from mender_client.core.client_status import ClientStatus
from mender_client.core.keyvalue import KeyValues
from mender_client.core.model import Identity, LogMessage, Provides

if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Clock(Protocol):
    """The clocks, and waiting."""

    def monotonic(self) -> float:
        """The monotonic time in seconds, which changes of the wall clock don't affect."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC; may be wrong."""

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted: the client has to stop.
        """


class Observer(Protocol):
    """Receives the client status; its methods neither raise nor block, and nothing depends on them."""

    def noticed(self, client_status: ClientStatus) -> None:
        """The client status has changed."""

    def alive(self) -> None:
        """The client is working: a piece of a download has arrived, or the next request or script begins."""


class KeyStore(Protocol):
    """The device key."""

    @property
    def location(self) -> str:
        """Where the key is, for display; contains no secret."""

    def public_key_pem(self) -> str:
        """The public key, PEM SubjectPublicKeyInfo.

        Raises:
            KeyFileError: the key can't be read or used.
        """

    def sign(self, message: bytes) -> bytes:
        """Sign a message as the server verifies it, depending on the type of the key (protocol: ``X-MEN-Signature``).

        Raises:
            KeyFileError: the key can't be read or used.
        """


class DeviceData(Protocol):
    """The data about this device, from its scripts and files, which are run or read on every call."""

    def identity(self) -> Identity:
        """Run the identity script.

        Raises:
            ScriptError: it can't be run, failed, or printed nothing usable.
        """

    def inventory(self) -> Sequence[KeyValues]:
        """Run the inventory scripts in order; a script that fails is left out and logged."""

    def provides(self) -> Provides:
        """Read device_type and artifact_info.

        Raises:
            StorageError: there is no usable device type.
        """


class Capacity(Protocol):
    """The memory and storage of the device, as far as is known."""

    def memory_bytes(self) -> int | None:
        """The memory that this process may use."""

    def storage_bytes(self, payload_type: str | None) -> int | None:
        """The space for the files of a payload of this type, regardless of what is stored there now."""


class DeploymentLog(Protocol):
    """The log of one deployment, kept on disk until the next one begins."""

    def begin(self, deployment_id: str) -> None:
        """Begin a new log for this deployment, or continue its log if it was the last one begun."""

    def end(self) -> None:
        """Stop recording."""

    def trim(self) -> None:
        """Limit the size of the sub-updater's log; called from time to time while the sub-updater is running."""

    def messages(self, deployment_id: str) -> Iterable[LogMessage]:
        """The messages of this deployment, merged with the sub-updater's log; none if the log is of another one."""
