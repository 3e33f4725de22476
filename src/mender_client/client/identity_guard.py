"""Guards the identity: the device never appears to the server as another device without a warning."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.accepted_identity import accepted_identity, explain_change, has_real_value
from mender_client.core.model import AcceptedIdentity, Identity
from mender_client.core.record import Record
from mender_client.core.text import printable
from mender_client.dataclass import dataclass, replace
from mender_client.errors import Diagnostic, NotReadyError, StorageError

if TYPE_CHECKING:
    from mender_client.core.ports import Journal, KeyStore

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class IdentityGuard:
    """Compares the identity and key that the device is about to use with those that the server accepted last.

    Attributes:
        claim: called with an identity before it is used; raises an error if it must not be used.

    A change only causes a warning, since it may be intended. A full disk doesn't prevent authentication either. But
    identities without a real value, such as scripts print before a network interface is up, are held back: the server
    would take each of them for a new device.
    """

    journal: Journal
    keys: KeyStore
    claim: Callable[[Identity], None] = lambda _: None

    def __post_init__(self) -> None:
        self._said: tuple[Diagnostic, ...] | None = None

    def check(self, identity: Identity) -> None:
        """Warn about changes before the device authenticates, once for each change.

        Raises:
            KeyFileError: the key can't be used.
            NotReadyError: the identity has no real value and the server has not accepted it before; or as ``claim``.
        """
        self.claim(identity)
        now = self._accepted_identity(identity)
        try:
            record = self.journal.load()
        except StorageError as error:
            _logger.debug("cannot compare the identity with the accepted one: %s", error)
            record = Record()
        if not has_real_value(identity) and (record.accepted is None or record.accepted.identity != now.identity):
            text = f"cannot use the identity {printable(identity.id_data)}: none of its values identifies a device"
            remedy = "make the identity script print the MAC address of an interface, or a serial number"
            raise NotReadyError("IDN03", text, remedy=remedy)
        changes = explain_change(record.accepted, now, identity, record.new_key)
        if changes == self._said:
            return
        for one in changes:
            if one not in (self._said or ()):
                _logger.warning("%s", one)
        self._said = changes
        change = "; ".join(map(str, changes))
        if change != record.identity_change:
            self._note(lambda current: replace(current, identity_change=change))

    def accept(self, identity: Identity) -> None:
        """Store the identity that the server has just accepted.

        Raises:
            KeyFileError: the key can't be used.
        """
        now = self._accepted_identity(identity)
        self._note(lambda record: record.accepted_as(now))

    def _accepted_identity(self, identity: Identity) -> AcceptedIdentity:
        return accepted_identity(identity, self.keys.public_key_pem(), self.keys.location)

    def _note(self, change: Callable[[Record], Record]) -> None:
        try:
            self.journal.update(change)
        except StorageError as error:
            text = f"cannot store the identity that the server accepted: {error.text}"
            _logger.warning("%s", Diagnostic("AUT03", text, remedy=error.remedy))
