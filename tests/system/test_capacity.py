"""The device's memory and storage, from procfs and sysfs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mender_client.core.artifact import limits_for
from mender_client.system.capacity import DeviceCapacity

MIB = 1 << 20


def capacity(root: Path, files: Mapping[str, str], *partitions: Path) -> DeviceCapacity:
    """The capacity of a device with these files in procfs and sysfs."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return DeviceCapacity(partitions, root)


MACHINE = {"proc/meminfo": "MemTotal:  262144 kB\nMemFree: 1 kB\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (MACHINE, 256),
        ({**MACHINE, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max"}, 256),
        ({**MACHINE, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": str(100 * MIB)}, 100),
        ({**MACHINE, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": str(90 * MIB)}, 90),
        (
            {
                **MACHINE,
                "proc/self/cgroup": "9:cpu:/\n4:memory:/c\n",
                "sys/fs/cgroup/memory/c/memory.limit_in_bytes": str(80 * MIB),
            },
            80,
        ),
        ({**MACHINE, "proc/self/cgroup": "broken"}, 256),
    ],
)
def test_memory_is_the_least_of_all_limits(tmp_path: Path, files: Mapping[str, str], expected: int) -> None:
    """The memory is the machine's, or the limit of a control group or one of its parents if that is lower."""
    assert expected * MIB == capacity(tmp_path, files).memory_bytes()


def test_unknown_memory(tmp_path: Path) -> None:
    """Without procfs, the memory is unknown."""
    assert None is capacity(tmp_path, {}).memory_bytes()


def test_a_limit_of_the_process_counts() -> None:
    """The address space limit of the process, as set by ulimit -v or the service manager, limits the memory."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (300 << 20,) * 2);"
        "from mender_client.system.capacity import DeviceCapacity; print(DeviceCapacity([]).memory_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 300 * MIB


@pytest.mark.parametrize(("memory_mib", "window_mib"), [(None, 64), (4096, 64), (256, 64), (100, 25), (32, 8), (16, 8)])
def test_the_window_of_a_decoder_is_a_quarter_of_memory(memory_mib: int | None, window_mib: int) -> None:
    """The window is a quarter of the memory, at most 64 MiB, and at least 8 MiB, the default of xz and zstd."""
    assert window_mib * MIB == limits_for(memory_mib and memory_mib * MIB).window_bytes


DISKS = {"sys/block/mmcblk0/size": "2048", "sys/block/loop0/size": "4096", "sys/block/zram0/size": "4096"}


def test_storage_is_all_disks_and_flash(tmp_path: Path) -> None:
    """Loop and zram devices don't count; without any disk or flash, the storage is unknown."""
    assert None is capacity(tmp_path, {}).storage_bytes("app")
    assert MIB == capacity(tmp_path, DISKS).storage_bytes("app")
    assert MIB + 7 == capacity(tmp_path, {**DISKS, "sys/class/mtd/mtd0/size": "7"}).storage_bytes("rootfs-image")


def test_an_image_has_the_larger_partition(tmp_path: Path) -> None:
    """An image has the larger partition; other payloads, or images without block devices, have all disks."""
    try:
        devices = [tmp_path / "a", tmp_path / "b"]
        for minor, device in enumerate(devices):
            os.mknod(device, 0o060600, os.makedev(179, minor + 1))
    except PermissionError:
        pytest.skip("only root can make devices")
    sizes = {"sys/dev/block/179:1/size": "100", "sys/dev/block/179:2/size": "200"}
    one = capacity(tmp_path, {**DISKS, **sizes}, *devices, tmp_path / "missing")
    assert (200 * 512, MIB) == (one.storage_bytes("rootfs-image"), one.storage_bytes("app"))
    assert MIB == capacity(tmp_path, {"file": ""}, tmp_path / "file").storage_bytes("rootfs-image")


def test_without_memory_for_a_thread_this_one_hashes() -> None:
    """If no thread can be started, the digest is computed nevertheless."""
    code = (
        "import threading; from mender_client.system import digest; threading.stack_size(1 << 46);"
        "one = digest._in_background(); one.update(memoryview(b'abc')); print(one.hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert hashlib.sha256(b"abc").hexdigest() == done.stdout.strip()
