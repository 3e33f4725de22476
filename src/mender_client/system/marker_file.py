"""A word stored durably on disk; without the file, there is none."""

from __future__ import annotations

from pathlib import Path

from .files import read_text, remove_file, write_atomic


class MarkerFile:
    """A file that holds a word; see ``installers.callback.Trace``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        return read_text(self._path, limit=1024).strip() if self._path.exists() else ""

    def write(self, mark: str) -> None:
        write_atomic(self._path, mark.encode() + b"\n")

    def remove(self) -> None:
        remove_file(self._path)
