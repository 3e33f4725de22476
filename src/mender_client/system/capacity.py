"""The device's memory and storage, read from procfs and sysfs whenever an Artifact is downloaded."""

from __future__ import annotations

import os
import re
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_SECTOR_BYTES = 512
_NO_STORAGE = re.compile(r"loop|ram|zram|sr|fd|nbd")
_ROOTFS = "rootfs-image"


class DeviceCapacity:
    """The capacity of this device; see ``core.ports.Capacity``.

    Args:
        partitions: the root partitions (RootfsPartA, RootfsPartB).
        root: the directory above ``proc`` and ``sys``.
    """

    def __init__(self, partitions: Sequence[Path], root: Path = Path("/")) -> None:
        self._partitions = partitions
        self._proc = root / "proc"
        self._sys = root / "sys"

    def memory_bytes(self) -> int | None:
        """The smallest of the machine's memory, the limits of the process and those of its control groups."""
        soft = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
        limits = [limit for limit in soft if limit != resource.RLIM_INFINITY]
        total = re.search(r"^MemTotal: +([0-9]+) kB", _text(self._proc / "meminfo"), re.MULTILINE)
        if total:
            limits.append(int(total[1]) * 1024)
        limits += [int(text) for text in map(_text, self._group_files()) if text.isdigit()]
        return min(limits, default=None)

    def _group_files(self) -> Iterator[Path]:
        """The files with the memory limits of this process's control groups (version 1 and 2), up to the root."""
        base = self._sys / "fs/cgroup"
        for line in _text(self._proc / "self/cgroup").splitlines():
            _, _, controller_and_path = line.partition(":")
            controller, _, path = controller_and_path.partition(":")
            group = Path(path.lstrip("/"))
            for directory in (group, *group.parents):
                if not controller:
                    yield base / directory / "memory.max"
                elif controller == "memory":
                    yield base / "memory" / directory / "memory.limit_in_bytes"

    def storage_bytes(self, payload_type: str | None) -> int | None:
        """The size of the larger root partition for an image; otherwise, or if unknown, that of all disks and flash."""
        if payload_type == _ROOTFS:
            sizes = [size for size in map(self._partition_bytes, self._partitions) if size]
            if sizes:
                return max(sizes)
        disks = [file for file in self._sys.glob("block/*/size") if not _NO_STORAGE.match(file.parent.name)]
        total = sum(_number(file) * _SECTOR_BYTES for file in disks)
        return total + sum(map(_number, self._sys.glob("class/mtd/mtd*/size"))) or None

    def _partition_bytes(self, partition: Path) -> int:
        """The size of a block device or of a UBI volume; 0 if unknown."""
        with suppress(OSError):
            state = partition.stat()
            numbers = f"{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}"
            if stat.S_ISBLK(state.st_mode):
                return _number(self._sys / "dev/block" / numbers / "size") * _SECTOR_BYTES
            if stat.S_ISCHR(state.st_mode):
                return _number(self._sys / "dev/char" / numbers / "data_bytes")
        return 0


def _number(file: Path) -> int:
    text = _text(file)
    return int(text) if text.isdigit() else 0


def _text(file: Path) -> str:
    """The content of a file in procfs or sysfs; empty if it can't be read."""
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""
