"""Terminals, transfers and sessions in memory: messages with unusual content, or at unusual moments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from connect.world import FakeShell, World
from mender_client.connect.protocol.pace import FRAME_BYTES
from mender_client.connect.protocol.terminal import MOST_BYTES
from mender_client.connect.protocol.transfer import CHUNK_BYTES, WINDOW_CHUNKS
from mender_client.core.wire.deviceconnect import Message, Protocol, decode_body
from mender_client.core.wire.msgpack import pack

SHELL, FILES, CONTROL = Protocol.SHELL, Protocol.FILES, Protocol.CONTROL


def new_shell(world: World, **props: Any) -> FakeShell:
    """Open a terminal; returns its shell."""
    world.receive(Message(SHELL, "new", "s", {"user_id": "u", **props}))
    return world.shells.started[-1]


def ask(world: World, typ: str, path: str | Path) -> list[Message]:
    """Send a request of the file protocol."""
    return world.receive(Message(FILES, typ, "s", {"user_id": "u"}, pack({"path": str(path)})))


def chunk(world: World, offset: int, data: bytes | None = None) -> list[Message]:
    """Send a chunk of an upload, by default the last one."""
    return world.receive(Message(FILES, "file_chunk", "s", {"offset": offset}, data))


def acknowledge(world: World, offset: int) -> list[Message]:
    """Acknowledge a chunk of a download."""
    return world.receive(Message(FILES, "ack", "s", {"offset": offset}))


# -- terminals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (1, 0xFFFF, (1, 0xFFFF)),
        (0xFFFF, 1, (0xFFFF, 1)),
        (0, 40, None),
        (80, -1, None),
        (-1, 40, None),
        (0x10000, 40, None),
        (80, 0x10000, None),
        ("80", 40, None),
        (80, None, None),
    ],
)
def test_size_of_a_terminal(width: Any, height: Any, size: tuple[int, int] | None) -> None:
    """A size between 1 and 65535 is used for a new terminal and by resize; others leave the default or current one."""
    props = {"terminal_width": width, "terminal_height": height}
    assert (size or (80, 40)) == new_shell(World(), **props).size
    world = World()
    shell = new_shell(world, terminal_width=100, terminal_height=30)
    world.receive(Message(SHELL, "resize", "s", props))
    assert (size or (100, 30)) == shell.size


def test_output_of_a_shell_that_is_being_ended() -> None:
    """What a shell prints while it is being ended is read and discarded, even if nothing can be sent."""
    world = World()
    shell = new_shell(world)
    shell.is_slow_to_end = True
    world.receive(Message(SHELL, "stop", "s", {"user_id": "u"}))
    world.taken()
    world.is_congested = True
    world.terminals.connected(False)
    assert (FRAME_BYTES, 0.0) == shell.screen.room()
    shell.screen.output(b"too late")
    world.receive(Message(SHELL, "shell", "s", {"user_id": "u"}, b"too late"))
    assert ([], b"") == (world.taken(), shell.typed)


def test_output_without_a_connection() -> None:
    """While the connection is lost, nothing is read from a shell."""
    world = World()
    shell = new_shell(world)
    world.terminals.connected(False)
    assert 0 == shell.screen.room()[0]
    world.terminals.connected(True)
    assert FRAME_BYTES == shell.screen.room()[0]


def test_output_at_its_pace() -> None:
    """After a frame, nothing is read from a shell until the next frame may be sent."""
    world = World()
    shell = new_shell(world)
    shell.screen.output(b"x")
    size, seconds = shell.screen.room()
    assert (0, True) == (size, seconds > 0)
    world.timers.advance(seconds)
    assert FRAME_BYTES == shell.screen.room()[0]


def test_output_up_to_the_limit() -> None:
    """A session shows exactly as many bytes as it may, and ends with the next one."""
    world = World()
    shell = new_shell(world)
    shell.screen.output(bytes(MOST_BYTES))
    assert not shell.is_hung_up
    shell.screen.output(b"x")
    assert shell.is_hung_up


@pytest.mark.parametrize("keys", [{}, {"Sessions": {"StopExpired": False}}])
def test_shell_that_ends(keys: dict[str, Any]) -> None:
    """When a shell has ended, nothing of its terminal waits any more."""
    world = World(**keys)
    new_shell(world).screen.ended()
    assert 0 == world.timers.waiting


def test_user_who_is_gone_after_a_reconnection() -> None:
    """After a reconnection, a terminal is pinged as before, and ends if its user doesn't answer."""
    world = World()
    shell = new_shell(world)
    world.timers.advance(50)
    world.terminals.connected(False)
    world.terminals.connected(True)
    world.timers.advance(124)
    assert not shell.is_hung_up
    world.timers.advance(2)
    assert shell.is_hung_up


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typ", ["stat", "get_file", "put_file"])
@pytest.mark.parametrize("path", ["", "relative", "/a\0b", "/." * 2049])
def test_path_that_is_none(typ: str, path: str) -> None:
    """A path that is empty, relative, longer than 4096 characters or contains a zero byte is an invalid request."""
    (error,) = ask(World(), typ, path)
    assert ("error", 400) == (error.typ, decode_body(error)["code"])


def test_longest_path() -> None:
    """A path may have 4096 characters."""
    (info,) = ask(World(), "stat", "/." * 2048)
    assert "file_info" == info.typ


