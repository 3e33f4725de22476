"""Sessions, terminals and transfers in memory: which messages are sent, and when."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from connect.world import World, config_of
from mender_client.connect.openfiles import open_file
from mender_client.connect.protocol.pace import FRAME_BYTES, Pace
from mender_client.connect.protocol.sessions import MOST_SESSIONS
from mender_client.connect.protocol.terminal import GONE_SECONDS, MOST_SHELLS
from mender_client.connect.protocol.transfer import CHUNK_BYTES, WINDOW_CHUNKS
from mender_client.core.wire.deviceconnect import Message, Protocol, decode, decode_body, encode
from mender_client.core.wire.msgpack import Extension, pack

SHELL, FILES = Protocol.SHELL, Protocol.FILES


def said(messages: list[Message]) -> list[tuple[str, Any]]:
    """The type of each message with its status or body."""
    return [(one.typ, one.props.get("status", one.body)) for one in messages]


def ask(world: World, typ: str, sid: str = "s", **body: Any) -> list[Message]:
    """Send a request of the file protocol."""
    return world.receive(Message(FILES, typ, sid, {"user_id": "u"}, pack(body)))


def new_shell(world: World, sid: str = "s", user: str = "u") -> list[Message]:
    """Open a terminal."""
    return world.receive(Message(SHELL, "new", sid, {"user_id": user}))


# -- sessions -----------------------------------------------------------------------------------------------------


def test_silent_session() -> None:
    """A session that is silent for 48 s is pinged, and ended 12 s later, so that nothing of it waits any more."""
    world = World()
    world.receive(Message(Protocol.CONTROL, "ping", "s"))
    world.taken()
    world.timers.advance(47)
    assert [] == world.taken()
    world.timers.advance(2)
    assert [("ping", None)] == said(world.taken())
    world.timers.advance(12)
    (error,) = world.taken()
    assert {"err": "session timeout", "close": True} == decode_body(error)
    assert 0 == world.timers.waiting


@pytest.mark.parametrize(
    ("typ", "body", "answer"),
    [
        ("open", {"versions": [1]}, {"version": 1}),
        ("open", {"versions": [2]}, {"err": "handshake rejected: require version 1", "close": True}),
        ("accept", {"version": 2}, {"err": "unsupported protocol version 2: require version 1", "close": True}),
    ],
)
def test_version_of_the_protocol(typ: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
    """A session of another version of the protocol is refused."""
    (message,) = World().receive(Message(Protocol.CONTROL, typ, "s", {}, pack(body)))
    assert answer.items() <= decode_body(message).items()


def test_answered_session() -> None:
    """A session that answers its pings is never ended."""
    world = World()
    world.receive(Message(Protocol.CONTROL, "ping", "s"))
    for _ in range(20):
        world.timers.advance(49)
        world.receive(Message(Protocol.CONTROL, "pong", "s"))
    assert ["pong", *["ping"] * 20] == [one.typ for one in world.taken()]


def test_sessions_without_end() -> None:
    """The number of sessions that a peer can open is limited; silent ones make room for others when they end."""
    world = World()
    for number in range(MOST_SESSIONS + 100):
        world.receive(Message(Protocol.CONTROL, "ping", f"s{number}"))
    answers = [one.typ for one in world.taken()]
    assert (["pong"] * MOST_SESSIONS, ["error"] * 100) == (answers[:MOST_SESSIONS], answers[MOST_SESSIONS:])
    world.timers.advance(61)
    world.taken()
    assert ["pong"] == [one.typ for one in world.receive(Message(Protocol.CONTROL, "ping", "again"))]


def test_full_of_sessions() -> None:
    """A peer that opens endless sessions doesn't disturb existing terminals."""
    world = World()
    new_shell(world)
    world.timers.advance(50)
    for number in range(MOST_SESSIONS + 1):
        world.receive(Message(Protocol.CONTROL, "ping", f"s{number}"))
    assert [] == world.receive(Message(SHELL, "shell", "s", {"user_id": "u"}, b"x"))
    assert b"x" == world.shells.started[0].typed


