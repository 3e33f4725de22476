"""A disk: the content that programs see, and the content that remains after a power cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mender_client.errors import StorageError

from .power import Damage, Power


def full(name: str) -> StorageError:
    """The error of a full or broken disk."""
    return StorageError(f"cannot {name}: no space left on device; free some space")


@dataclass(slots=True)
class Inode:
    """A file's content: as programs see it, and as it is certain to be on the disk."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""

    def sync(self) -> None:
        """Make the content durable."""
        self.synced = bytes(self.data)


class Disk:
    """Files by name.

    Names and contents become durable separately, as on a real file system: names by ``remove`` or a durable
    ``rename``, bytes by ``sync``.

    Args:
        power: the counter of effects.
    """

    def __init__(self, power: Power) -> None:
        self._power = power
        self._names: dict[str, Inode] = {}
        self._durable: dict[str, Inode] = {}
        self.refuses: Callable[[str], bool] = lambda _: False
        self.free_bytes = 1 << 30

    def read(self, name: str) -> bytes | None:
        """A file's content; None if it doesn't exist."""
        inode = self._names.get(name)
        return None if inode is None else bytes(inode.data)

    def inode(self, name: str) -> Inode | None:
        """The open file."""
        return self._names.get(name)

    def open(self, name: str) -> Inode:
        """Open a file, creating it if it doesn't exist."""
        return self._names.setdefault(name, Inode())

    def put(self, name: str, data: bytes) -> None:
        """Create a file, durably, as part of the setup; no effect of the device."""
        self._names[name] = self._durable[name] = Inode(bytearray(data), data)

    def write_atomic(self, name: str, data: bytes, what: str = "") -> None:
        """Replace a file atomically and durably."""
        self._effect(what or f"write {name}", lambda: self.put(name, data))

    def append(self, name: str, inode: Inode, position: int, data: bytes) -> None:
        """Write bytes, not durably."""

        def action() -> None:
            inode.data[position:] = data

        self._effect(f"append to {name}", action)

    def write_at(self, name: str, inode: Inode, position: int, data: bytes) -> None:
        """Overwrite bytes, not durably; a gap before them is filled with zeros."""

        def action() -> None:
            inode.data.extend(bytes(max(0, position - len(inode.data))))
            inode.data[position : position + len(data)] = data

        self._effect(f"append to {name}", action)

    def truncate(self, name: str, inode: Inode, size: int = 0) -> None:
        """Truncate a file, not durably."""

        def action() -> None:
            inode.data.extend(bytes(max(0, size - len(inode.data))))
            del inode.data[size:]

        self._effect(f"empty {name}", action)

    def sync(self, name: str, inode: Inode) -> None:
        """Make a file's bytes durable."""
        self._effect(f"sync {name}", inode.sync)

    def rename(self, old: str, new: str, *, durably: bool) -> None:
        """Rename a file."""

        def action() -> None:
            self._names[new] = self._names.pop(old)
            if durably:
                self._durable = dict(self._names)

        self._effect(f"rename {old} to {new}", action)

    def remove(self, name: str) -> None:
        """Remove a file, durably; a missing file is no error and no effect."""

        def action() -> None:
            self._names.pop(name, None)
            self._durable.pop(name, None)

        if name in self._names:
            self._effect(f"remove {name}", action)

    def _effect(self, what: str, action: Callable[[], object]) -> None:
        if self.refuses(what):
            raise full(what)
        self._power.do(what, action, full)

    @property
    def is_unsynced(self) -> bool:
        """Whether a power cut would change anything."""
        return self._names != self._durable or any(one.data != one.synced for one in self._names.values())

    def crash(self, damage: Damage) -> None:
        """Lose power."""
        if damage is Damage.DROP:
            self._names = dict(self._durable)
        for inode in self._names.values():
            if damage is Damage.DROP:
                inode.data = bytearray(inode.synced)
            elif damage is Damage.TORN:  # the new length is on disk, the bytes are not
                common = len(inode.synced)
                if inode.data[:common] != inode.synced:
                    common = 0
                half = common + (len(inode.data) - common) // 2
                inode.data[half:] = bytes(len(inode.data) - half)
        self.sync_all()

    def sync_all(self) -> None:
        """Make everything durable, as a clean reboot does."""
        for inode in self._names.values():
            inode.sync()
        self._durable = dict(self._names)
