"""The configuration service: reports the configuration that the device has applied."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mender_client.core.model import Token

from .messages import MAXIMUM_BODY_BYTES, Reply, Request, expect_taken, from_json, json_request

CONFIGURATION_PATH = "/api/devices/v1/deviceconfig/configuration"

_MOST_KEYS = 100
_MOST_CHARACTERS = 4096


def parse_configuration(text: str) -> Mapping[str, str]:
    """Parse a configuration as it is stored on the device: a JSON object of strings; ``null`` is an empty one.

    Raises:
        ValueError: it is invalid, or the server would refuse it: more than 100 keys, an empty key, or a key or value of
            more than 4096 characters.
    """
    values = from_json(text.encode("utf-8", "surrogatepass"))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    if len(values) > _MOST_KEYS:
        raise ValueError(f"it has {len(values)} keys, more than {_MOST_KEYS}")
    for key, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"the value of {key!r:.60} is not a string")
        if not 1 <= len(key) <= _MOST_CHARACTERS or len(value) > _MOST_CHARACTERS:
            raise ValueError(f"the key {key!r:.60} is empty, or it or its value is longer than {_MOST_CHARACTERS}")
    return values


def build_configuration_report(token: Token, configuration: Mapping[str, str]) -> Request:
    """Report the whole configuration; it replaces the one that was reported before.

    Raises:
        ValueError: it is larger than the server's limit, 1 MiB.
    """
    request = json_request("PUT", token.server_url + CONFIGURATION_PATH, token, dict(configuration))
    if len(request.body) > MAXIMUM_BODY_BYTES:
        raise ValueError(f"it has {len(request.body)} bytes, more than {MAXIMUM_BODY_BYTES}")
    return request


def parse_configuration_reply(reply: Reply, *, now: datetime) -> None:
    """Check the reply to a configuration: return if the server has accepted it.

    Raises:
        UnauthorizedError: 401.
        ServerError: any other reply.
    """
    expect_taken("report the configuration", reply, now=now)
