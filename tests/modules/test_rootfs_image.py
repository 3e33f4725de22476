"""The module rootfs-image: writing to the passive partition, the boot variables, and the cases that it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

from .board import SIZE, TOOLS, Board
from .module import MODULES

BLOCK = 64 * 1024
NEW = b"new system ".ljust(BLOCK, b"!") + b"second block".ljust(BLOCK, b"?") + b"rest"


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board with U-Boot, in a directory with a space in its name."""
    return Board(tmp_path / "a board")


@pytest.fixture(params=sorted(TOOLS))
def any_board(tmp_path: Path, request: pytest.FixtureRequest) -> Board:
    """A board with each boot loader's tools."""
    return Board(tmp_path / "a board", request.param)


def test_answers(board: Board) -> None:
    """It requests sizes and a reboot, and supports rollback; a state that it doesn't implement succeeds silently."""
    assert (0, "Yes\n") == board.run("ProvidePayloadFileSizes")
    assert (0, "Automatic\n") == board.run("NeedsArtifactReboot")
    assert (0, "Yes\n") == board.run("SupportsRollback")
    assert (0, "") == board.run("SomethingNew")


def test_commit(any_board: Board) -> None:
    """The number of the passive partition is passed to the boot loader, also in hex, and the commit ends the trial."""
    board = any_board
    before = board.variables
    assert 0 == board.download(NEW), board.said
    assert (NEW + b"x" * (SIZE - len(NEW)), before) == (board.partition(11), board.variables)
    assert [0] == board.codes("ArtifactInstall"), board.said
    switched = {"bootdelay": "0", "mender_boot_part": "11", "mender_boot_part_hex": "b", "bootcount": "0"}
    assert {**switched, "upgrade_available": "1"} == board.variables
    board.run_from(11)
    assert [0, 0, 0] == board.codes("ArtifactVerifyReboot", "ArtifactCommit", "Cleanup"), board.said
    assert {**switched, "upgrade_available": "0"} == board.variables


def test_states_may_run_twice(board: Board) -> None:
    """After a power cut each state can be repeated."""
    board.download(NEW)
    assert [0, 0] == board.codes("ArtifactInstall", "ArtifactInstall")
    board.run_from(11)
    assert [0] * 4 == board.codes("ArtifactVerifyReboot", "ArtifactVerifyReboot", "ArtifactCommit", "ArtifactCommit")
    assert ("11", "0") == (board.variables["mender_boot_part"], board.variables["upgrade_available"])
    assert [0] * 3 == board.codes("ArtifactRollback", "ArtifactRollback", "ArtifactFailure")
    assert ("2", "0") == (board.variables["mender_boot_part"], board.variables["upgrade_available"])
    board.run_from(2)
    assert [0, 0] == board.codes("ArtifactVerifyRollbackReboot", "Cleanup")


def test_rollback_from_the_new_system(any_board: Board) -> None:
    """A rollback selects the old partition, and is verified after the reboot."""
    board = any_board
    board.download(NEW)
    board.run("ArtifactInstall")
    board.run_from(11)
    assert [0, 1] == board.codes("ArtifactRollback", "ArtifactVerifyRollbackReboot"), board.said
    selected = {"mender_boot_part": "2", "mender_boot_part_hex": "2", "upgrade_available": "0", "bootcount": "0"}
    assert selected.items() <= board.variables.items()
    board.run_from(2)
    assert [0, 0, 0] == board.codes("ArtifactVerifyRollbackReboot", "ArtifactFailure", "Cleanup"), board.said


def test_boot_loader_that_went_back(board: Board) -> None:
    """If the boot loader has fallen back to the old system, the reboot isn't verified, and nothing is committed."""
    board.download(NEW)
    board.run("ArtifactInstall")
    board.env.write_text("mender_boot_part=2\nupgrade_available=0\nbootcount=0\n")
    assert [1, 1] == board.codes("ArtifactVerifyReboot", "ArtifactCommit")
    assert "the boot loader has gone back to the old system" in board.said
    before = board.variables
    assert [0, 0] == board.codes("ArtifactRollback", "ArtifactVerifyRollbackReboot")
    assert before == board.variables


