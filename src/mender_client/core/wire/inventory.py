"""The inventory service: sends the device's attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from mender_client.core.model import Attribute, Token

from .messages import MAXIMUM_BODY_BYTES, Reply, Request, expect_taken, json_request, to_json

INVENTORY_PATH = "/api/devices/v1/inventory/device/attributes"

MAXIMUM_ATTRIBUTES = 100
MAXIMUM_ATTRIBUTE_NAME = 1024


def fit_inventory(attributes: Iterable[Attribute]) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """The attributes that the server will accept, and the names of those left out.

    The server stores nothing at all if a limit is exceeded: 100 attributes, 1 MiB, names of 1 to 1024 bytes without
    a NUL. The first attributes take precedence.
    """
    kept: list[Attribute] = []
    left_out: list[str] = []
    room = MAXIMUM_BODY_BYTES - 2
    for attribute in attributes:
        size = len(to_json(_attribute_entry(attribute))) + 1
        if len(kept) < MAXIMUM_ATTRIBUTES and _is_attribute_name(attribute.name) and size <= room:
            kept.append(attribute)
            room -= size
        else:
            left_out.append(attribute.name)
    return tuple(kept), tuple(left_out)


def _is_attribute_name(name: str) -> bool:
    return 1 <= len(name.encode("utf-8", "replace")) <= MAXIMUM_ATTRIBUTE_NAME and "\0" not in name


def build_inventory_request(token: Token, attributes: Sequence[Attribute]) -> Request:
    """Send the whole inventory; it replaces the one on the server."""
    body = [_attribute_entry(attribute) for attribute in attributes]
    return json_request("PUT", token.server_url + INVENTORY_PATH, token, body)


def parse_inventory_reply(reply: Reply, *, now: datetime) -> None:
    """Check the reply to an inventory: return if the server has accepted it.

    Raises:
        UnauthorizedError: 401.
        ServerError: any other reply.
    """
    expect_taken("send the inventory", reply, now=now)


def _attribute_entry(attribute: Attribute) -> dict[str, object]:
    value = attribute.value
    return {"name": attribute.name, "value": value if isinstance(value, str) else list(value)}
