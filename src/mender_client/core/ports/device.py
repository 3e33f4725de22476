"""What the workflow needs of the device that it runs on: its clocks, key, data and log."""

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
        """Seconds that only ever go forward, whatever the wall clock does."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC; may be wrong."""

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Interrupted: the client is to stop.
        """


class Observer(Protocol):
    """Is told the client status; it neither raises nor waits, and nothing depends on it."""

    def noticed(self, client_status: ClientStatus) -> None:
        """The client status has changed."""

    def alive(self) -> None:
        """The client is at work: a piece of a download has come, the next request or script begins."""


class KeyStore(Protocol):
    """The device key."""

    @property
    def location(self) -> str:
        """Where it is, for people; holds no secret."""

    def public_key_pem(self) -> str:
        """The public key, PEM SubjectPublicKeyInfo.

        Raises:
            KeyFileError: the key can't be read or used.
        """

    def sign(self, message: bytes) -> bytes:
        """Sign as the server verifies: by the kind of the key, see protocol ``X-MEN-Signature``.

        Raises:
            KeyFileError: the key can't be read or used.
        """


class DeviceData(Protocol):
    """What this device says about itself, by its scripts and files; asked anew each time."""

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
    """What the device can hold, as far as that is known."""

    def memory_bytes(self) -> int | None:
        """The memory that this process may have."""

    def storage_bytes(self, payload_type: str | None) -> int | None:
        """The space for the files of a payload of this type, whatever is on it now."""


class DeploymentLog(Protocol):
    """The log of one deployment, kept on disk until the next one begins."""

    def begin(self, deployment_id: str) -> None:
        """Start anew for this deployment, or continue it when it is the one that was last begun."""

    def end(self) -> None:
        """Stop recording."""

    def trim(self) -> None:
        """Keep what the sub-updater writes within bounds; asked for now and then while it is at work."""

    def messages(self, deployment_id: str) -> Iterable[LogMessage]:
        """What was recorded of this deployment, the sub-updater's log merged in; nothing of another deployment."""
