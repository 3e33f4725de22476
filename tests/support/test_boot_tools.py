"""The sub-updater with U-Boot and GRUB: which partition runs, and which variables are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.device import NEW, SIZE, Device

SETENV = """
# Reads name=value lines, as fw_setenv does of libubootenv, u-boot-tools and grub-mender-grubenv.
[ "$*" = "-s -" ] || exit 64
while IFS== read -r name value; do
    sed -i "/^$name=/d" "{env}"
    echo "$name=$value" >>"{env}"
done
"""
PRINTENV = """
grep "^$1=" "{env}"
"""
TOOLS = {
    "uboot": ("fw_setenv", "fw_printenv"),
    "grub": ("grub-mender-grubenv-set", "grub-mender-grubenv-print"),
}


@pytest.fixture(params=["uboot", pytest.param("grub", marks=pytest.mark.nightly)])
def board(device: Device, request: pytest.FixtureRequest) -> Device:
    """A device with a boot loader's tools; partitions 2 and 11, of which 2 is the root file system."""
    env = device.root.parent / "board.env"
    env.write_text("bootdelay=0\nmender_boot_part=2\n")
    setenv, printenv = TOOLS[request.param]
    device.wrap(setenv, SETENV.format(env=env), real=False)
    device.wrap(printenv, PRINTENV.format(env=env), real=False)
    device.configure(f"BOOT_TOOL={request.param}")
    for name in ("mmcblk0p2", "mmcblk0p11"):
        (device.root / "dev" / name).write_bytes(b"x" * SIZE)
    device.environment["MENDER_ROOTFS_PART_A"] = "/dev/mmcblk0p2"
    device.environment["MENDER_ROOTFS_PART_B"] = "/dev/mmcblk0p11"
    run_from(device, 2)
    return device


def run_from(device: Device, partition: int) -> None:
    """Mounts the partition as the root file system, as the kernel shows it."""
    block = device.root / "sys/devices/block" / f"mmcblk0p{partition}"
    block.mkdir(parents=True, exist_ok=True)
    numbers = device.root / "sys/dev/block"
    numbers.mkdir(parents=True, exist_ok=True)
    number = f"179:{partition}"
    (numbers / number).unlink(missing_ok=True)
    (numbers / number).symlink_to(block)
    write_mounts(device, f"21 1 {number} / / rw,relatime shared:1 - ext4 /dev/root rw")


def write_mounts(device: Device, *lines: str) -> None:
    """Writes the kernel's list of mounts."""
    (device.root / "proc/self").mkdir(parents=True, exist_ok=True)
    device.write("proc/self/mountinfo", "\n".join(("20 21 0:5 / /proc rw - proc proc rw", *lines, "")))


def variables(device: Device) -> dict[str, str]:
    """The boot loader's variables."""
    return dict(line.split("=", 1) for line in (device.root.parent / "board.env").read_text().splitlines())


def start(device: Device) -> int:
    """Runs the boot step."""
    boot = ["usr/share/mender/install", "--boot"]
    return device.run(*boot, environment={"PATH": device.environment["PATH"], "MENDER_ROOT": str(device.root)})


@pytest.mark.parametrize("board", sorted(TOOLS), indirect=True)
def test_commit(board: Device) -> None:
    """The number of the passive partition is passed to the boot loader, also in hex, and the commit ends the trial."""
    assert board.hand_over() == 0, board.log
    assert (board.root / "dev/mmcblk0p11").read_bytes() == NEW
    switched = {"bootdelay": "0", "mender_boot_part": "11", "mender_boot_part_hex": "b", "bootcount": "0"}
    assert variables(board) == {**switched, "upgrade_available": "1"}
    run_from(board, 11)
    assert start(board) == 0
    assert variables(board) == {**switched, "upgrade_available": "0"}
    assert (board.reports, board.is_quiet) == (["success"], True)


def test_boot_loader_rolled_back(board: Device) -> None:
    """The mounted partition counts, whatever the boot variables say."""
    board.hand_over()
    assert start(board) == 0
    assert (variables(board)["mender_boot_part"], variables(board)["upgrade_available"]) == ("2", "0")
    assert (board.reports, board.is_quiet) == (["failure"], True)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["PARTUUID=5-b", "UUID=5-b", "PARTLABEL=5-b", "LABEL=5-b", "/dev/mmcblk0p11"])
