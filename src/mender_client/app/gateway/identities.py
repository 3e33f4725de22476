"""The identities of devices: the server sees two devices with the same identity as one device."""

from __future__ import annotations

from mender_client.core.model import Identity
from mender_client.core.text import printable
from mender_client.errors import NotReadyError


class Identities:
    """The identities of the devices of a gateway; each belongs to the first device that has claimed it."""

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}  # by hash, to save memory

    def claim(self, identity: Identity, name: str) -> None:
        """Claim an identity for a device; may be called in any thread.

        Raises:
            NotReadyError: another device has it.
        """
        owner = self._owners.setdefault(hash(identity.id_data), name)
        if owner != name:
            text = f"cannot use the identity {printable(identity.id_data)}: device {owner} already has it"
            raise NotReadyError("GTW13", text, remedy="give each device an identity of its own")

    def release(self, name: str) -> None:
        """Release the identities of a device that is removed, or whose description has changed."""
        for key, owner in list(self._owners.items()):
            if owner == name:
                self._owners.pop(key, None)
