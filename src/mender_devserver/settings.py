"""The settings that may change while the server runs, as JSON values for the management."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mender_client.errors import ServerError
from mender_devserver.ratelimit import RateLimit

if TYPE_CHECKING:
    from mender_devserver.state import World


NAMES = {
    "auto_accept": "true or false: accept every new device at once",
    "v2": "true or false: offer the v2 way to ask for a deployment, which the open-source server does not",
    "token_seconds": "the life of a token given from now on",
    "link_seconds": "the life of a download link given from now on",
    "clock_offset_seconds": "how far the server's clock is ahead of the true time; may be negative",
    "rate_limit": "requests a device may make in a window, as REQUESTS/SECONDS, for example 5/20; null for any number",
}
"""Each setting, and what it means to a person."""


def read_settings(world: World) -> dict[str, Any]:
    """All settings as they stand."""
    limit = world.rate_limit
    return {
        "auto_accept": world.devices.auto_accept,
        "v2": world.v2,
        "token_seconds": world.devices.token_seconds,
        "link_seconds": world.storage.link_seconds,
        "clock_offset_seconds": world.clock_offset_seconds,
        "rate_limit": f"{limit.requests}/{limit.window_seconds:g}" if limit else None,
    }


def apply_settings(world: World, given: Mapping[str, Any]) -> None:
    """Change some settings; nothing changes when one of them is wrong.

    Raises:
        ServerError: 400, naming the wrong one.
    """
    for name, value in given.items():
        if name not in NAMES:
            raise ServerError(f"cannot set '{name}': choose from {', '.join(NAMES)}", status=400)
        if not _fits(name, value):
            raise ServerError(f"cannot set {name} to {value!r}: it is {NAMES[name]}", status=400)
    for name, value in given.items():
        _set(world, name, value)


def _fits(name: str, value: object) -> bool:
    if name in ("auto_accept", "v2"):
        return isinstance(value, bool)
    if name == "rate_limit":
        return value is None or (isinstance(value, str) and _limit(value) is not None)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return name == "clock_offset_seconds" or value >= 0


def _limit(text: str) -> RateLimit | None:
    requests, _, seconds = text.partition("/")
    try:
        return RateLimit(int(requests), float(seconds))
    except ValueError:
        return None


def _set(world: World, name: str, value: Any) -> None:
    if name == "auto_accept":
        world.devices.auto_accept = value
    elif name == "v2":
        world.v2 = value
    elif name == "token_seconds":
        world.devices.token_seconds = float(value)
    elif name == "link_seconds":
        world.storage.link_seconds = float(value)
    elif name == "clock_offset_seconds":
        world.clock_offset_seconds = float(value)
    else:
        world.rate_limit = _limit(value) if value else None
