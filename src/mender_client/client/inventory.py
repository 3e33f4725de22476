"""Inventory: the device's attributes, kept within the server's limits before they are sent."""

from __future__ import annotations

import logging

from mender_client.core.keyvalue import group_by_key
from mender_client.core.model import Attribute
from mender_client.core.ports import Clock, DeviceData, Journal
from mender_client.core.record import Record
from mender_client.core.text import printable
from mender_client.core.wire import build_inventory_request, fit_inventory, parse_inventory_reply
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic

from .auth import Session

_logger = logging.getLogger(__name__)
_NAMED_OF_LEFT_OUT = 10


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
        self._accepted: tuple[int, tuple[Attribute, ...]] | None = None
        self._reported_left_out: tuple[str, ...] = ()

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
        if not even_if_unchanged and self._accepted == (self.session.tokens_received, attributes):
            return False
        reply = self.session.call(lambda token: build_inventory_request(token, attributes))
        parse_inventory_reply(reply, now=self.clock.now())
        self._accepted = (self.session.tokens_received, attributes)
        _logger.info("inventory sent: %d attributes", len(attributes))
        return True

    def _warn_about(self, left_out: tuple[str, ...]) -> None:
        if left_out and left_out != self._reported_left_out:
            names = ", ".join(printable(name, limit=60) for name in left_out[:_NAMED_OF_LEFT_OUT])
            more = len(left_out) - _NAMED_OF_LEFT_OUT
            text = (
                "inventory: left out what the server would refuse (over 100 attributes, 1 MiB, or a name over 1024 "
                f"bytes or with a NUL): {names}{f' and {more} more' if more > 0 else ''}"
            )
            _logger.warning("%s", Diagnostic("INV01", text, remedy="let the inventory scripts print less"))
        self._reported_left_out = left_out


def collect_inventory(
    device: DeviceData, record: Record, *, version: str
) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """The inventory that the server would take, and the names of the attributes that it would refuse.

    Args:
        device: what it says about itself.
        record: what the last Artifact has added.
        version: of this client.

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
