"""The declaration of a key of ``mender.conf``, and the keys of other clients that have no effect here."""

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
        kind: checks and converts a value.
        default: the value if the key is not given.
        form: the type and unit, for people.
        help: what the key does.
        example: a value as it is written in the file; None if the default serves as an example.
    """

    name: str
    kind: Kind
    default: Any
    form: str
    help: str
    example: Any = None


@dataclass(frozen=True)
class KeySet:
    """The keys of one kind of file.

    Attributes:
        keys: the keys that have an effect.
        silent: the names of keys that are accepted without effect.
        closed: the objects in which an unknown key is an error rather than a warning.
    """

    keys: tuple[Key, ...]
    silent: tuple[str, ...]
    closed: tuple[str, ...] = ()

    @property
    def groups(self) -> frozenset[str]:
        """The objects that contain keys, in lower case, with dots between nested names."""
        names = [key.name.lower().split(".") for key in self.keys]
        return frozenset(".".join(parts[:count]) for parts in names for count in range(1, len(parts)))

    def suggest(self, name: str) -> str:
        """The key that is most similar to a wrong name; empty when none is similar."""
        from difflib import get_close_matches

        known = {key.name.lower(): key.name for key in self.keys}
        close = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        return known[close[0]] if close else ""


def key(name: str, kind: Kind, help: str, default: Any = "", form: str = "", *, example: Any = None) -> Any:
    """Declare a key as a field of ``Config``; arguments as the attributes of ``Key``, ``form`` defaults to the kind."""
    declared = Key(name, kind, default, form or kind.words, help, example)
    return field(default=default, repr=kind is not SECRET, metadata={"key": declared})


ACCEPTED_KEYS: tuple[str, ...] = ("HttpsClient.SSLEngine",)
"""Keys of other Mender clients that are accepted without effect."""

CLOSED_OBJECTS: tuple[str, ...] = ("UpdateGates",)
"""Objects in which an unknown key is an error: a gate with a misspelt name would be open."""

RETIRED_KEYS: tuple[str, ...] = (
    "Connectivity",
    "DBus",
    "UpdateControlMapBootExpirationTimeSeconds",
    "UpdateControlMapExpirationTimeSeconds",
    "BootUtilitiesGetNextActivePart",
    "BootUtilitiesSetActivePart",
    "ClientProtocol",
)
"""Keys that other Mender clients no longer use; they are accepted without effect."""
