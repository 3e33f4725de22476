"""The identity of each device: two devices with the same identity are one device to the server."""

from __future__ import annotations

from mender_client.core.model import Identity
from mender_client.core.text import printable
from mender_client.errors import NotReadyError


class Identities:
    """The identities of the devices of a gateway, each of which belongs to the device that had it first."""

    def __init__(self) -> None:
        self._owners: dict[int, str] = {}  # by a hash: there are many

    def claim(self, identity: Identity, name: str) -> None:
        """Have a device use an identity; called by any thread.

        Raises:
            NotReadyError: another device has it.
        """
        owner = self._owners.setdefault(hash(identity.id_data), name)
        if owner != name:
            text = f"cannot use the identity {printable(identity.id_data)}: device {owner} already has it"
            raise NotReadyError("GTW13", text, remedy="give each device an identity of its own")

    def release(self, name: str) -> None:
        """Forget what a device has used: it is gone, or described anew."""
        for key, owner in list(self._owners.items()):
            if owner == name:
                self._owners.pop(key, None)
