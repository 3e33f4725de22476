"""Port forwarding in memory: which messages are sent, and when."""

from __future__ import annotations

from typing import Any

import pytest

from connect.world import World
from mender_client.connect.protocol.forward import (
    MOST_CONNECTIONS,
    MOST_CONNECTIONS_OF_ALL,
    MOST_WAITING_BYTES,
    MOST_WAITING_BYTES_OF_ALL,
    MOST_WAITING_MESSAGES,
)
from mender_client.core.wire.deviceconnect import Message, Protocol, decode, decode_body, encode
from mender_client.core.wire.msgpack import pack

SHELL, PORTS = Protocol.SHELL, Protocol.PORTS


def dial(world: World, name: str = "c", sid: str = "s", **body: Any) -> list[Message]:
    """Ask for a connection."""
    wanted = {"remote_host": "127.0.0.1", "remote_port": 80, "protocol": "tcp", **body}
    return world.receive(Message(PORTS, "new", sid, {"connection_id": name}, pack(wanted)))


def test_bytes_before_the_connection() -> None:
    """Data that a user sends before the connection is open is sent when it opens, and acknowledged afterwards."""
    world = World()
    assert [] == dial(world)
    assert [] == world.receive(Message(PORTS, "forward", "s", {"connection_id": "c"}, b"early"))
    (link,) = world.links.links
    link.user.connected()
    assert ["new", "ack"] == [one.typ for one in world.taken()]
    assert [b"early"] == link.sent


def test_one_message_under_way() -> None:
    """The next message is sent when the previous one is acknowledged; an extra acknowledgement has no effect."""
    world = World()
    dial(world)
    (link,) = world.links.links
    link.user.connected()
    link.say(b"one", b"two", b"three", None)
    for expected in (["new", "forward"], ["forward"], ["forward", "stop"]):
        assert expected == [one.typ for one in world.taken()]
        world.receive(Message(PORTS, "ack", "s", {"connection_id": "c"}))
    assert link.is_closed
    world.receive(Message(PORTS, "ack", "s", {"connection_id": "c"}))
    assert ["error", "error"] == [one.typ for one in world.taken()]


@pytest.mark.parametrize("is_connected", [True, False])
@pytest.mark.parametrize(("size", "count"), [(MOST_WAITING_BYTES // 4, 4), (1, MOST_WAITING_MESSAGES)])
def test_connection_that_is_not_read(size: int, count: int, *, is_connected: bool) -> None:
    """A connection is closed when more bytes or messages than allowed wait, before it opens or since it isn't read."""
    world = World()
    dial(world)
    (link,) = world.links.links
    link.is_deaf = True
    if is_connected:
        link.user.connected()
    world.taken()
    for number in range(count):
        assert [] == world.receive(Message(PORTS, "forward", "s", {"connection_id": "c"}, bytes(size))), number
    assert not link.is_closed
    world.receive(Message(PORTS, "forward", "s", {"connection_id": "c"}, bytes(size)))
    assert (True, ["error", "stop"]) == (link.is_closed, [one.typ for one in world.taken()])


def test_most_connections() -> None:
    """The limit on connections counts those of all sessions, and a closed connection makes room for another."""
    world = World()
    for number in range(MOST_CONNECTIONS_OF_ALL):
        assert [] == dial(world, f"c{number}", f"s{number // MOST_CONNECTIONS}")
    (error,) = dial(world, "more", "another")
    assert "too many connections" == decode_body(error)["err"]
    world.links.links[0].user.failed("refused")
    world.receive(Message(PORTS, "stop", "s1", {"connection_id": f"c{MOST_CONNECTIONS}"}))
    assert [] == [*dial(world, "more", "another"), *dial(world, "even more", "another")]
    world.sessions.close()
    assert (0, 0) == (world.port_use.connections, world.port_use.waiting_bytes)


def test_most_bytes_for_connections() -> None:
    """There is a limit on the total data that waits for the remote sides of all connections."""
    world = World()
    size = MOST_WAITING_BYTES // 2
    wanted = MOST_WAITING_BYTES_OF_ALL // size
    for number in range(wanted + 1):
        dial(world, f"c{number}")
        world.receive(Message(PORTS, "forward", "s", {"connection_id": f"c{number}"}, bytes(size)))
    assert [False] * wanted + [True] == [link.is_closed for link in world.links.links]


def test_long_names() -> None:
    """The length of stored names that a peer chooses is limited."""
    world = World()
    (error,) = dial(world, "c" * 129)
    assert "error" == error.typ
    assert not world.links.links
    for message in (
        Message(SHELL, "new", "s" * 257),
        Message(SHELL, "n" * 257, "s"),
        Message(SHELL, "new", "s", {"user_id": "u" * 4097}),
    ):
        with pytest.raises(ValueError, match="has more than"):
            decode(encode(message))


def test_name_in_use() -> None:
    """A new connection with the name of an open one replaces it."""
    world = World()
    dial(world)
    assert [] == dial(world)
    assert [True, False] == [link.is_closed for link in world.links.links]
    assert 1 == world.port_use.connections


def test_what_is_unknown() -> None:
    """Unknown types of messages and unknown protocols are answered with errors, and open nothing."""
    world = World()
    (error,) = dial(world, protocol="sctp")
    assert "unknown protocol: sctp" == decode_body(error)["err"]
    dial(world)
    (error,) = world.receive(Message(PORTS, "wat", "s", {"connection_id": "c"}))
    assert "unknown message type" == decode_body(error)["err"]
    assert [False] == [link.is_closed for link in world.links.links]


def test_ipv6_and_udp() -> None:
    """IPv6 addresses are accepted with and without brackets, for TCP and UDP."""
    world = World()
    dial(world, remote_host="[::1]")
    dial(world, "d", remote_host="::1", protocol="udp")
    assert [("::1", 80, False), ("::1", 80, True)] == world.links.opened


def test_empty_datagram() -> None:
    """An empty datagram is passed on in both directions; an empty TCP message is only acknowledged."""
    for kind, sent, said in (("udp", [b""], ["new", "forward", "ack"]), ("tcp", [], ["new", "ack"])):
        world = World()
        dial(world, protocol=kind)
        (link,) = world.links.links
        link.user.connected()
        if kind == "udp":
            link.say(b"")
        world.receive(Message(PORTS, "forward", "s", {"connection_id": "c"}))
        assert (sent, said) == (link.sent, [one.typ for one in world.taken()])


def test_datagram_that_is_too_long() -> None:
    """An oversized datagram is reported as an error and acknowledged; the connection stays open."""
    world = World()
    dial(world, protocol="udp")
    (link,) = world.links.links
    link.user.connected()
    world.taken()
    for size, said in ((65507, ["ack"]), (65508, ["error", "ack"]), (1, ["ack"])):
        answers = world.receive(Message(PORTS, "forward", "s", {"connection_id": "c"}, bytes(size)))
        assert said == [one.typ for one in answers]
    assert [65507, 1] == [len(one) for one in link.sent]
    assert not link.is_closed


def test_idle_connection() -> None:
    """A connection is closed when its remote side has been silent for ten minutes, and not earlier."""
    world = World()
    dial(world)
    (link,) = world.links.links
    link.user.connected()
    for seconds in range(0, 900, 30):
        assert not link.is_closed, seconds
        if seconds == 300:
            link.say(b"x")
        world.timers.advance(30)
        world.receive(Message(Protocol.CONTROL, "pong", "s"))
    assert link.is_closed
