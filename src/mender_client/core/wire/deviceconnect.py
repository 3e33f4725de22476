"""The device connect service: the request that opens its websocket, and the messages that are sent over it.

A message is a MessagePack map ``{"hdr": {"proto", "typ", "sid", "props"}, "body"}``; empty fields are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from mender_client import TYPE_CHECKING
from mender_client.core.model import Token
from mender_client.dataclass import dataclass, field

from .messages import Request
from .msgpack import Int64, pack, unpack

if TYPE_CHECKING:
    from typing import Any

CONNECT_PATH = "/api/devices/v1/deviceconnect/connect"
MOST_MESSAGE_BYTES = 1024 * 1024
"""The longest message that a device accepts; the server accepts 8 MiB."""
LONGEST_ID = 256
LONGEST_PROPERTY = 4096


class Protocol(IntEnum):
    """The protocols to which messages belong."""

    SHELL = 1
    FILES = 2
    PORTS = 3
    CLIENT = 4
    CONTROL = 0xFFFF


class ShellStatus(IntEnum):
    """The property ``status`` of messages about terminals and the client."""

    NORMAL = 1
    ERROR = 2
    CONTROL = 3


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        proto: a ``Protocol``, or another number that the peer has sent.
        typ: its type.
        sid: the ID of the session; empty for none.
        props: the properties. Whole numbers are written as int64, the only form that the server reads.
        body: the body; None if there is none, which differs from an empty one.
    """

    proto: int
    typ: str
    sid: str = ""
    props: Mapping[str, Any] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)


def encode(message: Message) -> bytes:
    """Encode a message."""
    header: dict[str, Any] = {"proto": message.proto, "typ": message.typ}
    if message.sid:
        header["sid"] = message.sid
    if message.props:
        header["props"] = {name: _wide(value) for name, value in message.props.items()}
    return pack({"hdr": header} if message.body is None else {"hdr": header, "body": message.body})


def _wide(value: Any) -> Any:
    is_wide = isinstance(value, int) and not isinstance(value, bool) and value < 1 << 63
    return Int64(value) if is_wide else value


def decode(data: bytes) -> Message:
    """Decode a message.

    Raises:
        ValueError: the bytes aren't a valid message.
    """
    document = unpack(data)
    header = document.get("hdr") if isinstance(document, dict) else None
    if not isinstance(header, dict):
        raise ValueError("it has no header")
    proto, typ, sid, props = (header.get(name) for name in ("proto", "typ", "sid", "props"))
    body = document.get("body")
    is_right = (
        (proto is None or (isinstance(proto, int) and not isinstance(proto, bool)))
        and isinstance(typ or "", str)
        and isinstance(sid or "", str)
        and isinstance(props or {}, dict)
        and isinstance(body, bytes | str | None)
    )
    if not is_right:
        raise ValueError("its header or body has a wrong type")
    if max(len(typ or ""), len(sid or "")) > LONGEST_ID:
        raise ValueError(f"its type or its session has more than {LONGEST_ID} characters")
    named = {name: value for name, value in (props or {}).items() if isinstance(name, str)}
    if any(isinstance(value, (str, bytes)) and len(value) > LONGEST_PROPERTY for value in named.values()):
        raise ValueError(f"a property has more than {LONGEST_PROPERTY} characters")
    return Message(proto or 0, typ or "", sid or "", named, body.encode() if isinstance(body, str) else body)


def decode_body(message: Message) -> dict[str, Any]:
    """Decode the object in a body.

    Raises:
        ValueError: the body contains no object; the text is ``EOF`` if there is no body.
    """
    if not message.body:
        raise ValueError("EOF")
    found = unpack(message.body)
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    return found


def number_of(values: Mapping[str, Any], name: str) -> int | None:
    """A whole number of any width among properties or in a body; None for anything else."""
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text_of(values: Mapping[str, Any], name: str) -> str:
    """A text among properties or in a body; empty for anything else."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def build_connect_request(token: Token, key: str) -> Request:
    """The request that upgrades a connection to a websocket (RFC 6455).

    Args:
        token: the token of this device.
        key: 16 random bytes, in base64.
    """
    headers = {
        "Authorization": f"Bearer {token.value}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    return Request("GET", token.server_url + CONNECT_PATH, headers)