def test_old_system_on_trial(board: Board) -> None:
    """The mounted partition determines the running system, even if the boot variables say otherwise."""
    board.download(NEW)
    board.run("ArtifactInstall")
    assert [1, 1] == board.codes("ArtifactVerifyReboot", "ArtifactCommit")
    assert "the device is running from partition 2, not from" in board.said


def test_install_without_download(board: Board) -> None:
    """Without a complete image nothing is switched, and the rollback has nothing to do."""
    before = board.variables
    assert [1, 0, 0] == board.codes("ArtifactInstall", "ArtifactRollback", "Cleanup")
    assert before == board.variables


def test_download_that_is_begun_again(board: Board) -> None:
    """A download that fails leaves nothing to install, even if an earlier one succeeded."""
    board.download(NEW)
    assert 1 == board.download(b"cut short", announced=100_000)
    assert [1, 0] == board.codes("ArtifactInstall", "ArtifactRollback")
    assert "2" == board.variables["mender_boot_part"]


def test_equal_blocks_are_not_written(board: Board) -> None:
    """Blocks that are already on the partition are counted but not written."""
    board.download(NEW)
    board.begin()
    changed = NEW[:BLOCK] + b"Second" + NEW[BLOCK + 6 :]
    board.said = ""
    assert 0 == board.download(changed), board.said
    assert "wrote 1 blocks of 64 KiB" in board.said
    assert "2 were equal already" in board.said
    assert changed == board.partition(11)[: len(changed)]


def test_image_as_large_as_the_partition(board: Board) -> None:
    """A partition can be filled up to its last byte, and no further."""
    assert 0 == board.download(os.urandom(SIZE)), board.said
    board.begin()
    before = board.partition(11)
    said = board.refused(bytes(SIZE + 1))
    assert f"the image has {SIZE + 1} bytes, the partition {SIZE}" in said
    assert before == board.partition(11)


@pytest.mark.parametrize(
    ("files", "announced", "why"),
    [
        ((b"",), None, "the payload must be one file that isn't empty"),
        ((), None, "the payload must be one file that isn't empty"),
        ((b"one", b"two"), None, "it has more than one file"),
        ((b"cut short",), 100_000, "it ends after 9 of 100000 bytes"),
        ((b"too long",), 3, "longer than the 3 bytes"),
    ],
)
def test_faulty_payload(board: Board, files: tuple[bytes, ...], announced: int | None, why: str) -> None:
    """A payload that isn't one complete image is refused, and nothing can be installed."""
    before, board.said = board.variables, ""
    assert 1 == board.download(*files, announced=announced)
    assert why in board.said
    assert [1, 0] == board.codes("ArtifactInstall", "ArtifactRollback")
    assert before == board.variables


def test_download_without_sizes(board: Board) -> None:
    """A client that doesn't pass the size gets a clear error."""
    assert (1, "") == board.run("Download")
    assert "the client must ask for ProvidePayloadFileSizes" in board.said


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (("/dev/mmcblk0p2", "/dev/mmcblk0p2"), "they are the same device"),
        (("/dev/mmcblk0p2", "/dev/link2"), "they are the same device"),
        (("/dev/mmcblk0p2", "/dev/hard3"), "they are the same device"),
        (("/dev/mmcblk0p2", "/dev/sda2"), "their names must end in different numbers"),
        (("/dev/mmcblk0p2", "/dev/sda"), "their names must end in different numbers"),
        (("/dev/mmcblk0p2", ""), "set RootfsPartA and RootfsPartB"),
        (("/dev/mmcblk0p2", "/dev/mmcblk0p9"), "No such file or directory"),
        (("/dev/mmcblk0p2", "/dev/directory3"), "it is not a partition"),
        (("/dev/mmcblk0p3", "/dev/mmcblk0p11"), "cannot tell from which partition the device is running"),
    ],
)
def test_faulty_partitions(board: Board, parts: tuple[str, str], why: str) -> None:
    """Partitions that can't be an A/B pair are refused before anything is written."""
    (board.root / "dev/link2").symlink_to("mmcblk0p2")
    os.link(board.root / "dev/mmcblk0p2", board.root / "dev/hard3")
    for name in ("sda2", "sda"):
        (board.root / "dev" / name).write_bytes(b"")
    (board.root / "dev/directory3").mkdir()
    board.configure(RootfsPartA=parts[0], RootfsPartB=parts[1])
    if "cannot tell which" in why:
        board.env.write_text("mender_boot_part=7\n")
    assert why in board.refused()
    assert b"x" * SIZE == board.partition(11)