def test_properties_of_any_kind(tmp_path: Path) -> None:
    """A reply returns the properties of its request, whatever their types."""
    world = World()
    for value in (Extension(5, bytes(300)), Extension(5, bytes(70000)), {"a": [1, {2: b"x"}]}, [1.5, None]):
        (error,) = world.receive(Message(FILES, "stat", "s", {"x": value}, pack({"path": f"{tmp_path}/f"})))
        assert {"x": value} == decode(encode(error)).props


# -- terminals ----------------------------------------------------------------------------------------------------


def test_terminal_that_runs_for_too_long() -> None:
    """A terminal is ended after its maximum duration, whatever is typed."""
    world = World(Sessions={"ExpireAfter": 15})
    new_shell(world)
    for _ in range(16):
        world.receive(Message(SHELL, "shell", "s", {}, b"x"))
        world.timers.advance(1)
    assert [True] == [shell.is_hung_up for shell in world.shells.started]


def test_user_without_an_answer() -> None:
    """A terminal whose user doesn't answer a ping within 65 s ends."""
    world = World()
    new_shell(world)
    world.timers.advance(124)
    assert [False] == [shell.is_hung_up for shell in world.shells.started]
    world.timers.advance(2)
    assert [True] == [shell.is_hung_up for shell in world.shells.started]


def test_terminal_without_a_session() -> None:
    """A terminal without a session id isn't opened: the server would close the connection upon a reply without one."""
    world = World()
    assert [] == new_shell(world, "")
    assert [] == world.shells.started


def test_terminal_of_another_user() -> None:
    """A user can't type into or end another user's terminal; the server, whose messages name no user, can end it."""
    world = World()
    new_shell(world)
    for typ, answers in (("shell", [("shell", 2)]), ("stop", [("stop", 2)]), ("resize", []), ("pong", [])):
        size = {"terminal_width": 1, "terminal_height": 1}
        assert answers == said(world.receive(Message(SHELL, typ, "s", {"user_id": "another", **size}, b"x")))
    (shell,) = world.shells.started
    assert (b"", False, (80, 40)) == (shell.typed, shell.is_hung_up, shell.size)
    world.receive(Message(SHELL, "stop", "s", {"status": 2}, b"user disconnected"))
    assert shell.is_hung_up


def test_most_shells() -> None:
    """The number of shells on a device is limited across all users."""
    world = World()
    for number in range(MOST_SHELLS):
        assert [("new", 1)] == said(new_shell(world, f"s{number}", f"u{number}"))
    (refused,) = new_shell(world, "more", "another")
    assert b"too many shells spawned" == refused.body


def test_shells_outlive_a_gap_but_not_a_long_one() -> None:
    """Shells continue while the connection is lost for some minutes, and needn't be answered meanwhile."""
    world = World(Sessions={"ExpireAfterIdle": 100000})
    new_shell(world)
    world.sessions.close()
    world.terminals.connected(False)
    world.timers.advance(GONE_SECONDS - 1)
    world.terminals.connected(True)
    world.timers.advance(GONE_SECONDS / 5)
    assert [False] == [shell.is_hung_up for shell in world.shells.started]
    world.terminals.connected(False)
    world.timers.advance(GONE_SECONDS + 1)
    assert [True] == [shell.is_hung_up for shell in world.shells.started]


def test_input_that_nobody_reads() -> None:
    """Dropped input is reported."""
    world = World()
    new_shell(world)
    world.shells.started[0].is_deaf = True
    assert [("shell", 2)] == said(world.receive(Message(SHELL, "shell", "s", {}, b"x")))


def test_pace() -> None:
    """Output is limited to ten frames per 20 ms, and a minute of endless output stays below 8 MiB.

    After input the next frame may be sent sooner.
    """
    pace, now, frames = Pace(0.0), 0.0, list[float]()
    while now < 60:
        if (wait := pace.wait_seconds(now)) > 1e-6:
            now += wait
        else:
            pace.sent(FRAME_BYTES, now)
            frames.append(now)
    assert len(frames) * FRAME_BYTES < 8 * 1024 * 1024 - 65536
    assert all(later - earlier >= 0.0199 for earlier, later in zip(frames, frames[10:], strict=False))
    pace.sent(FRAME_BYTES, now)
    assert pace.wait_seconds(now) > 0.01
    pace.typed(now)
    assert pace.wait_seconds(now) < 0.01


