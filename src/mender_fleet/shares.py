"""The shares of the kinds of devices in a fleet."""

from __future__ import annotations

from collections.abc import Sequence


def parse_shares(text: str) -> dict[str, int]:
    """Parse the shares by kind from a text like ``healthy=95,failing=5``.

    Raises:
        ValueError: the text has another form, or all shares are 0.
    """
    shares: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if not name.strip() or not number.strip().isdecimal():
            raise ValueError(f"'{part.strip()}' isn't KIND=NUMBER")
        shares[_short(name.strip())] = int(number)
    if not any(shares.values()):
        raise ValueError("all shares are 0")
    return shares


def apply_shares(shares: dict[str, int], kinds: Sequence[type]) -> list[type]:
    """Set the share of each kind, and return the kinds that have one.

    Args:
        shares: the shares by kind; a kind that isn't named has none.
        kinds: all kinds, which are classes of Locust users.

    Raises:
        ValueError: a kind is unknown.
    """
    known = {_short(one.__name__): one for one in kinds}
    if unknown := [name for name in shares if name not in known]:
        raise ValueError(f"there is no '{unknown[0]}'; there are {', '.join(sorted(known))}")
    for name, kind in known.items():
        kind.weight = shares.get(name, 0)  # type: ignore[attr-defined]  # an attribute of Locust users
    return [kind for name, kind in known.items() if shares.get(name)]


def _short(name: str) -> str:
    """The name of a kind on the command line: ``healthy`` for ``HealthyDevice``."""
    return name.lower().removesuffix("device") or name.lower()
