"""Inventory: the device's attributes, kept within the server's limits before they are sent."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mender_client import TYPE_CHECKING
from mender_client.core.keyvalue import group_by_key
from mender_client.core.model import Attribute
from mender_client.core.record import Record
from mender_client.core.text import printable
from mender_client.core.wire.inventory import build_inventory_request, fit_inventory, parse_inventory_reply
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, ServerError

from .auth import Session

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, DeviceData, Journal

_logger = logging.getLogger(__name__)
_NAMED_OF_LEFT_OUT = 10
_BAD_REQUEST = 400
_MOST_REFUSED = 3
"""How many refused attributes are searched for; finding one among n attributes takes about log2(n) requests."""


@dataclass(kw_only=True, eq=False, repr=False)
class InventorySender:
    """Collects the inventory and sends it when it has changed.

    Attributes:
        version: the version of this client, sent as ``mender_client_version``.
    """

    session: Session
    clock: Clock
    device: DeviceData
    journal: Journal
    version: str

    def __post_init__(self) -> None:
        self._accepted = 0
        self._reported_left_out: tuple[str, ...] = ()
        self._refused: dict[str, Attribute] = {}
        self._searched: frozenset[str] = frozenset()

    def send(self, *, even_if_unchanged: bool = False) -> bool:
        """Send the inventory.

        An inventory that the server has accepted is not sent again with the same token; a new token may mean that the
        device was decommissioned and accepted again.

        Args:
            even_if_unchanged: send it in any case.

        Returns:
            Whether it was sent.

        Raises:
            MenderError: it could not be collected or sent.
        """
        attributes, left_out = collect_inventory(self.device, self.journal.load(), version=self.version)
        self._warn_about(left_out)
        sent = hash((self.session.tokens_received, attributes))  # a hash, to save memory: there may be many clients
        if not even_if_unchanged and self._accepted == sent:
            return False
        count = self._send_accepted(attributes)
        self._accepted = sent
        _logger.info("inventory sent: %d attributes", count)
        return True

    def _send_accepted(self, attributes: Sequence[Attribute]) -> int:
        """Send all attributes except those that the server refuses; return how many were sent.

        One refused attribute makes the server refuse the whole request. It is left out until its value changes.
        """
        sent = [one for one in attributes if self._refused.get(one.name) != one]
        error = self._refusal_of(sent)
        if error is None:
            self._searched = frozenset()
            return len(sent)
        changed = [one for one in sent if one.name in self._refused]
        rest = [one for one in sent if one not in changed]
        if not changed or self._refusal_of(rest) is not None:
            changed = self._search(sent, error)
            rest = [one for one in sent if one not in changed]
        self._leave_out(changed, error, among=attributes)
        return len(rest)

    def _search(self, attributes: Sequence[Attribute], error: ServerError) -> list[Attribute]:
        """Find the attributes without which the server accepts the inventory.

        A search that found none is not repeated while the names of the attributes stay the same.

        Raises:
            ServerError: the server accepts none of the combinations that were tried.
        """
        names = frozenset(one.name for one in attributes)
        if names == self._searched:
            raise error
        found: list[Attribute] = []
        rest = list(attributes)
        while rest and len(found) < _MOST_REFUSED:
            found.append(self._halve(rest))
            rest.remove(found[-1])
            if self._refusal_of(rest) is None:
                if self._refusal_of(found) is not None:  # a refused request replaces nothing on the server
                    return found
                break  # the server now accepts what it refused before
        if (last := self._refusal_of(attributes)) is not None:
            self._searched = names
            raise last
        return []

    def _halve(self, attributes: list[Attribute]) -> Attribute:
        """Find, by bisection, one attribute that makes the server refuse the request."""
        while len(attributes) > 1:
            half = len(attributes) // 2
            is_refused = self._refusal_of(attributes[:half]) is not None
            attributes = attributes[:half] if is_refused else attributes[half:]
        return attributes[0]

    def _refusal_of(self, attributes: Sequence[Attribute]) -> ServerError | None:
        """Send these attributes; return the error if the server answers 400."""
        reply = self.session.call(lambda token: build_inventory_request(token, attributes))
        try:
            parse_inventory_reply(reply, now=self.clock.now())
        except ServerError as error:
            if error.status != _BAD_REQUEST:
                raise
            return error
        return None

    def _leave_out(self, found: list[Attribute], error: ServerError, *, among: Sequence[Attribute]) -> None:
        if new := [one.name for one in found if one.name not in self._refused]:
            text = f"inventory: left out {_listed(new)}, which the server rejects: {error.text}"
            _logger.warning("%s", Diagnostic("INV02", text, remedy="make the inventory scripts print other values"))
        names = {one.name for one in among}
        refused = {**self._refused, **{one.name: one for one in found}}
        self._refused = {name: one for name, one in refused.items() if name in names}

    def _warn_about(self, left_out: tuple[str, ...]) -> None:
        if left_out and left_out != self._reported_left_out:
            text = (
                "inventory: left out attributes that the server would reject (over 100 attributes, 1 MiB, or a name "
                f"over 1024 bytes or with a NUL): {_listed(left_out)}"
            )
            _logger.warning("%s", Diagnostic("INV01", text, remedy="make the inventory scripts print less"))
        self._reported_left_out = left_out


def collect_inventory(
    device: DeviceData, record: Record, *, version: str
) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """The inventory within the server's limits, and the names of the attributes that are left out.

    Args:
        device: the source of the attributes.
        record: supplies what the last Artifact provides.
        version: the version of this client.

    Raises:
        StorageError: what is installed, or the device type, can't be read.
    """
    provides = record.provides(device.provides())
    own = {
        "device_type": (provides.device_type,),
        "artifact_name": (provides.artifact_name,),
        "mender_client_version": (version,),
    }
    outputs = device.inventory()
    grouped = group_by_key(pair for output in outputs for pair in output.pairs if pair[0] not in own)
    software = {name: (value,) for name, value in provides.others.items() if name not in grouped}
    return fit_inventory(
        [
            Attribute(name, values[0] if len(values) == 1 else values)
            for name, values in {**own, **software, **grouped}.items()
        ]
    )


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(printable(name, limit=60) for name in names[:_NAMED_OF_LEFT_OUT])
    more = len(names) - _NAMED_OF_LEFT_OUT
    return f"{listed} and {more} more" if more > 0 else listed