def test_no_expiry() -> None:
    """Without StopExpired a terminal stays open as long as its user answers."""
    world = World(Sessions={"StopExpired": False, "ExpireAfter": 15, "ExpireAfterIdle": 15})
    new_shell(world)
    for _ in range(1000):
        world.timers.advance(10)
        world.receive(Message(SHELL, "pong", "s"))
    assert [False] == [shell.is_hung_up for shell in world.shells.started]


def test_idle_terminal() -> None:
    """A terminal without input ends after the configured time, by default 10 minutes, and its user is told."""
    for keys, seconds in (({}, 600), ({"Sessions": {"ExpireAfterIdle": 20}}, 20)):
        world = World(**keys)
        new_shell(world)
        for second in range(seconds + 8):
            world.receive(Message(SHELL, "shell" if second == 10 else "pong", "s", {}, b"x"))
            world.timers.advance(1)
        assert [False] == [shell.is_hung_up for shell in world.shells.started]
        world.taken()
        world.timers.advance(2)
        assert [("stop", 2)] == [one for one in said(world.taken()) if one[0] == "stop"]
        assert [True] == [shell.is_hung_up for shell in world.shells.started]


def test_most_output() -> None:
    """Shortly before the server would end a session for too much output, its user is told and the shell is ended."""
    world = World()
    new_shell(world)
    (shell,) = world.shells.started
    world.taken()
    while not shell.is_hung_up:
        shell.screen.output(bytes(FRAME_BYTES))
    *_, line, stop = world.taken()
    assert (b"[this session has shown 7 MiB" in (line.body or b""), "stop") == (True, stop.typ)


def test_congestion() -> None:
    """Nothing is read from a shell while the connection is congested."""
    world = World()
    new_shell(world)
    (shell,) = world.shells.started
    assert FRAME_BYTES == shell.screen.room()[0]
    world.is_congested = True
    assert 0 == shell.screen.room()[0]


# -- files --------------------------------------------------------------------------------------------------------


def test_window(tmp_path: Path) -> None:
    """No more chunks are in flight than the server buffers, and none are sent while the connection is congested."""
    (tmp_path / "f").write_bytes(os.urandom(CHUNK_BYTES * 30))
    world = World()
    chunks = ask(world, "get_file", path=str(tmp_path / "f"))
    assert WINDOW_CHUNKS == len(chunks)
    world.is_congested = True
    assert [] == world.receive(Message(FILES, "ack", "s", {"offset": CHUNK_BYTES * 10}))
    world.is_congested = False
    world.sessions.resume()
    assert WINDOW_CHUNKS + 10 == len(world.sent)
    world.receive(Message(FILES, "ack", "s", {"offset": CHUNK_BYTES * 30}))
    *rest, end = world.sent
    assert (tmp_path / "f").read_bytes() == b"".join(one.body or b"" for one in rest)
    assert ({"offset": CHUNK_BYTES * 30}, None) == (end.props, end.body)


def test_one_transfer_at_a_time(tmp_path: Path) -> None:
    """A session has one transfer at a time; a second one is refused, and doesn't affect the first."""
    world = World()
    ask(world, "put_file", path=str(tmp_path / "f"))
    (error,) = ask(world, "put_file", path=str(tmp_path / "g"))
    assert 409 == decode_body(error)["code"]
    world.receive(Message(FILES, "file_chunk", "s", {"offset": 0}, b"x"))
    world.receive(Message(FILES, "file_chunk", "s", {"offset": 1}))
    assert [("f", "x")] == [(one.name, one.read_text()) for one in tmp_path.iterdir()]


