"""A small disk that can be filled up or made read-only."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(directory: Path, *, kib: int = 64, inodes: int = 10_000) -> Iterator[Path]:
    """Mount a tmpfs of ``kib`` KiB at the directory; skips the test if mounting isn't allowed."""
    directory.mkdir()
    options = f"size={kib}k,nr_inodes={inodes},mode=0700"
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode != 0:
        pytest.skip("mounting a tmpfs isn't allowed here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path) -> None:
    """Fill the disk completely."""
    with open(directory / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def empty(directory: Path) -> None:
    """Free the space that ``fill`` has used."""
    (directory / "ballast").unlink()


def use_all_inodes(directory: Path) -> None:
    """Create files until no more can be created."""
    (directory / "many").mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (directory / "many" / str(number)).touch()


def free_inodes(directory: Path) -> None:
    """Remove the files that ``use_all_inodes`` has created."""
    shutil.rmtree(directory / "many")


def make_read_only(directory: Path) -> None:
    """Remount the disk read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True, capture_output=True)


def make_writable(directory: Path) -> None:
    """Remount the disk for reading and writing."""
    subprocess.run(["mount", "-o", "remount,rw", str(directory)], check=True, capture_output=True)
