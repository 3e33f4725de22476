"""What ``setup`` will write: worked out and shown before anything is changed."""

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
    """One file that is made or replaced.

    Attributes:
        path: the file.
        data: what it will hold.
        mode: its permissions.
        lines: what is shown of it, secrets masked.
    """

    path: Path
    data: bytes
    mode: int
    lines: tuple[str, ...] = ()


@dataclass()
class Plan:
    """Everything that will be written, in this order.

    Attributes:
        changes: the files.
        new_key: the device key that will be made, None when there is one.
        notes: what is worth knowing before saying yes.
        packaged_units: the units that are there already, and are to be enabled.
    """

    changes: list[Change] = field(default_factory=list)
    new_key: Path | None = None
    notes: list[str] = field(default_factory=list)
    packaged_units: list[str] = field(default_factory=list)

    def replace(self, path: Path, data: bytes, *, mode: int = 0o644, lines: tuple[str, ...] = ()) -> None:
        """Have a file hold this; nothing to do when it does.

        Raises:
            StorageError: it can't be read, or it is a link, which a new file would replace.
        """
        if content(path) == data:
            return
        if path.is_symlink():
            text = f"cannot change {path}: it is a symbolic link to {path.readlink()}"
            raise StorageError("SET05", text, remedy="change that file by hand")
        self.changes.append(Change(path, data, mode, lines))

    def add(self, path: Path, data: bytes, *, mode: int) -> None:
        """Have a file there; one that is there stays, because somebody may have adapted it."""
        there = content(path)
        if there is None:
            self.changes.append(Change(path, data, mode))
        elif there != data:
            self.notes.append(f"{path} exists and is kept; it differs from the one in this package")

    @property
    def is_empty(self) -> bool:
        return not self.changes and self.new_key is None

    def describe(self) -> Iterator[str]:
        """The lines that tell a person what will happen."""
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
        """Write every file, each of them whole or not at all.

        Raises:
            StorageError: one can't be written; those before it are, and the next run goes on from there.
        """
        for change in self.changes:
            make_directory(change.path.parent, mode=0o755)
            write_atomic(change.path, change.data, mode=change.mode)