def test_root_of_the_command_line(board: Device, name: str) -> None:
    """Below an overlay the kernel's command line says which partition runs."""
    write_mounts(board, "21 1 0:23 / / rw - overlay overlay rw")
    board.write("proc/cmdline", f"console=ttyS0 root={name} rootwait\n")
    if "=" in name:
        by = board.root / f"dev/disk/by-{name.split('=')[0].lower()}"
        by.mkdir(parents=True)
        (by / "5-b").symlink_to("../../mmcblk0p11")
    board.hand_over()
    assert (board.root / "dev/mmcblk0p2").read_bytes() == NEW


@pytest.mark.nightly
def test_source_of_the_mount(board: Device) -> None:
    """A file system without a device number is identified by the source of its mount."""
    write_mounts(board, "21 1 0:30 / / rw - btrfs /dev/mmcblk0p11 rw")
    board.hand_over()
    assert (board.root / "dev/mmcblk0p2").read_bytes() == NEW


@pytest.mark.nightly
def test_boot_variable_as_last_resort(board: Device) -> None:
    """If the kernel gives no information, the boot variable determines the running partition."""
    write_mounts(board)
    board.hand_over()
    assert (board.root / "dev/mmcblk0p11").read_bytes() == NEW


def test_partition_cannot_be_told(board: Device) -> None:
    """If the running partition can't be determined, nothing is written."""
    write_mounts(board)
    (board.root.parent / "board.env").write_text("mender_boot_part=7\n")
    assert board.hand_over() == 1
    assert (board.root / "dev/mmcblk0p11").read_bytes() == b"x" * SIZE
    assert board.reports == ["failure"]
    assert "cannot tell from which partition the device is running" in board.log


def test_partition_by_label(board: Device) -> None:
    """Partitions may be given as links, which are resolved."""
    labels = board.root / "dev/disk/by-partlabel"
    labels.mkdir(parents=True)
    (labels / "rootfsA").symlink_to("../../mmcblk0p2")
    (labels / "rootfsB").symlink_to("../../mmcblk0p11")
    board.environment["MENDER_ROOTFS_PART_A"] = "/dev/disk/by-partlabel/rootfsA"
    board.environment["MENDER_ROOTFS_PART_B"] = "/dev/disk/by-partlabel/rootfsB"
    assert board.hand_over() == 0
    assert variables(board)["mender_boot_part"] == "11"


def test_same_number_on_two_disks(board: Device) -> None:
    """Two partitions that the boot loader can't distinguish are refused."""
    (board.root / "dev/sda2").write_bytes(b"")
    board.environment["MENDER_ROOTFS_PART_B"] = "/dev/sda2"
    assert board.hand_over() == 1
    assert "their names must end in different numbers" in board.log


def test_mounted_target(board: Device) -> None:
    """A passive partition that is mounted isn't written to."""
    board.write("proc/mounts", "proc /proc proc rw 0 0\n/dev/mmcblk0p11 /mnt ext4 rw 0 0\n")
    assert board.hand_over() == 1
    assert "it is mounted; unmount it" in board.log


@pytest.mark.parametrize("code", ["exit 0", "exit 1"])
def test_tool_that_does_not_write(board: Device, code: str) -> None:
    """Boot variables that don't read back as written are a failure, whatever the tool's exit code is."""
    before = variables(board)
    for setenv, _ in TOOLS.values():
        board.wrap(setenv, code, real=False)
    assert board.hand_over() == 1
    assert (board.reports, board.is_quiet) == (["failure"], True)
    assert variables(board) == before


def test_variables_that_cannot_be_set_back(board: Device, tmp_path: Path) -> None:
    """If the boot loader can't be set back, the update stays open, since a boot may still start the new system."""
    board.configure(
        f"BOOT_TOOL={board.lines('etc/mender/sub-updater.conf')[-1].split('=')[1]}",
        f"""REBOOT_COMMAND='for tool in {tmp_path}/wrapped/*set*; do echo "exit 1" >"$tool"; done; exit 1'""",
    )
    assert board.hand_over() == 75
    assert board.reports == []
    assert (board.data / "update.lock").exists()
    run_from(board, 11)
    assert start(board) == 75
    assert board.reports == []