def upload(world: World, path: Path, *parts: bytes) -> list[Message]:
    """Send a file."""
    answers = ask(world, "put_file", path=str(path))
    offset = 0
    for part in (*parts, b""):
        message = Message(FILES, "file_chunk", "s", {"offset": offset}, part or None)
        answers += world.receive(message)
        offset += len(part)
    return answers


def test_upload(tmp_path: Path) -> None:
    """The last acknowledgement follows when the file is in place; the directory contains nothing else."""
    world = World()
    world.disk.is_held = True
    answers = upload(world, tmp_path / "f", *[b"x" * 4096] * 25)
    assert [0, 9 * 4096, 19 * 4096] == [one.props["offset"] for one in answers]
    assert not (tmp_path / "f").exists()
    world.receive(Message(Protocol.CONTROL, "close", "s"))  # the server doesn't wait
    world.disk.held.pop()()
    assert 25 * 4096 == world.sent[-1].props["offset"]
    assert [("f", b"x" * 4096 * 25)] == [(one.name, one.read_bytes()) for one in tmp_path.iterdir()]
    assert 0o644 == (tmp_path / "f").stat().st_mode & 0o7777


def test_upload_without_nameless_files(tmp_path: Path) -> None:
    """On a file system that doesn't support unnamed files, an upload replaces a file all the same."""
    (tmp_path / "f").write_text("old")
    world = World()
    world.open_nameless = lambda _: None
    upload(world, tmp_path / "f", b"new")
    assert [("f", "new")] == [(one.name, one.read_text()) for one in tmp_path.iterdir()]


def test_user_who_waits_for_each_answer(tmp_path: Path) -> None:
    """A chunk is acknowledged as soon as no other one follows, for users who wait for each acknowledgement."""
    world = World()
    ask(world, "put_file", path=str(tmp_path / "f"))
    offset = 0
    for size in (100, 4096, 1):
        assert [] == world.receive(Message(FILES, "file_chunk", "s", {"offset": offset}, bytes(size)))
        world.timers.advance(0)
        assert offset == world.sent[-1].props["offset"]
        offset += size
    count = len(world.sent)
    world.timers.advance(1)
    assert count == len(world.sent)


ENDS = ["close", "error", "lost", "silence", "wrong offset"]


@pytest.mark.parametrize("is_nameless", [True, False])
@pytest.mark.parametrize("end", ENDS)
def test_upload_that_ends_early(tmp_path: Path, end: str, *, is_nameless: bool) -> None:
    """An incomplete upload leaves nothing behind, and the existing file stays.

    Until its end the upload has no name, if the file system supports that, else a temporary one.
    """
    (tmp_path / "f").write_text("old")
    world = World()
    if not is_nameless:
        world.open_nameless = lambda _: None
    ask(world, "put_file", path=str(tmp_path / "f"))
    world.receive(Message(FILES, "file_chunk", "s", {"offset": 0}, b"new"))
    assert (1 if is_nameless else 2) == len(list(tmp_path.iterdir()))
    if end == "lost":
        world.sessions.close()
    elif end == "silence":
        world.timers.advance(100)
    elif end == "wrong offset":
        world.receive(Message(FILES, "file_chunk", "s", {"offset": 7}, b"new"))
    else:
        world.receive(Message(Protocol.CONTROL if end == "close" else FILES, end, "s"))
    assert [("f", "old")] == [(one.name, one.read_text()) for one in tmp_path.iterdir()]


