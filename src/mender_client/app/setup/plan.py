"""The changes that ``setup`` will make, which are determined and shown before anything is written."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from mender_client.core.text import printable
from mender_client.dataclass import dataclass, field
from mender_client.errors import StorageError
from mender_client.system.files import make_directory, write_atomic

from .existing_device import content


@dataclass(frozen=True)
class Change:
    """A file to create or replace.

    Attributes:
        path: the path of the file.
        data: its new content.
        mode: its permissions.
        lines: the lines to show, with secrets masked.
    """

    path: Path
    data: bytes
    mode: int
    lines: tuple[str, ...] = ()


@dataclass()
class Plan:
    """All changes, in the order in which they are made.

    Attributes:
        changes: the files.
        new_key: the file of the device key to generate; None for none.
        notes: notes to read before confirming the changes.
        packaged_units: the units of packages, which only have to be enabled.
    """

    changes: list[Change] = field(default_factory=list)
    new_key: Path | None = None
    notes: list[str] = field(default_factory=list)
    packaged_units: list[str] = field(default_factory=list)

    def replace(self, path: Path, data: bytes, *, mode: int = 0o644, lines: tuple[str, ...] = ()) -> None:
        """Plan to write a file, unless it already has this content.

        Raises:
            StorageError: it can't be read, or it is a symbolic link, which a new file would replace.
        """
        if content(path) == data:
            return
        if path.is_symlink():
            text = f"cannot change {path}: it is a symbolic link to {path.readlink()}"
            raise StorageError("SET05", text, remedy="change that file by hand")
        self.changes.append(Change(path, data, mode, lines))

    def add(self, path: Path, data: bytes, *, mode: int) -> None:
        """Plan to create a file; an existing one is kept, because somebody may have adapted it."""
        there = content(path)
        if there is None:
            self.changes.append(Change(path, data, mode))
        elif there != data:
            self.notes.append(f"{path} exists and is kept; it differs from the one in this package")

    @property
    def is_empty(self) -> bool:
        return not self.changes and self.new_key is None

    def describe(self) -> Iterator[str]:
        """The lines that describe the changes to the operator."""
        if self.is_empty:
            yield "nothing to change"
        else:
            yield "to write:"
        for change in self.changes:
            how = "changed" if change.path.exists() else "new"
            yield f"  {change.path}  ({how}, mode {stat.S_IMODE(change.mode):04o})"
            yield from (f"    {printable(line)}" for line in change.lines)
        if self.new_key is not None:
            yield f"  {self.new_key}  (a new device key)"
        yield from (f"note: {printable(note, limit=400)}" for note in self.notes)

    def write(self) -> None:
        """Write all files, each of them completely or not at all.

        Raises:
            StorageError: one can't be written; those before it have been, and the next run continues from there.
        """
        for change in self.changes:
            make_directory(change.path.parent, mode=0o755)
            write_atomic(change.path, change.data, mode=change.mode)