def test_what_is_in_use(board: Board) -> None:
    """A partition that is mounted or in use, and a disk with partitions, aren't written to."""
    mounts = board.root / "proc/mounts"
    mounts.write_text("proc /proc proc rw 0 0\n/dev/mmcblk0p11 /mnt ext4 rw 0 0\n")
    assert "it is mounted; unmount it" in board.refused()
    mounts.unlink()
    held = board.root / "sys/class/block/mmcblk0p11/holders/dm-0"
    held.mkdir(parents=True)
    assert "dm-0 uses it" in board.refused()
    held.rmdir()
    disk = board.root / "sys/class/block/mmcblk0p11/mmcblk0p11p1"
    disk.mkdir()
    (disk / "partition").write_text("1\n")
    assert "it is a whole disk" in board.refused()
    assert b"x" * SIZE == board.partition(11)


def test_canary(board: Board) -> None:
    """The canary detects tools that read another environment than the boot loader's."""
    board.env.write_text("mender_boot_part=2\nmender_check_saveenv_canary=1\n")
    assert "mender_saveenv_canary isn't set" in board.refused()
    board.env.write_text("mender_boot_part=2\nmender_check_saveenv_canary=1\nmender_saveenv_canary=1\n")
    assert 0 == board.download(NEW), board.said


@pytest.mark.parametrize("code", [0, 1])
def test_tool_that_does_not_write(board: Board, code: int) -> None:
    """Variables that don't read back as written are a failure, whatever the tool's exit code is."""
    board.download(NEW)
    board.program("fw_setenv", f"#!/bin/sh\necho no >&2\nexit {code}\n")
    before = board.variables
    assert [1] == board.codes("ArtifactInstall")
    assert f"cannot set the boot variables with fw_setenv (exit {code}): no" in board.said
    assert ([0], before) == (board.codes("ArtifactRollback"), board.variables)


@pytest.mark.skipif(shutil.which("fw_setenv") is None, reason="libubootenv-tool isn't installed")
def test_tools_of_libubootenv(board: Board) -> None:
    """The real tools store the variables in U-Boot's format, here in a file in place of flash memory."""
    variables = b"mender_boot_part=2\0bootlimit=1\0\0".ljust(0x4000 - 4, b"\0")
    environment = board.root / "uboot.env"
    environment.write_bytes(zlib.crc32(variables).to_bytes(4, "little") + variables)
    (board.root / "fw_env.config").write_text("uboot.env 0x0 0x4000\n")
    for tool in ("fw_printenv", "fw_setenv"):
        call = f'cd "{board.root}" && exec {shutil.which(tool)} -c fw_env.config "$@"'
        board.program(tool, f"#!/bin/sh\n{call}\n")
    assert 0 == board.download(NEW), board.said
    assert [0] == board.codes("ArtifactInstall"), board.said
    stored = environment.read_bytes()[4:].split(b"\0\0")[0].split(b"\0")
    expected = [b"bootlimit=1", b"mender_boot_part=11", b"mender_boot_part_hex=b", b"upgrade_available=1"]
    assert sorted([*expected, b"bootcount=0"]) == sorted(stored)


def test_no_tools(board: Board) -> None:
    """Without a boot loader's tools nothing is written."""
    (board.root / "usr/bin/fw_printenv").unlink()
    assert 1 == board.download(NEW)
    assert "install the boot loader's tools" in board.said
    assert b"x" * SIZE == board.partition(11)


def test_tools_of_both_boot_loaders(board: Board) -> None:
    """If both kinds of tools are installed, those that know mender_boot_part are used."""
    board.add_tools("grub")
    board.program("grub-mender-grubenv-print", "#!/bin/sh\nexit 1\n")
    board.download(NEW)
    assert [0] == board.codes("ArtifactInstall"), board.said
    assert "11" == board.variables["mender_boot_part"]