@pytest.mark.parametrize(
    ("props", "texts"),
    [
        ({}, ["invalid ack message: missing offset property", "invalid file chunk message: missing offset property"]),
        ({"offset": "0"}, ["invalid offset data type: require int64"] * 2),
    ],
)
def test_message_without_an_offset(tmp_path: Path, props: dict[str, Any], texts: list[str]) -> None:
    """An acknowledgement or chunk without an offset, or with one that is no number, is an error."""
    (tmp_path / "f").write_bytes(b"x")
    world = World()
    ask(world, "get_file", tmp_path / "f")
    (error,) = world.receive(Message(FILES, "ack", "s", props))
    acknowledge(world, 1)
    ask(world, "put_file", tmp_path / "g")
    (other,) = world.receive(Message(FILES, "file_chunk", "s", props, b"x"))
    assert texts == [decode_body(one)["err"] for one in (error, other)]


def test_user_without_a_name(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the user of a refused transfer, or says that the user is unknown."""
    for props, name in (({"user_id": "u"}, "user u"), ({}, "user (unknown)")):
        World().receive(Message(FILES, "stat", "s", props, pack({"path": ""})))
        assert caplog.messages[-1].endswith(name)


def test_messages_of_the_other_direction(tmp_path: Path) -> None:
    """A chunk during a download, and an acknowledgement during an upload, have no effect."""
    (tmp_path / "f").write_bytes(bytes(CHUNK_BYTES * 30))
    world = World()
    ask(world, "get_file", tmp_path / "f")
    assert [] == chunk(world, CHUNK_BYTES * 10)
    world.receive(Message(FILES, "error", "s"))
    ask(world, "put_file", tmp_path / "g")
    assert [] == acknowledge(world, 0)
    assert ["f"] == [one.name for one in tmp_path.iterdir()]


def test_acknowledgement_of_all_that_was_sent(tmp_path: Path) -> None:
    """A download ends when all of the file is acknowledged, neither at a pause before nor at an earlier chunk."""
    content = os.urandom(CHUNK_BYTES * (2 * WINDOW_CHUNKS + 1))
    (tmp_path / "f").write_bytes(content)
    world = World()
    ask(world, "get_file", tmp_path / "f")
    acknowledge(world, CHUNK_BYTES * WINDOW_CHUNKS)
    acknowledge(world, CHUNK_BYTES * WINDOW_CHUNKS * 2)
    assert content == b"".join(one.body or b"" for one in world.taken())
    acknowledge(world, CHUNK_BYTES * WINDOW_CHUNKS * 2)
    (error,) = ask(world, "get_file", tmp_path / "f")
    assert 409 == decode_body(error)["code"]
    acknowledge(world, len(content))
    assert "file_chunk" == ask(world, "get_file", tmp_path / "f")[0].typ


def test_chunk_after_the_last_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After the last chunk of an upload, neither another chunk nor the end of the session changes what is stored."""
    caplog.set_level("INFO")
    world = World()
    world.disk.is_held = True
    ask(world, "put_file", tmp_path / "f")
    chunk(world, 0, b"all")
    for data in (None, b"more", None):
        assert [] == chunk(world, 3, data)
    world.receive(Message(CONTROL, "close", "s"))
    (work,) = world.disk.held
    work()
    assert [("f", "all")] == [(one.name, one.read_text()) for one in tmp_path.iterdir()]
    assert [True, False] == [word in caplog.text for word in ("f received from user u", "not received")]


def test_acknowledgement_after_an_error(tmp_path: Path) -> None:
    """An upload that has failed isn't acknowledged afterwards."""
    world = World()
    ask(world, "put_file", tmp_path / "f")
    chunk(world, 0, b"x")
    assert ["error"] == [one.typ for one in chunk(world, 7, b"x")]
    world.taken()
    world.timers.advance(1)
    assert [] == world.taken()


def test_upload_that_cannot_be_put_in_place(tmp_path: Path) -> None:
    """If a directory has taken the name of an upload meanwhile, the user is told, and may send another file."""
    world = World()
    ask(world, "put_file", tmp_path / "f")
    (tmp_path / "f").mkdir()
    (error,) = chunk(world, 0)
    assert ("error", "put_file") == (error.typ, decode_body(error)["msgtype"])
    assert ["ack"] == [one.typ for one in ask(world, "put_file", tmp_path / "g")]


# -- sessions -----------------------------------------------------------------------------------------------------


def test_upload_of_a_user_who_types(tmp_path: Path) -> None:
    """A transfer doesn't end while its user types in the terminal of the same session."""
    world = World()
    shell = new_shell(world)
    ask(world, "put_file", tmp_path / "f")
    for _ in range(4):
        world.timers.advance(40)
        world.receive(Message(SHELL, "shell", "s", {"user_id": "u"}, b"x"))
    chunk(world, 0)
    assert (b"xxxx", ["f"]) == (shell.typed, [one.name for one in tmp_path.iterdir()])


@pytest.mark.parametrize(("body", "is_open"), [({"close": True}, False), ({"close": False}, True), ({}, True)])
def test_error_of_the_remote_side(tmp_path: Path, body: dict[str, Any], *, is_open: bool) -> None:
    """An error of the remote side ends a session and its transfers only if it says so."""
    world = World()
    ask(world, "put_file", tmp_path / "f")
    world.receive(Message(CONTROL, "error", "s", {}, pack({"err": "failed", **body})))
    chunk(world, 0)
    assert is_open == (tmp_path / "f").exists()