REFUSALS: list[tuple[dict[str, Any], str, str, int]] = [
    ({}, "get_file", "missing", 404),
    ({}, "get_file", "dir", 403),
    ({}, "get_file", "fifo", 403),
    ({}, "put_file", "fifo", 409),
    ({}, "put_file", "link", 409),
    ({}, "put_file", "dir", 409),
    ({}, "put_file", "nodir/x", 404),
    ({}, "put_file", "newdir/", 404),
    ({"Chroot": "{}/dir"}, "get_file", "dir/../secret", 403),
    ({"Chroot": "{}/dir"}, "stat", "dir/../secret", 403),
    ({"Chroot": "{}/dir", "FollowSymLinks": True}, "get_file", "dir/out", 403),
    ({"Chroot": "{}/dir", "FollowSymLinks": True}, "put_file", "dir/updir/x", 403),
    ({"Chroot": "{}/dir"}, "get_file", "directory", 403),
    ({"Chroot": "{}/dir"}, "get_file", "missing", 403),
    ({"Chroot": "{}/dir"}, "stat", "missing", 403),
    ({"Chroot": "{}/dir"}, "put_file", "missing/x", 403),
    ({"Chroot": "{}/dir"}, "put_file", "other", 403),
    ({"Chroot": "{}/dir"}, "put_file", "dir/missing/x", 404),
    ({"Chroot": "{}/dir"}, "put_file", "dir/../x", 403),
    ({}, "get_file", "link", 403),
    ({}, "put_file", "dirlink/x", 403),
    ({"MaxFileSize": 5}, "get_file", "secret", 413),
    ({}, "put_file", "secret", 403),
]


@pytest.mark.parametrize(("limits", "typ", "name", "code"), REFUSALS, ids=range(len(REFUSALS)))
def test_refused_files(tmp_path: Path, limits: dict[str, Any], typ: str, name: str, code: int) -> None:
    """A file that must not be read or written is refused before the first byte, with a status for the user."""
    for directory in ("dir", "other"):
        (tmp_path / directory).mkdir()
    for file in ("secret", "directory", "dir/inside"):
        (tmp_path / file).write_text("secret")
    os.mkfifo(tmp_path / "fifo")
    for link, target in (("link", "secret"), ("dirlink", "dir"), ("dir/out", "../secret"), ("dir/updir", "../other")):
        (tmp_path / link).symlink_to(target)
    is_limited = bool(limits) or (code == 403 and name in ("link", "dirlink/x", "secret"))
    keys = {one: str(value).format(tmp_path) if one == "Chroot" else value for one, value in limits.items()}
    world = World(**({"Limits": {"Enabled": True, "FileTransfer": keys}} if is_limited else {}))
    before = sorted(tmp_path.rglob("*"))
    (error,) = ask(world, typ, path=f"{tmp_path}/{name}")
    assert ("error", code, typ) == (error.typ, (body := decode_body(error)).get("code"), body["msgtype"])
    assert before == sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize("source", ["/a\0b", "\0", "/x/..", "."])
def test_name_that_is_none(tmp_path: Path, source: str) -> None:
    """An upload to a directory gets its name from the sender, which is refused unless it is a file name."""
    world = World()
    (error,) = ask(world, "put_file", path=str(tmp_path), src_path=source)
    assert "error" == error.typ
    assert [] == list(tmp_path.iterdir())


def test_link_that_cannot_be_read() -> None:
    """A link that can't be read, such as one of another process, is reported as an error."""
    world = World()
    for typ in ("stat", "get_file", "put_file"):
        (error,) = ask(world, typ, path="/proc/1/root/no-such/x")
        assert "error" == error.typ


def test_long_name(tmp_path: Path) -> None:
    """A file may have the longest possible name, in bytes."""
    world = World()
    name = "ä" * 127 + "x"
    upload(world, tmp_path / name, b"x")
    assert [name] == [one.name for one in tmp_path.iterdir()]


def test_file_that_is_larger_than_it_says() -> None:
    """A file with more content than its size says is subject to the size limit all the same."""
    world = World(Limits={"Enabled": True, "FileTransfer": {"MaxFileSize": 100}})
    (error,) = ask(world, "get_file", path="/proc/meminfo")
    assert 413 == decode_body(error)["code"]