@pytest.mark.parametrize("name", ["PARTUUID=5-b", "UUID=5-b", "PARTLABEL=5-b", "LABEL=5-b", "/dev/mmcblk0p11"])
def test_root_of_the_command_line(board: Board, name: str) -> None:
    """If the root is an overlay, the kernel's command line determines the running partition."""
    board.mounts("21 1 0:23 / / rw - overlay overlay rw")
    (board.root / "proc/cmdline").write_text(f"console=ttyS0 root={name} rootwait\n")
    if "=" in name:
        by = board.root / f"dev/disk/by-{name.split('=')[0].lower()}"
        by.mkdir(parents=True)
        (by / "5-b").symlink_to("../../mmcblk0p11")
    assert 0 == board.download(NEW), board.said
    assert NEW == board.partition(2)[: len(NEW)]


def test_source_of_the_mount(board: Board) -> None:
    """A file system without a device number is identified by the source of its mount."""
    board.mounts("21 1 0:30 / / rw - btrfs /dev/mmcblk0p11 rw")
    assert 0 == board.download(NEW), board.said
    assert NEW == board.partition(2)[: len(NEW)]


def test_device_mapper(board: Board) -> None:
    """If the root is on a device mapper device, the partition below that is the running one."""
    (board.root / "sys/devices/block/dm-0").mkdir(parents=True)
    (board.root / "sys/dev/block/252:0").symlink_to(board.root / "sys/devices/block/dm-0")
    (board.root / "sys/class/block/dm-0/slaves/mmcblk0p11").mkdir(parents=True)
    board.mounts("21 1 252:0 / / ro - squashfs /dev/dm-0 ro")
    assert 0 == board.download(NEW), board.said
    assert NEW == board.partition(2)[: len(NEW)]


def test_variables_in_a_file(board: Board) -> None:
    """With BOOT_TOOL=file in the client's environment, a file replaces the boot loader's tools."""
    board.env.write_text("mender_boot_part=A\nrunning=A\n")
    board.environment |= {"BOOT_TOOL": "file", "BOOT_ENV_FILE": str(board.env)}
    assert 0 == board.download(NEW), board.said
    assert [0] == board.codes("ArtifactInstall"), board.said
    assert ("B", "1") == (board.variables["mender_boot_part"], board.variables["upgrade_available"])
    board.env.write_text(board.env.read_text().replace("running=A", "running=B"))
    assert [0, 0, 0] == board.codes("ArtifactVerifyReboot", "ArtifactCommit", "Cleanup"), board.said
    assert ("B", "0") == (board.variables["mender_boot_part"], board.variables["upgrade_available"])


def test_boot_variable_as_last_resort(board: Board) -> None:
    """If the kernel gives no information, the boot variable determines the running partition."""
    board.mounts()
    board.download(NEW)
    assert NEW == board.partition(11)[: len(NEW)]
    assert [0, 0, 0] == board.codes("ArtifactInstall", "ArtifactVerifyReboot", "ArtifactCommit"), board.said


def test_configuration_of_the_new_system(board: Board) -> None:
    """A new system is recognised even if its configuration doesn't have the partitions."""
    board.download(NEW)
    board.run("ArtifactInstall")
    board.run_from(11)
    (board.root / "etc/mender/mender.conf").unlink()
    assert [0, 0] == board.codes("ArtifactVerifyReboot", "ArtifactCommit"), board.said


def test_where_the_configuration_is(board: Board, tmp_path: Path) -> None:
    """The client passes its directories; the main configuration takes precedence over that in the data directory."""
    conf, data = tmp_path / "conf", tmp_path / "data"
    for directory in (conf, data):
        directory.mkdir()
    board.environment |= {"MENDER_CONF_DIR": str(conf), "MENDER_DATASTORE_DIR": str(data)}
    assert f"in {conf}/mender.conf" in board.refused()
    (data / "mender.conf").write_text('{"RootfsPartA": "/dev/mmcblk0p2", "RootfsPartB": "/dev/sda7"}')
    (conf / "mender.conf").write_text('{"RootfsPartB": "/dev/mmcblk0p11"}')
    assert 0 == board.download(NEW), board.said
    (conf / "mender.conf").write_text("[]")
    board.begin()
    assert f"cannot read {conf}/mender.conf" in board.refused()


def without_root(board: Board) -> None:
    """Take away MENDER_ROOT, but not what is found by it."""
    del board.environment["MENDER_ROOT"]
    board.environment["PATH"] = f"{board.root}/usr/bin:{board.environment['PATH']}"
    board.environment["MENDER_CONF_DIR"] = str(board.root / "etc/mender")


