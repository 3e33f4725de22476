"""Files that survive a power cut."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mender_client.errors import StorageError
from mender_client.system.files import (
    make_directory,
    open_input,
    read_text,
    remove_file,
    remove_stale_files,
    write_atomic,
)

from .tmpfs import fill, make_read_only, small_disk

PATHS = f"import sys; sys.path[:] = {sys.path!r}\n"
"""Sets the module path in a child process that starts without the ``site`` module, so that it runs no other code."""


def mode(path: Path) -> int:
    """The permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> list[str]:
    """The names of the entries of a directory."""
    return sorted(entry.name for entry in directory.iterdir())


# -- atomic writing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"new", b"x" * 3_000_000])
def test_write(tmp_path: Path, content: bytes) -> None:
    """A file gets exactly its new content, and no temporary file is left in the directory."""
    path = tmp_path / "state.json"
    for before in (None, b"old and longer"):
        if before is not None:
            path.write_bytes(before)
        write_atomic(path, content)
        assert (content, ["state.json"]) == (path.read_bytes(), names(tmp_path))


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("wanted", [0o600, 0o644])
def test_write_mode(tmp_path: Path, umask: int, wanted: int) -> None:
    """A file has the requested permissions, whatever the umask."""
    previous = os.umask(umask)
    try:
        write_atomic(tmp_path / "key", b"x", mode=wanted)
    finally:
        os.umask(previous)
    assert wanted == mode(tmp_path / "key")


def test_write_replaces_a_planted_link(tmp_path: Path) -> None:
    """A symbolic link in place of the file is replaced; its target is not changed."""
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "state").symlink_to(tmp_path / "victim")
    write_atomic(tmp_path / "state", b"new")
    assert ("mine", False) == ((tmp_path / "victim").read_text(), (tmp_path / "state").is_symlink())


