"""MessagePack, compared with the msgpack library."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.wire.deviceconnect import Message, decode, encode
from mender_client.core.wire.msgpack import MOST_LEVELS, MOST_MEMBERS, Extension, Int64, pack, unpack

_SCALARS = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=300) | st.binary(max_size=300)
)
VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20)
)


@given(VALUES)
def test_both_ways(value: object) -> None:
    """The library reads what we write, and we read what it writes, as the same value."""
    assert value == msgpack.unpackb(pack(value))
    assert value == unpack(msgpack.packb(value))


@pytest.mark.parametrize("size", [0, 1, 4, 8, 12, 16, 200, 256, 70000])
def test_extensions(size: int) -> None:
    """Values of extension types are preserved."""
    value = Extension(5, bytes(size))
    assert value == unpack(msgpack.packb(msgpack.ExtType(5, bytes(size))))
    assert value == unpack(pack(value))


def test_int64() -> None:
    """A number is written in 8 bytes on request."""
    assert b"\xd3" + bytes(7) + b"\x05" == pack(Int64(5))


@given(st.binary(max_size=200))
def test_anything(data: bytes) -> None:
    """Any bytes are decoded or refused."""
    try:
        unpack(data)
    except ValueError:
        return


BOMBS = {
    "a long list": b"\xdd\xff\xff\xff\xff",
    "a long map": b"\xdf\xff\xff\xff\xff",
    "a long text": b"\xdb\xff\xff\xff\xff",
    "long bytes": b"\xc6\xff\xff\xff\xff",
    "a long extension": b"\xc9\xff\xff\xff\xff\x01",
    "depth": b"\x91" * 100000,
    "depth of maps": b"\x81\xa1a" * (MOST_LEVELS + 1),
    "many": b"\xdc\x0f\xff" + b"\xc0" * (MOST_MEMBERS - 1) + b"\xc0",
    "lists in lists": b"\xdc\x00\x40" + (b"\xdc\x00\x80" + b"\xc0" * 128) * 64,
    "a list as a name": b"\x81\x90\xc0",
    "nothing": b"",
    "the byte that is no value": b"\xc1",
    "more than one value": b"\xc0\xc0",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    """Data that claims to be larger than it is, or too large, is refused immediately."""
    with pytest.raises(ValueError):  # noqa: PT011  # whatever it says
        unpack(BOMBS[name])


def test_message() -> None:
    """A message is a map of header and body; empty fields are left out, and numbers in properties are int64."""
    message = Message(2, "ack", "s", {"offset": 5, "user_id": "u"}, None)
    assert {"hdr": {"proto": 2, "typ": "ack", "sid": "s", "props": {"offset": 5, "user_id": "u"}}} == msgpack.unpackb(
        encode(message)
    )
    assert b"\xa6offset\xd3" in encode(message)
    assert message == decode(encode(message))
    assert {"hdr": {"proto": 1, "typ": "stop"}} == msgpack.unpackb(encode(Message(1, "stop")))


@given(VALUES)
def test_any_value_is_a_message_or_refused(value: object) -> None:
    """A value is a message with fields of the right types, or it is refused."""
    for document in (value, {"hdr": value}, {"hdr": {"proto": value, "typ": value}, "body": value}):
        try:
            message = decode(pack(document))
        except ValueError:
            continue
        assert isinstance(message.typ, str)
        assert isinstance(message.proto, int)
