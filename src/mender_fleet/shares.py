"""How many devices of a fleet are of each kind."""

from __future__ import annotations

from collections.abc import Sequence


def parse_shares(text: str) -> dict[str, int]:
    """The shares by kind of a text like ``healthy=95,failing=5``.

    Raises:
        ValueError: it is no such text, or all shares are 0.
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
    """Give each kind its share, and return those that have one.

    Args:
        shares: by kind; a kind that isn't named has none.
        kinds: all kinds, classes of Locust users.

    Raises:
        ValueError: a kind is named that there isn't.
    """
    known = {_short(one.__name__): one for one in kinds}
    if unknown := [name for name in shares if name not in known]:
        raise ValueError(f"there is no '{unknown[0]}'; there are {', '.join(sorted(known))}")
    for name, kind in known.items():
        kind.weight = shares.get(name, 0)  # type: ignore[attr-defined]  # of a Locust user
    return [kind for name, kind in known.items() if shares.get(name)]


def _short(name: str) -> str:
    """The name of a kind as it is typed: ``HealthyDevice`` is ``healthy``."""
    return name.lower().removesuffix("device") or name.lower()