def test_files_as_partitions_by_configuration(board: Board) -> None:
    """Without MENDER_ROOT, the partitions in the configuration can be files outside of /dev."""
    without_root(board)
    parts = [str(board.root / "dev" / name) for name in ("mmcblk0p2", "mmcblk0p11")]
    board.configure(RootfsPartA=parts[0], RootfsPartB=parts[1])
    assert 0 == board.download(NEW), board.said
    assert [0] == board.codes("ArtifactInstall"), board.said
    assert (NEW, "11") == (board.partition(11)[: len(NEW)], board.variables["mender_boot_part"])


@pytest.mark.skipif(not os.access("/dev", os.W_OK), reason="no file can be created in /dev")
def test_file_in_dev(board: Board) -> None:
    """A file in /dev isn't written to: it was left by something that took it for a device."""
    without_root(board)
    with tempfile.NamedTemporaryFile(dir="/dev", prefix="test-of-mender-", suffix="p11") as leftover:
        board.configure(RootfsPartA=str(board.root / "dev/mmcblk0p2"), RootfsPartB=leftover.name)
        assert f"cannot use {leftover.name}: it is not a partition" in board.refused(NEW)
        assert b"" == leftover.read()


def test_ubi(board: Board) -> None:
    """A UBI volume is written by its tool, read back, and identified by its name."""
    image = os.urandom(3 * BLOCK + 7)
    for number, label in enumerate(("rootfsa", "rootfsb")):
        volume = board.root / f"sys/class/ubi/ubi0_{number}"
        volume.mkdir(parents=True)
        (volume / "name").write_text(f"{label}\n")
        (volume / "data_bytes").write_text(f"{SIZE}\n")
        (board.root / f"dev/ubi0_{number}").write_bytes(b"")
    tools = board.root.parent / "tools"
    tools.mkdir()
    tool = tools / "ubiupdatevol"
    tool.write_text('#!/bin/sh\n[ "$2 $4" = "-s -" ] || exit 64\ncat >"$1"\n[ "$(wc -c <"$1")" = "$3" ]\n')
    tool.chmod(0o755)
    board.environment["PATH"] = f"{tools}:{board.environment['PATH']}"
    board.configure(RootfsPartA="ubi0_0", RootfsPartB="ubi0:rootfsb")
    board.mounts("21 1 0:17 / / ro - ubifs ubi0:rootfsa ro")
    assert 0 == board.download(image), board.said
    assert image == (board.root / "dev/ubi0_1").read_bytes()
    assert [0] == board.codes("ArtifactInstall"), board.said
    assert "1" == board.variables["mender_boot_part"]
    board.mounts("21 1 0:17 / / ro - ubifs ubi0_1 ro")
    assert [0, 0] == board.codes("ArtifactVerifyReboot", "ArtifactCommit"), board.said
    board.begin()
    assert "the volume 1048576" in board.refused(bytes(SIZE + 1))
    board.begin()
    assert "ubiupdatevol failed" in board.refused(b"short", announced=1000) or "it ends after" in board.said
    tool.write_text("#!/bin/sh\nexit 3\n")
    board.begin()
    assert "ubiupdatevol failed (exit 3)" in board.refused(image)


def test_volume_that_reads_back_otherwise(board: Board) -> None:
    """An image that doesn't read back as written isn't installed."""
    volume = board.root / "sys/class/ubi/mmcblk0p11"
    volume.mkdir(parents=True)
    (volume / "data_bytes").write_text(f"{SIZE}\n")
    tools = board.root.parent / "tools"
    tools.mkdir()
    tool = tools / "ubiupdatevol"
    tool.write_text('#!/bin/sh\ncat >/dev/null\nhead -c 200000 /dev/zero >"$1"\n')
    tool.chmod(0o755)
    board.environment["PATH"] = f"{tools}:{board.environment['PATH']}"
    assert "at byte 65536 it reads back otherwise than written" in board.refused(bytes(BLOCK) + NEW)


def test_wrong_usage(board: Board) -> None:
    """Without its arguments the module prints its usage."""
    done = subprocess.run([sys.executable, MODULES / "rootfs-image"], capture_output=True, text=True, check=False)
    assert 64 == done.returncode
    assert done.stderr.startswith("rootfs-image: usage: rootfs-image STATE DIRECTORY | running | write A|B | ")
