"""The shipped modules with the client: updates are installed, committed and rolled back with its commands."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from calling import call

from .board import PRINT, SET, SIZE
from .module import MODULES


class Device:
    """A device in a directory, with the shipped modules and no server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("etc/mender", "usr/share/mender/modules", "var/lib/mender", "usr/bin"):
            (root / name).mkdir(mode=0o755, parents=True)
        shutil.copytree(MODULES, root / "usr/share/mender/modules/v3")
        (root / "var/lib/mender/device_type").write_text("device_type=board\n")
        (root / "etc/mender/artifact_info").write_text("artifact_name=old\n")
        self.parts = [root / "part2", root / "part3"]
        for part in self.parts:
            part.write_bytes(bytes(SIZE))
        self.env = root / "boot.env"
        self.env.write_text("mender_boot_part=2\n")
        for name, text in (("fw_printenv", PRINT), ("fw_setenv", SET)):
            (root / "usr/bin" / name).write_text(text.format(env=self.env, separator="="))
            (root / "usr/bin" / name).chmod(0o755)
        settings = {"ServerURL": "https://unused.example", "RootfsPartA": "/part2", "RootfsPartB": "/part3"}
        (root / "etc/mender/mender.conf").write_text(json.dumps(settings))

    def write(self, kind: str, *words: str | Path) -> Path:
        """Write an Artifact."""
        out = self.root / "new.mender"
        done = call("artifact", "write", kind, "-n", "new", "-t", "board", "-o", str(out), *map(str, words))
        assert 0 == done.returncode, done.stderr
        return out

    def does(self, *words: str | Path) -> list[str]:
        """Run a command that succeeds; return the lines that it prints."""
        done = call("--root", str(self.root), *map(str, words))
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout.splitlines()

    @property
    def boot_part(self) -> tuple[str, str]:
        """The partition that is booted next, and whether on trial."""
        variables = dict(line.split("=", 1) for line in self.env.read_text().splitlines())
        return variables["mender_boot_part"], variables.get("upgrade_available", "0")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device whose partitions and boot loader are also below its root."""
    return Device(tmp_path / "device")


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_root_file_system(device: Device, tmp_path: Path, end: str) -> None:
    """The image is written to the passive partition, which is booted on trial; then it is committed or rolled back."""
    image = tmp_path / "rootfs.ext4"
    image.write_bytes(os.urandom(SIZE - 5))
    said = device.does("install", device.write("rootfs-image", "-f", image))
    assert "At least one payload requested a reboot of the device it updated." in " ".join(said)
    assert (image.read_bytes() + bytes(5), ("3", "1")) == (device.parts[1].read_bytes(), device.boot_part)
    device.does(end)
    assert {"commit": ("3", "0"), "rollback": ("2", "0")}[end] == device.boot_part
    assert [{"commit": "new", "rollback": "old"}[end]] == device.does("show-artifact")


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("kind", ["single-file", "directory"])
def test_files(device: Device, tmp_path: Path, kind: str, end: str) -> None:
    """A file or a directory is replaced; then the update is committed or rolled back."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "app").write_text("old")
    source = tmp_path / "source"
    source.mkdir()
    (source / "app").write_text("new")
    file = source / "app" if kind == "single-file" else source
    device.does("install", device.write(kind, "-f", file, "--dest-dir", target))
    assert "new" == (target / "app").read_text()
    device.does(end)
    assert {"commit": "new", "rollback": "old"}[end] == (target / "app").read_text()
    assert ["app"] == os.listdir(target)
    assert not (device.root / "var/lib/mender/modules/v3/payloads/0000/tree").exists()


def test_script(device: Device, tmp_path: Path) -> None:
    """An update that can't be rolled back is committed immediately."""
    script = tmp_path / "10-do"
    script.write_text(f"#!/bin/sh\n: >{tmp_path}/done\n")
    said = device.does("install", device.write("script", "-f", script))
    assert "Update Module doesn't support rollback. Committing immediately." in said
    assert (tmp_path / "done").exists()