def test_link_that_comes_later(tmp_path: Path) -> None:
    """A link that replaces a directory or file after its path was resolved isn't followed."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/f").write_text("secret")
    (tmp_path / "d").symlink_to("outside")
    (tmp_path / "f").symlink_to("outside/f")
    for real in ("d/f", "f"):
        with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
            open_file(f"{tmp_path}/{real}", os.O_RDONLY)
    descriptor = open_file(f"{tmp_path}/f", os.O_PATH)  # the link itself, without reading through it
    assert stat.S_ISLNK(os.fstat(descriptor).st_mode)
    os.close(descriptor)


def test_pattern_of_directories(tmp_path: Path) -> None:
    """Chroot may be a pattern of directories: a resolved path must be below one of them."""
    for directory in ("a/share", "a/share/deep", "b/share", "b/other", "share", "plain[1]"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "f").write_text("f")
    (tmp_path / "a/share/out").symlink_to("../../b/other/f")
    cases = [
        ("*/share", ["a/share/f", "b/share/f", "a/share/deep/f"], ["share/f", "b/other/f", "a/share/../f", "x/y/f"]),
        ("[ab]/sh?re", ["a/share/f"], ["b/other/f", "a/share/out", "a/share/../../b/other/f"]),
        ("plain[1]", ["plain[1]/f"], ["plain1/f"]),
    ]
    for pattern, inside, outside in cases:
        limits = {"Chroot": f"{tmp_path}/{pattern}", "FollowSymLinks": True, "AllowOverwrite": True}
        world = World(Limits={"Enabled": True, "FileTransfer": limits})
        for number, name in enumerate(inside):
            assert "file_info" == ask(world, "stat", f"i{number}", path=f"{tmp_path}/{name}")[0].typ
            assert "ack" == ask(world, "put_file", f"i{number}", path=f"{tmp_path}/{name}")[0].typ
        for number, name in enumerate(outside):
            for typ in ("stat", "get_file", "put_file"):
                (error,) = ask(world, typ, f"o{number}", path=f"{tmp_path}/{name}")
                assert 403 == decode_body(error)["code"], name


def test_mode_and_owner(tmp_path: Path) -> None:
    """An upload gets the requested mode without suid, or the mode of Umask."""
    world = World()
    ask(world, "put_file", path=str(tmp_path / "f"), mode=0o4755)
    world.receive(Message(FILES, "file_chunk", "s", {"offset": 0}))
    assert 0o755 == (tmp_path / "f").stat().st_mode & 0o7777
    world = World(Limits={"Enabled": True, "FileTransfer": {"Umask": "027"}})
    ask(world, "put_file", path=str(tmp_path / "g"), mode=0o777)
    world.receive(Message(FILES, "file_chunk", "s", {"offset": 0}))
    assert 0o750 == (tmp_path / "g").stat().st_mode & 0o7777


def test_rate(tmp_path: Path) -> None:
    """Once the limit of bytes per minute is reached, no transfer starts until the minute is over."""
    (tmp_path / "f").write_bytes(bytes(60000))
    limits = {"Counters": {"MaxBytesTxPerMinute": 50000}}
    world = World(Limits={"Enabled": True, "FileTransfer": limits})
    ask(world, "get_file", path=str(tmp_path / "f"))
    world.receive(Message(FILES, "ack", "s", {"offset": 60000}))
    (error,) = ask(world, "get_file", path=str(tmp_path / "f"))
    assert 429 == decode_body(error)["code"]
    world.timers.advance(70)
    assert "file_chunk" == ask(world, "get_file", path=str(tmp_path / "f"))[0].typ


# -- the client ---------------------------------------------------------------------------------------------------


def test_wake() -> None:
    """The server's request reaches the daemon, with and without a session."""
    world = World()
    for sid in ("", "s"):
        assert [("check-update", 1)] == said(world.receive(Message(Protocol.CLIENT, "check-update", sid)))
    world.wake_problem = "no daemon is running"
    (answer,) = world.receive(Message(Protocol.CLIENT, "send-inventory", ""))
    assert (["check-update"] * 2, 2, b"no daemon is running") == (world.woken, answer.props["status"], answer.body)


# -- settings -----------------------------------------------------------------------------------------------------


def test_settings() -> None:
    """Keys are matched case-insensitively, and RemoteTerminal of the archived client disables terminals."""
    assert 100 == config_of(terminal={"WIDTH": 100}).terminal_width
    assert not config_of(RemoteTerminal=False).has_terminals
