"""Runs the program with storage that fails at a chosen call.

    python tests/program/faulty_storage.py DIRECTORY COUNT_FILE FIRST SECONDS ERRNO ARGUMENTS...

Each system call that changes or opens a file below DIRECTORY counts; call number FIRST fails, and so does every later
one for the given number of seconds. The number of calls is written to COUNT_FILE.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from mender_client.app.entry import main

_BY_PATH = ("open", "replace", "rename", "unlink", "truncate")
_BY_DESCRIPTOR = ("write", "fsync", "fdatasync", "ftruncate")


class FaultyStorage:
    """Wraps the operating system's calls for files.

    Args:
        directory: whose files fail.
        count_file: where the number of calls is kept.
        first: the call that fails first, from 1; 0 for none.
        seconds: how long later ones fail, too.
        number: the errno.
    """

    def __init__(self, directory: Path, count_file: Path, first: int, seconds: float, number: int) -> None:
        self._directory = str(directory)
        self._count_file = count_file
        self._first = first
        self._seconds = seconds
        self._number = number
        self._end = 0.0
        self._count = 0
        self._write_count = os.open(count_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._pwrite = os.pwrite

    def install(self) -> None:
        """Take the place of the calls of ``os``."""
        for name in _BY_PATH:
            setattr(os, name, self._wrapped(getattr(os, name), self._is_below))
        for name in _BY_DESCRIPTOR:
            setattr(os, name, self._wrapped(getattr(os, name), self._is_file_below))

    def _wrapped(self, call: Any, is_ours: Any) -> Any:
        def wrapper(target: Any, *arguments: Any, **named: Any) -> Any:
            if is_ours(target):
                self._strike()
            return call(target, *arguments, **named)

        return wrapper

    def _strike(self) -> None:
        self._count += 1
        self._pwrite(self._write_count, f"{self._count:6}".encode(), 0)
        if self._count == self._first:
            self._end = time.monotonic() + self._seconds
        if self._count == self._first or time.monotonic() < self._end:
            raise OSError(self._number, os.strerror(self._number))

    def _is_below(self, path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(self._directory)

    def _is_file_below(self, descriptor: int) -> bool:
        try:
            return os.readlink(f"/proc/self/fd/{descriptor}").startswith(self._directory)
        except OSError:
            return False


if __name__ == "__main__":
    directory, count_file, first, seconds, number, *arguments = sys.argv[1:]
    FaultyStorage(Path(directory), Path(count_file), int(first), float(seconds), int(number)).install()
    sys.argv[1:] = arguments
    sys.exit(main())
