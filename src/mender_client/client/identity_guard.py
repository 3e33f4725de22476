"""Guards the device's identity: nobody becomes another device to the server without being told."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client.core.accepted_identity import AcceptedIdentity, accepted_identity, explain_change
from mender_client.core.model import Identity
from mender_client.core.ports import Journal, KeyStore
from mender_client.core.record import Record
from mender_client.errors import StorageError

_logger = logging.getLogger(__name__)


class IdentityGuard:
    """Compares what the device is about to ask as with what the server accepted last.

    It warns and never forbids: the change may be wanted. Nor does a disk that is full keep the device from asking.

    Args:
        journal: remembers what was accepted, and what differs, for ``status``.
        keys: the device key.
    """

    def __init__(self, *, journal: Journal, keys: KeyStore) -> None:
        self._journal = journal
        self._keys = keys
        self._said: str | None = None

    def check(self, identity: Identity) -> None:
        """Say what has changed, before the server is asked; once for each change.

        Args:
            identity: what the request will hold.

        Raises:
            KeyFileError: the key can't be used.
        """
        now = self._accepted_identity(identity)
        try:
            record = self._journal.load()
        except StorageError as error:
            _logger.debug("cannot compare the identity with the accepted one: %s", error)
            return
        change = explain_change(record.accepted, now, identity, record.new_key)
        if change == self._said:
            return
        self._said = change
        if change:
            _logger.warning("%s", change)
        if change != record.identity_change:
            self._note(lambda current: current.with_identity_change(change))

    def accept(self, identity: Identity) -> None:
        """Remember what the server has just accepted.

        Args:
            identity: what the request held.

        Raises:
            KeyFileError: the key can't be used.
        """
        now = self._accepted_identity(identity)
        self._note(lambda record: record.accepted_as(now))

    def _accepted_identity(self, identity: Identity) -> AcceptedIdentity:
        return accepted_identity(identity, self._keys.public_key_pem(), self._keys.location)

    def _note(self, change: Callable[[Record], Record]) -> None:
        try:
            self._journal.update(change)
        except StorageError as error:
            _logger.warning("cannot remember what the server accepted: %s", error)
