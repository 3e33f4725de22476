"""The locks of a device."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mender_client.errors import BusyError, StorageError
from mender_client.system.locks import DaemonLock, LockFile

from .tmpfs import empty, fill, small_disk

# -- the lock file of the contract -------------------------------------------------------------------------


def test_lock_file(tmp_path: Path) -> None:
    """The lock file contains only the deployment id, scripts of any user can read it, and its existence is the lock."""
    lock = LockFile(tmp_path / "update.lock")
    assert None is lock.read()
    lock.write("an-id")
    assert ("an-id", "an-id\n", 0o644) == (
        lock.read(),
        (tmp_path / "update.lock").read_text(),
        stat.S_IMODE((tmp_path / "update.lock").stat().st_mode),
    )
    lock.remove()
    lock.remove()
    assert None is lock.read()


@pytest.mark.parametrize(
    ("content", "read"),
    [(b"", ""), (b" an-id \r\n", "an-id"), (b"\xff", ""), (b"x" * 5000, ""), (b"../../x\n", ""), (b"a b\n", "")],
)
def test_lock_file_of_others(tmp_path: Path, content: bytes, read: str) -> None:
    """A lock file that something else has written is a lock, whatever it contains; an invalid id is ignored."""
    (tmp_path / "update.lock").write_bytes(content)
    assert read == LockFile(tmp_path / "update.lock").read()


def test_lock_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A lock file that can't be read still counts as a lock, as an update may be in progress."""
    (tmp_path / "update.lock").mkdir()
    assert "" == LockFile(tmp_path / "update.lock").read()


def test_lock_through_a_planted_link(tmp_path: Path) -> None:
    """A lock file that is a symbolic link is not followed, but still counts as a lock."""
    (tmp_path / "victim").write_text("0-1\n")
    (tmp_path / "update.lock").symlink_to(tmp_path / "victim")
    assert "" == LockFile(tmp_path / "update.lock").read()


def test_own_file_that_is_a_pipe(tmp_path: Path) -> None:
    """A named pipe in place of the lock file doesn't block, and counts as a lock."""
    os.mkfifo(tmp_path / "update.lock")
    assert "" == LockFile(tmp_path / "update.lock").read()


# -- one daemon at a time ----------------------------------------------------------------------------------

HOLD = """
import pathlib, sys
from mender_client.system.locks import DaemonLock
lock = DaemonLock(pathlib.Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_second_daemon(tmp_path: Path) -> None:
    """A second daemon is refused with the pid of the first, and may start once the first has been killed."""
    path = tmp_path / "daemon.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert b"held\n" == holder.stdout.readline()
        with pytest.raises(BusyError) as caught:
            DaemonLock(path).acquire()
        assert f"cannot start: a daemon (pid {holder.pid}) already uses {tmp_path}" == caught.value.text
        assert holder.pid == DaemonLock(path).holder()
        holder.kill()
    assert None is DaemonLock(path).holder()
    lock = DaemonLock(path)
    lock.acquire()
    assert (os.getpid(), f"{os.getpid()}\n", 0o600) == (
        DaemonLock(path).holder(),
        path.read_text(),
        stat.S_IMODE(path.stat().st_mode),
    )
    lock.release()
    lock.release()
    assert None is DaemonLock(path).holder()


def test_daemon_that_is_exiting(tmp_path: Path) -> None:
    """A daemon that is exiting after a hand-over no longer counts as running, and the next one waits for its exit."""
    path = tmp_path / "daemon.lock"
    old, new = DaemonLock(path), DaemonLock(path)
    old.acquire()
    old.announce(is_exiting=True)
    assert None is new.holder()
    timer = threading.Timer(0.5, old.release)
    timer.start()
    new.acquire()
    timer.join()
    assert (os.getpid(), f"{os.getpid()}\n") == (new.holder(), path.read_text())
    new.release()


def test_holder_without_a_file(tmp_path: Path) -> None:
    """If no daemon has ever run, there is no holder, and no file is created."""
    assert None is DaemonLock(tmp_path / "daemon.lock").holder()
    assert [] == os.listdir(tmp_path)


def test_looking_does_not_disturb(tmp_path: Path) -> None:
    """A daemon that starts while the holder is queried is not refused."""
    path = tmp_path / "daemon.lock"
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.001):
            DaemonLock(path).holder()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(300):
            lock = DaemonLock(path)
            lock.acquire()
            lock.release()
    finally:
        done.set()
        looker.join()


def test_daemon_lock_through_a_planted_link(tmp_path: Path) -> None:
    """A planted symbolic link in place of the daemon's lock is refused, and its target is not created."""
    (tmp_path / "daemon.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="it must not be a symbolic link"):
        DaemonLock(tmp_path / "daemon.lock").acquire()
    assert (["daemon.lock"], None) == (os.listdir(tmp_path), DaemonLock(tmp_path / "daemon.lock").holder())


def test_daemon_lock_on_a_full_disk(tmp_path: Path) -> None:
    """If the disk has no space for the pid, a StorageError is raised; the lock stays free for the next daemon."""
    with small_disk(tmp_path / "disk") as disk:
        (disk / "daemon.lock").touch()
        fill(disk)
        first, second = DaemonLock(disk / "daemon.lock"), DaemonLock(disk / "daemon.lock")
        with pytest.raises(StorageError, match=r"cannot write .*daemon\.lock: No space left on device; free"):
            first.acquire()
        empty(disk)
        second.acquire()
        assert os.getpid() == first.holder()
        second.release()


@pytest.mark.parametrize("content", ["0", "99999999999", "-1", "x", ""])
def test_holder_that_is_no_process(tmp_path: Path, content: str) -> None:
    """A lock that is held but names no possible pid has no holder; a signal to pid 0 would go to the whole group."""
    path = tmp_path / "daemon.lock"
    path.write_text(content)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert None is DaemonLock(path).holder()
