"""A small disk that can be filled up or made read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(directory: Path, *, kib: int = 64) -> Iterator[Path]:
    """Mount a tmpfs of ``kib`` KiB at the directory; skips the test if mounting isn't allowed."""
    directory.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0700", "tmpfs", str(directory)]
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


def make_read_only(directory: Path) -> None:
    """Remount the disk read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True, capture_output=True)


def make_writable(directory: Path) -> None:
    """Remount the disk for reading and writing."""
    subprocess.run(["mount", "-o", "remount,rw", str(directory)], check=True, capture_output=True)
