"""What a key of ``mender.conf`` is, and the keys of other clients that have no effect here."""

from __future__ import annotations

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field

from .kinds import SECRET, Kind

if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Key:
    """One key of ``mender.conf``.

    Attributes:
        name: as it is written, with dots for keys inside an object.
        kind: tests and converts a value.
        default: the value when it is not given.
        form: type and unit, for people.
        help: what it does.
        example: a value as it may be written; None where the default serves as one.
    """

    name: str
    kind: Kind
    default: Any
    form: str
    help: str
    example: Any = None


def key(name: str, kind: Kind, help: str, default: Any = "", form: str = "", *, example: Any = None) -> Any:
    """Declare a key as a field of ``Config``; arguments as the attributes of ``Key``, form by default the kind's."""
    declared = Key(name, kind, default, form or kind.words, help, example)
    return field(default=default, repr=kind is not SECRET, metadata={"key": declared})


ACCEPTED_KEYS: tuple[str, ...] = ("HttpsClient.SSLEngine",)
"""Keys of other Mender clients that are accepted without effect."""

RETIRED_KEYS: tuple[str, ...] = (
    "Connectivity",
    "DBus",
    "UpdateControlMapBootExpirationTimeSeconds",
    "UpdateControlMapExpirationTimeSeconds",
    "BootUtilitiesGetNextActivePart",
    "BootUtilitiesSetActivePart",
    "ClientProtocol",
)
"""Keys that other Mender clients no longer use; accepted without effect."""
