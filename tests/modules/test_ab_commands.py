"""The commands of the module rootfs-image for sub-updaters: partitions are named A and B, and nothing is stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .board import SIZE, Board
from .module import MODULES

NEW = b"new system".ljust(70_000, b"!")


class Caller:
    """A sub-updater, on a board or with the boot variables in a file."""

    def __init__(self, board: Board) -> None:
        self.board, self.said = board, ""
        board.configure()
        self.environment = {
            **board.environment,
            "MENDER_ROOTFS_PART_A": "/dev/mmcblk0p2",
            "MENDER_ROOTFS_PART_B": "/dev/mmcblk0p11",
        }

    def use_file(self) -> None:
        """Keep the boot variables in a file of the sub-updater."""
        (self.board.root / "usr/bin/fw_setenv").unlink()
        self.board.env.write_text("# ours\nother=kept\nmender_boot_part=A\nrunning=A\n")
        self.environment |= {"BOOT_TOOL": "file", "BOOT_ENV_FILE": str(self.board.env)}

    def run(self, *words: str, image: bytes = b"") -> tuple[int, str]:
        """Exit code and standard output of a command."""
        done = subprocess.run(
            [sys.executable, "-IS", MODULES / "rootfs-image", *words],
            env=self.environment,
            input=image,
            capture_output=True,
            check=False,
        )
        self.said = done.stderr.decode()
        return done.returncode, done.stdout.decode()


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    """A sub-updater on a board that runs A, without a mender.conf that names partitions."""
    return Caller(Board(tmp_path / "a board"))


def test_the_way_of_an_update(caller: Caller) -> None:
    """The image is written to the passive partition, which is booted on trial, then permanently."""
    assert (0, "A\n") == caller.run("running")
    assert (0, "") == caller.run("write", "B", image=NEW), caller.said
    assert NEW == caller.board.partition(11)[: len(NEW)]
    assert (0, "") == caller.run("switch", "B")
    switched = {"bootdelay": "0", "mender_boot_part": "11", "mender_boot_part_hex": "b", "bootcount": "0"}
    assert {**switched, "upgrade_available": "1"} == caller.board.variables
    caller.board.run_from(11)
    assert (0, "B\n") == caller.run("running")
    assert (0, "") == caller.run("commit", "B")
    assert {**switched, "upgrade_available": "0"} == caller.board.variables


def test_the_way_back(caller: Caller) -> None:
    """A rollback selects the old partition; if that is already selected, nothing is written."""
    caller.run("switch", "B")
    assert (0, "") == caller.run("rollback", "A")
    variables = caller.board.variables
    assert ("2", "0") == (variables["mender_boot_part"], variables["upgrade_available"])
    caller.board.program("fw_setenv", "#!/bin/sh\nexit 1\n")
    assert (0, "") == caller.run("rollback", "A")
    assert (1, "") == caller.run("rollback", "B")
    assert "cannot set the boot variables with fw_setenv (exit 1)" in caller.said


def test_variables_in_a_file(caller: Caller) -> None:
    """With BOOT_TOOL=file the variables are lines of a file, in which the partitions are named A and B."""
    caller.use_file()
    assert (0, "A\n") == caller.run("running")
    assert (0, "") == caller.run("write", "B", image=NEW), caller.said
    assert (0, "") == caller.run("switch", "B")
    assert [
        "# ours",
        "other=kept",
        "running=A",
        "mender_boot_part=B",
        "mender_boot_part_hex=B",
        "upgrade_available=1",
        "bootcount=0",
    ] == caller.board.env.read_text().splitlines()
    assert (0, "") == caller.run("rollback", "A")
    assert "mender_boot_part=A" in caller.board.env.read_text().splitlines()


def test_single_variables(caller: Caller) -> None:
    """A variable is read and set by its name; a variable that isn't set is empty."""
    assert (0, "2\n") == caller.run("get", "mender_boot_part")
    assert (0, "\n") == caller.run("get", "bootcount")
    assert (0, "") == caller.run("set", "bootcount=4")
    assert (0, "4\n") == caller.run("get", "bootcount")


@pytest.mark.parametrize(
    ("words", "image", "why"),
    [
        (("write", "A"), NEW, "mmcblk0p2: the device is running from it"),
        (("write", "C"), NEW, "cannot understand 'C': specify partition A or B"),
        (("write", "B"), b"", "cannot use the image: it is empty"),
        (("write", "B"), bytes(SIZE + 1), f"the image is larger than its {SIZE} bytes"),
    ],
)
def test_what_is_not_written(caller: Caller, words: tuple[str, ...], image: bytes, why: str) -> None:
    """The running partition isn't written to, and no partition is written beyond its end."""
    assert (1, "") == caller.run(*words, image=image)
    assert why in caller.said
    assert (b"x" * SIZE, SIZE) == (caller.board.partition(2), len(caller.board.partition(11)))


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"BOOT_TOOL": "lilo"}, "cannot use BOOT_TOOL 'lilo': choose uboot, grub or file"),
        ({"BOOT_TOOL": "grub"}, "cannot find grub-mender-grubenv-print: install the boot loader's tools"),
        ({"BOOT_TOOL": "file"}, "cannot write BOOT_ENV_FILE ''"),
        ({"BOOT_TOOL": "file", "BOOT_ENV_FILE": "/no/such/file"}, "cannot write BOOT_ENV_FILE '/no/such/file'"),
    ],
)
def test_unusable_tools(caller: Caller, variables: dict[str, str], why: str) -> None:
    """With an invalid BOOT_TOOL, without its tools or without the file of variables, commands fail and do nothing."""
    before = caller.board.variables
    caller.environment |= variables
    for words in (["running"], ["write", "B"], ["switch", "B"], ["commit", "B"], ["rollback", "A"], ["set", "x=1"]):
        assert (1, "") == caller.run(*words, image=NEW)
        assert why in caller.said
    assert (b"x" * SIZE, before) == (caller.board.partition(11), caller.board.variables)


def test_tools_that_were_asked_for(caller: Caller, tmp_path: Path) -> None:
    """With MENDER_ROOT, the tools of the machine are used only if BOOT_TOOL requests them."""
    (caller.board.root / "usr/bin").rename(tmp_path / "bin")
    caller.environment["PATH"] = f"{tmp_path}/bin:{caller.environment['PATH']}"
    assert (1, "") == caller.run("running")
    assert "cannot find fw_printenv or grub-mender-grubenv-print" in caller.said
    caller.environment["BOOT_TOOL"] = "uboot"
    assert (0, "A\n") == caller.run("running")


def test_volume_of_ubi(caller: Caller) -> None:
    """A UBI volume is refused, since it needs the size of the image in advance, which a sub-updater doesn't know."""
    (caller.board.root / "sys/class/ubi/mmcblk0p11").mkdir(parents=True)
    assert (1, "") == caller.run("write", "B", image=NEW)
    assert "a volume of UBI needs the size of the image first" in caller.said
