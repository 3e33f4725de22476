"""The device as a directory: everything that a Mender device has on its disks, below one root.

The scripts are those of ``support/``, copied as a system image would have them. What only a simulated device needs is
written here: a network card, the boot loader's variables, and a health check.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent.parent / "support"
MAC = "02:00:5e:00:53:01"
CARD = "demo0"

SUB_UPDATER_CONF = """\
# The boot loader's variables are in a file, and whoever powers this device looks for two other ones.
BOOT_TOOL=file
BOOT_ENV_FILE="$MENDER_ROOT/boot/env"
REBOOT_COMMAND=': >"$MENDER_ROOT/run/reboot"'
START_COMMAND=': >"$MENDER_ROOT/run/start-client"'
HEALTH_CHECK='"$MENDER_ROOT/usr/bin/health-check"'
CLIENT={client}
REPORT_WAIT_SECONDS=1
"""

HEALTH_CHECK = """\
#!/bin/sh
# Stands for the check of your application. What runs is the image in the
# active partition; a bad release says in its first lines that it is broken.
part=$(sed -n 's/^running=//p' "$MENDER_ROOT/boot/env" | tr AB ab)
if head -n 2 "$MENDER_ROOT/dev/part-$part" | grep -q '^service=broken$'; then
    echo "health check: the service of this release doesn't start"
    exit 1
fi
echo "health check: the service answers"
"""

ON_THIS_CARD = """\
#!/bin/sh
# The script of support/, told to look at the simulated network card.
exec {script} {net}
"""


@dataclass(frozen=True, slots=True)
class Board:
    """The files of one device.

    Args:
        root: the directory, which is the client's ``--root``.
    """

    root: Path

    @property
    def data(self) -> Path:
        """The client's data directory."""
        return self.root / "var/lib/mender"

    @property
    def reboot_request(self) -> Path:
        """There when the sub-updater wants a reboot."""
        return self.root / "run/reboot"

    @property
    def start_request(self) -> Path:
        """There when the sub-updater wants the client to be started."""
        return self.root / "run/start-client"

    def partition(self, letter: str) -> Path:
        """The file that is partition A or B."""
        return self.root / f"dev/part-{letter.lower()}"

    @property
    def running(self) -> str:
        """The letter of the active partition."""
        variables = dict(line.split("=", 1) for line in (self.root / "boot/env").read_text().splitlines())
        return variables["running"]

    @property
    def artifact_name(self) -> str:
        """The installed Artifact's name, as artifact_info has it."""
        lines = (self.root / "etc/mender/artifact_info").read_text().splitlines()
        return next((line.partition("=")[2] for line in lines if line.startswith("artifact_name=")), "")


def build_board(
    root: Path, *, client: Path, server_url: str, certificate: Path, device_type: str, provides: Mapping[str, str]
) -> Board:
    """Make the directory of a device that has never been switched on.

    Args:
        root: where; it isn't there yet.
        client: the program mender-python-client.
        server_url: whom it is to ask.
        certificate: what it is to trust, a PEM file.
        device_type: what it is.
        provides: what is installed: artifact_name and whatever else.
    """
    board = Board(root)
    for directory in ("boot", "dev", "etc/mender", "run", "usr/bin", "usr/share/mender/identity", "var/lib/mender"):
        (root / directory).mkdir(parents=True)
    shutil.copytree(SUPPORT / "inventory", root / "usr/share/mender/inventory")
    shutil.copy(SUPPORT / "install", root / "usr/share/mender/install")
    shutil.copy(SUPPORT / "demo/boot-loader", root / "boot/boot-loader")
    shutil.copy(certificate, root / "etc/mender/server.crt")
    _plug_card_in(root)
    _write_script(root / "usr/bin/health-check", HEALTH_CHECK)
    _write(root / "boot/env", "mender_boot_part=A", "upgrade_available=0", "bootcount=0", "running=A")
    _write(board.data / "device_type", f"device_type={device_type}")
    _write(root / "etc/mender/artifact_info", *(f"{key}={value}" for key, value in provides.items()))
    (root / "etc/mender/sub-updater.conf").write_text(SUB_UPDATER_CONF.format(client=_quoted(client)))
    (root / "etc/mender/mender.conf").write_text(json.dumps(_mender_conf(server_url), indent=2) + "\n")
    return board


def fill_partitions(board: Board, *, image: bytes, size_bytes: int) -> None:
    """Put an image on A, nothing on B; both are of the same size."""
    for letter, content in (("A", image), ("B", b"")):
        with board.partition(letter).open("wb") as partition:
            partition.write(content)
            partition.truncate(size_bytes)


def _mender_conf(server_url: str) -> dict[str, object]:
    return {
        "ServerURL": server_url,
        "ServerCertificate": "/etc/mender/server.crt",
        "RootfsPartA": "/dev/part-a",
        "RootfsPartB": "/dev/part-b",
        # as short as can be; the defaults are half an hour, eight hours and five minutes
        "UpdatePollIntervalSeconds": 1,
        "InventoryPollIntervalSeconds": 60,
        "RetryPollIntervalSeconds": 1,
    }


def _plug_card_in(root: Path) -> None:
    """Give the device a network card of its own: it must not be taken for the machine that the demo runs on."""
    net = root / "sys/class/net"
    (net / CARD / "device").mkdir(parents=True)
    for name, content in (("type", "1"), ("addr_assign_type", "0"), ("address", MAC), ("ifindex", "2")):
        _write(net / CARD / name, content)
    for script in ("identity/mender-device-identity", "inventory/mender-inventory-network"):
        # a copy, because a client in a container or chroot sees nothing but the device's directory
        copied = shutil.copy(SUPPORT / script, root / "usr/bin")
        wrapper = ON_THIS_CARD.format(script=_quoted(copied), net=_quoted(net))
        _write_script(root / "usr/share/mender" / script, wrapper)


def _write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _quoted(path: Path | str) -> str:
    """A path as one word of the shell."""
    return "'" + str(path).replace("'", "'\\''") + "'"
