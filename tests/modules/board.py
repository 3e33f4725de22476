"""A device in a directory for the module rootfs-image: files in place of partitions and of the kernel's interfaces,
scripts as the boot loader's tools, and a client that feeds the image."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

from support.device import compiled

SIZE = 1 << 20
"""The size of a partition in bytes."""

PRINT = """#!/bin/sh
grep "^$1=" "{env}" || exit 1
"""
SET = """#!/bin/sh
[ "$*" = "-s -" ] || exit 64
while IFS='{separator}' read -r name value; do
    case $name in *=*) continue ;; esac
    sed -i "/^$name=/d" "{env}"
    echo "$name=$value" >>"{env}"
done
"""
"""Reads lines as ``fw_setenv`` does; an old version needs a space, and silently ignores a line without one."""

TOOLS = {
    "uboot": ("fw_printenv", "fw_setenv", "="),
    "old uboot": ("fw_printenv", "fw_setenv", " "),
    "grub": ("grub-mender-grubenv-print", "grub-mender-grubenv-set", "="),
}


class Board:
    """A device with partitions 2 and 11, of which 2 is running."""

    def __init__(self, root: Path, tools: str = "uboot") -> None:
        self.root, self.said = root, ""
        for name in ("etc/mender", "var/lib/mender", "usr/bin", "dev", "proc/self", "sys/class/block"):
            (root / name).mkdir(parents=True)
        self.tree = root / "var/lib/mender/tree"
        for name in ("mmcblk0p2", "mmcblk0p11"):
            (root / "dev" / name).write_bytes(b"x" * SIZE)
        self.env = root / "boot.env"
        self.env.write_text("bootdelay=0\nmender_boot_part=2\nupgrade_available=0\n")
        self.add_tools(tools)
        self.configure(RootfsPartA="/dev/mmcblk0p2", RootfsPartB="/dev/mmcblk0p11")
        self.environment = {"PATH": os.environ["PATH"], "MENDER_ROOT": str(root)}
        self.run_from(2)
        self.begin()

    def add_tools(self, tools: str) -> None:
        """Install a boot loader's tools."""
        printer, setter, separator = TOOLS[tools]
        for name, text in ((printer, PRINT), (setter, SET)):
            self.program(name, text.format(env=self.env, separator=separator))

    def program(self, name: str, text: str) -> None:
        """Install a program."""
        file = self.root / "usr/bin" / name
        file.write_text(text)
        file.chmod(0o755)

    def configure(self, **settings: str) -> None:
        """Write mender.conf."""
        (self.root / "etc/mender/mender.conf").write_text(json.dumps(settings))

    def run_from(self, partition: int) -> None:
        """Make the kernel's files show that this partition was booted."""
        block = self.root / "sys/devices/block" / f"mmcblk0p{partition}"
        block.mkdir(parents=True, exist_ok=True)
        numbers = self.root / "sys/dev/block"
        numbers.mkdir(parents=True, exist_ok=True)
        if not (numbers / f"179:{partition}").exists():
            (numbers / f"179:{partition}").symlink_to(block)
        self.mounts(f"21 1 179:{partition} / / rw,relatime shared:1 - ext4 /dev/root rw")

    def mounts(self, *lines: str) -> None:
        """Write the kernel's list of mounts."""
        text = "\n".join(("20 21 0:5 / /proc rw - proc proc rw", *lines, ""))
        (self.root / "proc/self/mountinfo").write_text(text)

    def begin(self) -> None:
        """Begin a new update."""
        shutil.rmtree(self.tree, ignore_errors=True)
        (self.tree / "tmp").mkdir(parents=True)

    @property
    def variables(self) -> dict[str, str]:
        """The boot loader's variables."""
        return dict(line.split("=", 1) for line in self.env.read_text().splitlines())

    def partition(self, number: int) -> bytes:
        """The content of a partition."""
        return (self.root / f"dev/mmcblk0p{number}").read_bytes()

    def start(self, state: str) -> subprocess.Popen[str]:
        """Start a call."""
        return subprocess.Popen(
            [sys.executable, "-IS", compiled(), state, self.tree],
            cwd=self.tree,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, state: str) -> tuple[int, str]:
        """Exit code and standard output of a call."""
        process = self.start(state)
        out, said = process.communicate()
        self.said += said
        return process.returncode, out

    def codes(self, *states: str) -> list[int]:
        """The exit codes of calls."""
        return [self.run(state)[0] for state in states]

    def download(self, *files: bytes, announced: int | None = None) -> int:
        """Feed a payload as the contract requires; return the exit code."""
        streams = self.tree / "streams"
        streams.mkdir()
        os.mkfifo(self.tree / "stream-next", 0o600)
        process = self.start("DownloadWithFileSizes")
        for number, content in enumerate(files):
            name = f"streams/image-{number}"
            os.mkfifo(self.tree / name, 0o600)
            size = len(content) if announced is None else announced
            if not feed(process, self.tree / "stream-next", f"{name} {size}\n".encode()):
                break
            if not feed(process, self.tree / name, content):
                break
        else:
            feed(process, self.tree / "stream-next", b"")
        out, said = process.communicate()
        assert "" == out
        self.said += said
        (self.tree / "stream-next").unlink()
        shutil.rmtree(streams)
        return process.returncode

    def refused(self, *files: bytes, announced: int | None = None) -> str:
        """The reason why a download was refused; no boot variable has changed."""
        before, self.said = self.variables, ""
        assert 1 == self.download(*(files or (b"new",)), announced=announced)
        assert before == self.variables
        assert [1, 0, 0, 0] == self.codes("ArtifactInstall", "ArtifactRollback", "ArtifactFailure", "Cleanup")
        assert before == self.variables
        return self.said.splitlines()[-2]


def feed(process: subprocess.Popen[str], fifo: Path, content: bytes) -> bool:
    """Write to a FIFO when the module opens it; return False if the module ends first."""
    while True:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            if process.poll() is not None:
                return False
            time.sleep(0.005)
    os.set_blocking(descriptor, True)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
    except BrokenPipeError:
        return False
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    return True