def test_temporary_names(tmp_path: Path) -> None:
    """Each time a file is written, its temporary file has another name."""
    code = (
        "import pathlib; from mender_client.system.files import write_atomic\n"
        "sys.addaudithook(lambda event, args: event == 'open' and isinstance(args[0], str) and print(args[0]))\n"
        f"for _ in range(3): write_atomic(pathlib.Path({str(tmp_path / 'state')!r}), b'x', is_durable=False)\n"
    )
    command = [sys.executable, "-I", "-S", "-c", PATHS + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    opened = {Path(line) for line in done.stdout.splitlines()}
    assert (3, {tmp_path}) == (len(opened), {path.parent for path in opened})


def test_write_is_never_half_seen(tmp_path: Path) -> None:
    """A reader sees either the old or the new content while a file is written, never a mix."""
    path, contents = tmp_path / "state", {b"a" * 100_000, b"b" * 100_000}
    write_atomic(path, min(contents))
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for content in contents:
            write_atomic(path, content)
    done.set()
    reader.join()
    assert seen <= contents


def test_write_without_a_directory(tmp_path: Path) -> None:
    """If the directory is missing, the error names the file."""
    with pytest.raises(
        StorageError, match=r"^cannot write .*/no/state: No such file or directory; make its directory \[STO10\]$"
    ):
        write_atomic(tmp_path / "no" / "state", b"x")


def test_write_over_a_directory(tmp_path: Path) -> None:
    """A directory in place of the file causes an error, and no temporary file is left."""
    (tmp_path / "state").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*state: Is a directory"):
        write_atomic(tmp_path / "state", b"x")
    assert ["state"] == names(tmp_path)


def test_write_to_a_full_disk(tmp_path: Path) -> None:
    """On a full disk, the old content remains, no temporary file is left, and the error names a remedy."""
    with small_disk(tmp_path / "disk") as disk:
        write_atomic(disk / "state", b"old")
        fill(disk)
        with pytest.raises(StorageError, match=r"cannot write .*state: No space left on device; free some space"):
            write_atomic(disk / "state", b"x" * 10_000)
        assert (b"old", ["ballast", "state"]) == ((disk / "state").read_bytes(), names(disk))


def test_write_to_a_read_only_disk(tmp_path: Path) -> None:
    """On a read-only disk, writing and removing fail with a remedy, and the old content remains."""
    with small_disk(tmp_path / "disk") as disk:
        write_atomic(disk / "state", b"old")
        make_read_only(disk)
        with pytest.raises(StorageError, match=r"Read-only file system; make the file system writable"):
            write_atomic(disk / "state", b"x")
        with pytest.raises(StorageError, match=r"Read-only file system; make the file system writable"):
            remove_file(disk / "state")
        assert b"old" == (disk / "state").read_bytes()


def test_write_without_permission(tmp_path: Path) -> None:
    """If a directory of another user can't be written, the error says who could; if it is our own, what to check."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    tmp_path.chmod(0o755)
    (tmp_path / "own").mkdir(mode=0o500)
    os.chown(tmp_path / "own", 65534, 65534)
    code = (
        "import os, pathlib; from mender_client.errors import StorageError\n"
        "from mender_client.system.files import *; from mender_client.system.locks import DaemonLock\n"
        f"os.chdir({str(tmp_path)!r}); os.setgid(65534); os.setuid(65534)\n"
        "for action in (lambda p: write_atomic(p, b''), make_directory, lambda p: DaemonLock(p).acquire()):\n"
        "    for path in ('x', 'own/x'):\n"
        "        try: action(pathlib.Path(path))\n"
        "        except StorageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PATHS + code], capture_output=True, text=True, check=False)
    assert "" == done.stderr
    ends = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    another = "Permission denied; run this as root, or as the client's user [STO10]"
    assert [another, "Permission denied; check its owner and mode [STO10]"] * 3 == ends


def test_remove(tmp_path: Path) -> None:
    """Removing a file succeeds even if the file or its directory doesn't exist."""
    (tmp_path / "state").write_text("x")
    remove_file(tmp_path / "state")
    remove_file(tmp_path / "state")
    remove_file(tmp_path / "no" / "state")
    assert [] == names(tmp_path)


def test_remove_a_directory(tmp_path: Path) -> None:
    """A directory in place of a file to be removed causes an error."""
    (tmp_path / "state").mkdir()
    with pytest.raises(StorageError, match=r"cannot remove .*state: "):
        remove_file(tmp_path / "state")


# -- reading -----------------------------------------------------------------------------------------------


def test_read(tmp_path: Path) -> None:
    """A text file that is exactly as large as the limit is read as UTF-8."""
    (tmp_path / "a").write_text("gr\u00fcn")
    assert "gr\u00fcn" == read_text(tmp_path / "a", limit=5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory [STO10]"),
        (b"x" * 11, "it is larger than 10 bytes; check that it is the right file [STO11]"),
        (b"\xff\xfe", "it is not UTF-8 text; replace it [STO12]"),
    ],
)
def test_unreadable(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """A file that is missing, too large or not UTF-8 text causes an error that names it."""
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_text(tmp_path / "a", limit=10)
    assert f"cannot read {tmp_path / 'a'}: {reason}" == str(caught.value)


def test_read_a_directory(tmp_path: Path) -> None:
    """A directory in place of a file causes an error."""
    with pytest.raises(StorageError, match="Is a directory"):
        read_text(tmp_path)


# -- directories -----------------------------------------------------------------------------------------------


def test_directory(tmp_path: Path) -> None:
    """With umask 0, a new data directory is private, and only the owner can write to its new parents."""
    previous = os.umask(0)
    try:
        make_directory(tmp_path / "var" / "lib" / "mender")
        make_directory(tmp_path / "var" / "lib" / "mender")
    finally:
        os.umask(previous)
    assert 0o700 == mode(tmp_path / "var" / "lib" / "mender")
    assert (0o755, 0o755) == (mode(tmp_path / "var"), mode(tmp_path / "var" / "lib"))


def test_directory_that_is_a_file(tmp_path: Path) -> None:
    """A file in place of the data directory, or of one of its parents, causes an error."""
    (tmp_path / "a").write_text("x")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StorageError, match="cannot make the directory"):
            make_directory(path)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_directories_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """A new directory is private and its new parents have mode 0755, whatever the umask."""
    before = os.umask(umask)
    try:
        make_directory(tmp_path / "var" / "lib" / "mender")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("var", "var/lib", "var/lib/mender")]
    assert [0o755, 0o755, 0o700] == modes


def test_directory_that_is_there(tmp_path: Path) -> None:
    """An existing directory keeps its mode."""
    tmp_path.chmod(0o751)
    make_directory(tmp_path)
    assert 0o751 == stat.S_IMODE(tmp_path.stat().st_mode)


def test_stale_files(tmp_path: Path) -> None:
    """Old temporary files that a power cut has left behind are removed, and nothing else, not even old links."""
    name = ".journal.json.0123456789abcdef.tmp"
    old, young, other = tmp_path / name, tmp_path / name.replace("0", "a"), tmp_path / ".journal.json.tmp"
    link = tmp_path / name.replace("0", "b")
    for path in (old, young, other):
        path.write_text("x")
    link.symlink_to(other)
    for path in (old, other, link):
        os.utime(path, (1, 1), follow_symlinks=False)
    remove_stale_files(tmp_path)
    assert sorted([young, other, link]) == sorted(tmp_path.iterdir())


def test_stale_files_of_no_directory(tmp_path: Path) -> None:
    """A missing directory causes an error that names it."""
    with pytest.raises(StorageError, match=r"cannot read .*missing"):
        remove_stale_files(tmp_path / "missing")


def test_input_that_is_no_regular_file(tmp_path: Path) -> None:
    """Of the files that the operator names, only regular ones are opened, and unnamed pipes, as shells pass them."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(OSError, match="it is not a regular file"):
            open_input(path)
    with pytest.raises(IsADirectoryError):
        open_input(tmp_path)
    reader, writer = os.pipe()
    os.write(writer, b"content")
    os.close(writer)
    with open_input(Path(f"/dev/fd/{reader}")) as file:
        assert b"content" == file.read()
    os.close(reader)
