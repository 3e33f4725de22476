"""The settings that can be changed while the server runs, as JSON values for the management API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mender_client.errors import ServerError
from mender_devserver.ratelimit import RateLimit

if TYPE_CHECKING:
    from mender_devserver.state import ServerState


NAMES = {
    "auto_accept": "true or false: accept every new device at once",
    "v2": "true or false: offer version 2 of the update poll, which the open-source server does not have",
    "token_seconds": "the lifetime of tokens issued from now on, in seconds",
    "link_seconds": "the lifetime of download links issued from now on, in seconds",
    "clock_offset_seconds": "the number of seconds by which the server's clock is ahead; may be negative",
    "rate_limit": "the limit of a device's requests, as REQUESTS/SECONDS, for example 5/20; null for no limit",
}
"""The name of each setting, and its description."""
_MOST_SECONDS = 10**10


def read_settings(state: ServerState) -> dict[str, Any]:
    """The current settings."""
    limit = state.rate_limit
    return {
        "auto_accept": state.devices.auto_accept,
        "v2": state.v2,
        "token_seconds": state.devices.token_seconds,
        "link_seconds": state.storage.link_seconds,
        "clock_offset_seconds": state.clock_offset_seconds,
        "rate_limit": f"{limit.requests}/{limit.window_seconds:g}" if limit else None,
    }


def apply_settings(state: ServerState, given: Mapping[str, Any]) -> None:
    """Change some settings; if one of them is invalid, none is changed.

    Raises:
        ServerError: 400, naming the invalid setting.
    """
    for name, value in given.items():
        if name not in NAMES:
            raise ServerError(f"cannot set '{name}': choose from {', '.join(NAMES)}", status=400)
        if not _fits(name, value):
            raise ServerError(f"cannot set {name} to {value!r}: it is {NAMES[name]}", status=400)
    for name, value in given.items():
        _set(state, name, value)


def _fits(name: str, value: object) -> bool:
    if name in ("auto_accept", "v2"):
        return isinstance(value, bool)
    if name == "rate_limit":
        return value is None or (isinstance(value, str) and _limit(value) is not None)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (-_MOST_SECONDS if name == "clock_offset_seconds" else 0) <= value <= _MOST_SECONDS


def _limit(text: str) -> RateLimit | None:
    requests, _, seconds = text.partition("/")
    try:
        limit = RateLimit(int(requests), float(seconds))
    except ValueError:
        return None
    return limit if limit.requests > 0 and 0 < limit.window_seconds <= _MOST_SECONDS else None


def _set(state: ServerState, name: str, value: Any) -> None:
    if name == "auto_accept":
        state.devices.auto_accept = value
    elif name == "v2":
        state.v2 = value
    elif name == "token_seconds":
        state.devices.token_seconds = float(value)
    elif name == "link_seconds":
        state.storage.link_seconds = float(value)
    elif name == "clock_offset_seconds":
        state.clock_offset_seconds = float(value)
    else:
        state.rate_limit = _limit(value) if value else None
