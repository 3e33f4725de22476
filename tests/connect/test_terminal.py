"""Remote terminals, with real shells."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from connect.conftest import Reach
from connect.user import User, peak_kib
from program.stage import Device
from waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the user of the shells is root")


def processes_with(mark: str) -> list[int]:
    """The processes whose command line contains this text."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if mark.encode() in (path / "cmdline").read_bytes() and int(path.name) != os.getpid():
                    found.append(int(path.name))
            except OSError:
                continue
    return found


def test_a_shell_of_its_user(reach: Reach) -> None:
    """A terminal is a login shell of the requested size, in the home directory of its user."""
    user = reach(ShellCommand="/bin/bash")
    answer = user.open_terminal(width=90, height=33)
    assert ("new", {"status": 1}, b"Shell started") == (answer.typ, answer.props, answer.body)
    user.type("stty size; tty; pwd; echo $TERM $HOME $USER; shopt -q login_shell && echo ye''s\r")
    seen = user.read_until("yes\r\n")
    for line in ("33 90\r\n", "/dev/pts/", "/root\r\n", "xterm-256color /root root\r\n"):
        assert line in seen


def test_another_user(reach: Reach) -> None:
    """A shell has its user's permissions and groups, no descriptor but its terminal, and a small environment."""
    user = reach(User="nobody", ShellCommand="/bin/bash")
    user.open_terminal()
    user.type("id -u; id -G; echo fds /proc/$$/fd/*; compgen -e | xargs; echo do''ne\r")
    seen = user.read_until("done\r\n")
    nobody = pwd.getpwnam("nobody")
    groups = " ".join(map(str, os.getgrouplist("nobody", nobody.pw_gid)))
    assert f"{nobody.pw_uid}\r\n{groups}\r\n" in seen
    descriptors = {path.rpartition("/")[2] for path in seen.rpartition("fds ")[2].partition("\r")[0].split()}
    assert {"0", "1", "2", "3", "255"} == descriptors  # two of bash itself: the directory that it lists, the terminal
    names = set(seen.rpartition("done")[0].split("\r\n")[-2].split())
    ours = {"HOME", "LOGNAME", "MENDER_TERMINAL", "PATH", "SHELL", "TERM", "USER"}
    assert ours <= names <= {*ours, "LANG", "LC_ALL", "LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"}


def test_resize(user: User) -> None:
    """A terminal is resized, and an invalid size ignored."""
    user.open_terminal()
    user.send(1, "resize", terminal_width=132, terminal_height=43)
    user.send(1, "resize", terminal_width=0, terminal_height=0)
    user.send(1, "resize", terminal_width="70", terminal_height="20")
    user.send(1, "resize", terminal_width=1 << 40, terminal_height=1 << 40)
    user.type("stty size\r")
    user.read_until("43 132\r\n")


def test_interrupt(user: User) -> None:
    """Ctrl-C interrupts the program in the terminal, and the shell continues."""
    user.open_terminal()
    user.type("sh -c \"echo be''gun; exec sleep 3600\"\r")  # printed once it has the terminal
    user.read_until("begun")
    user.type("\x03")
    user.type("echo af''ter\r")
    user.read_until("after")


def test_exit(user: User) -> None:
    """A shell that exits ends its session at once, and its user may open another one."""
    user.open_terminal()
    user.type("echo la''st; exit 3\r")
    seen, stop = user.read_to_stop()
    assert "last" in seen
    assert ({"status": 1}, None) == (stop.props, stop.body)
    assert 1 == User(user.device, user.user).open_terminal().props["status"]


def test_stop(user: User) -> None:
    """The processes that a shell started end with it: children, jobs, and those that left its session."""
    user.open_terminal()
    marks = [f"36{os.getpid() % 1000:03d}{number}" for number in range(3)]
    user.type(
        f"sleep {marks[0]} & setsid nohup sleep {marks[1]} >/dev/null & (setsid sleep {marks[2]} &) ; echo do''ne\r"
    )
    user.read_until("done")
    wait_until(lambda: all(processes_with(mark) for mark in marks))
    user.send(1, "stop")
    _, stop = user.read_to_stop()
    assert {"status": 1} == stop.props
    assert [[], [], []] == [processes_with(mark) for mark in marks]


def test_a_shell_that_ignores_the_hang_up(user: User) -> None:
    """A program that ignores SIGHUP is killed after a while; meanwhile other sessions continue."""
    other = User(user.device, "another " + user.user, beside=user)
    other.open_terminal()
    for number in range(10):  # on a busy machine the answer may come too late
        user.open_terminal()
        user.type("trap '' HUP TERM INT; echo de''af; while :; do sleep 1; done\r")
        user.read_until("deaf")
        user.send(1, "stop")
        other.type(f"echo he''re{number}\r")
        other.read_until(f"here{number}")
        is_answered_first = not user.has_received("stop")
        assert {"status": 1} == user.read_to_stop()[1].props
        if is_answered_first:
            return
    pytest.fail("the other session was never answered before the end of the shell")


def test_end_of_the_program(device: Device, reach: Reach) -> None:
    """When the program is stopped, it tells the user and leaves no process behind."""
    user = reach()
    user.open_terminal()
    mark = f"37{os.getpid() % 1000:03d}"
    user.type(f"setsid sleep {mark} & echo do''ne\r")
    user.read_until("done")
    (process,) = device.processes
    assert 0 == process.stop()
    assert [] == processes_with(mark)
    assert {"status": 1} == user.read_to_stop()[1].props


def test_second_terminal(user: User) -> None:
    """A user may have one terminal unless more are allowed; a refused second one doesn't affect the first."""
    user.open_terminal()
    other = User(user.device, user.user)
    assert ({"status": 2}, b"user has too many open sessions") == (
        (answer := other.open_terminal()).props,
        answer.body,
    )
    other.type("x")
    assert b"session not found" == other.receive().body
    user.type("echo st''ill\r")
    user.read_until("still")


def test_connection_lost(shared_device: Device, user: User) -> None:
    """A terminal survives a lost connection: after the reconnection the same session continues."""
    user.open_terminal()
    user.type("here=st''ill\r")
    user.read_until("\r\n")
    first = user.device
    first.cut()
    user.device = shared_device.server.connected_device(shared_device.id, after=first)
    user.type("echo $here there\r")
    user.read_until("still there")


def test_memory_of_a_flood(device: Device, reach: Reach) -> None:
    """Endless output takes constant memory, since output that can't be sent isn't read."""
    user = reach()
    user.open_terminal()
    user.type("yes\r")
    user.read_until("y\r\n" * 10000)
    (process,) = device.processes
    before = peak_kib(process)
    user.read_until("y\r\n" * 200000)
    assert peak_kib(process) - before < 2048
    user.type("\x03")
    user.type("echo af''ter\r")
    user.read_until("after")


def test_flood(reach: Reach) -> None:
    """Endless output blocks neither other sessions nor Ctrl-C."""
    user = reach(Sessions={"MaxPerUser": 2})
    user.open_terminal()
    other = User(user.device)
    other.open_terminal()
    user.type("yes\r")
    user.read_until("y\r\ny\r\n" * 10000)
    other.type("echo he''re\r")
    other.read_until("here\r\n")
    user.type("\x03")
    user.type("echo af''ter\r")
    user.read_until("after")
