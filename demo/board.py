"""The device as a directory: all files of a Mender device, below one root directory.

The scripts are copied from ``support/`` to where a system image would have them. The parts that only a simulated device
needs are written here: a network card, the boot loader's variables and tools, ``reboot``, and a health check.
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
LETTERS, NUMBERS = ("A", "B"), ("2", "3")
"""The names of the partitions; update modules identify them by numbers."""

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

FW_PRINTENV = """\
#!/bin/sh
grep "^$1=" "$MENDER_ROOT/boot/env"
"""

FW_SETENV = """\
#!/bin/sh
# Only the form that sets several variables at once: lines NAME=VALUE from standard input.
[ "$*" = "-s -" ] || exit 64
env=$MENDER_ROOT/boot/env
while IFS== read -r name value; do
    { grep -v "^$name=" "$env"; echo "$name=$value"; } >"$env.new"
    mv "$env.new" "$env"
done
"""

REBOOT = """\
#!/bin/sh
# As init does: end what runs, which is the client that has called this, then switch off.
kill -TERM $PPID
while kill -0 $PPID; do sleep 0.1; done 2>/dev/null
: >"$MENDER_ROOT/run/reboot"
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
        root: the root directory, passed to the client as ``--root``.
        parts: the names of its partitions; the first one is active initially.
    """

    root: Path
    parts: tuple[str, str]

    @property
    def data(self) -> Path:
        """The client's data directory."""
        return self.root / "var/lib/mender"

    @property
    def reboot_request(self) -> Path:
        """Exists when the sub-updater or the program ``reboot`` has requested a reboot."""
        return self.root / "run/reboot"

    @property
    def start_request(self) -> Path:
        """Exists when the sub-updater has requested the start of the client."""
        return self.root / "run/start-client"

    @property
    def update_in_progress(self) -> Path:
        """Exists while an update is in progress."""
        return self.data / ("update.lock" if self.parts == LETTERS else "modules/v3/payloads/0000/tree")

    def partition(self, part: str) -> Path:
        """The file that represents a partition."""
        return self.root / f"dev/part-{part.lower()}"

    @property
    def running(self) -> str:
        """The active partition."""
        variables = dict(line.split("=", 1) for line in (self.root / "boot/env").read_text().splitlines())
        return variables["running"]

    @property
    def artifact_name(self) -> str:
        """The name of the installed Artifact in ``artifact_info``."""
        lines = (self.root / "etc/mender/artifact_info").read_text().splitlines()
        return next((line.partition("=")[2] for line in lines if line.startswith("artifact_name=")), "")


def build_board(
    root: Path,
    *,
    client: Path,
    server_url: str,
    certificate: Path,
    device_type: str,
    provides: Mapping[str, str],
    has_modules: bool,
) -> Board:
    """Create the directory of a device that has never been switched on.

    Args:
        root: the root directory, which must not exist yet.
        client: the path of the program mender-python-client.
        server_url: the URL of the server.
        certificate: the certificate to trust, a PEM file.
        device_type: the device type.
        provides: the provides of the installed software, including artifact_name.
        has_modules: install updates with the update module ``rootfs-image`` instead of the sub-updater.
    """
    board = Board(root, NUMBERS if has_modules else LETTERS)
    for directory in ("boot", "dev", "etc/mender", "run", "usr/bin", "usr/share/mender/identity", "var/lib/mender"):
        (root / directory).mkdir(parents=True)
    shutil.copytree(SUPPORT / "inventory", root / "usr/share/mender/inventory")
    shutil.copy(SUPPORT / "demo/boot-loader", root / "boot/boot-loader")
    shutil.copy(certificate, root / "etc/mender/server.crt")
    _plug_card_in(root)
    _write_script(root / "usr/bin/health-check", HEALTH_CHECK)
    first = board.parts[0]
    _write(root / "boot/env", f"mender_boot_part={first}", "upgrade_available=0", "bootcount=0", f"running={first}")
    _write(board.data / "device_type", f"device_type={device_type}")
    _write(root / "etc/mender/artifact_info", *(f"{key}={value}" for key, value in provides.items()))
    (root / "etc/mender/mender.conf").write_text(json.dumps(_mender_conf(server_url, board), indent=2) + "\n")
    if has_modules:
        _install_module(root)
    else:
        _install_sub_updater(root, client)
    return board


def _install_sub_updater(root: Path, client: Path) -> None:
    for name in ("install", "modules/v3/rootfs-image"):
        shutil.copy(SUPPORT / name, root / "usr/share/mender")
    (root / "etc/mender/sub-updater.conf").write_text(SUB_UPDATER_CONF.format(client=_quoted(client)))


def _install_module(root: Path) -> None:
    modules = root / "usr/share/mender/modules/v3"
    modules.mkdir(parents=True)
    shutil.copy(SUPPORT / "modules/v3/rootfs-image", modules)
    for name, text in (("fw_printenv", FW_PRINTENV), ("fw_setenv", FW_SETENV), ("reboot", REBOOT)):
        _write_script(root / "usr/bin" / name, text)


def fill_partitions(board: Board, *, image: bytes, size_bytes: int) -> None:
    """Write an image to the first partition and leave the other one empty; both have the same size."""
    for part, content in zip(board.parts, (image, b""), strict=True):
        with board.partition(part).open("wb") as partition:
            partition.write(content)
            partition.truncate(size_bytes)


def _mender_conf(server_url: str, board: Board) -> dict[str, object]:
    return {
        "ServerURL": server_url,
        "ServerCertificate": "/etc/mender/server.crt",
        **{f"RootfsPart{letter}": f"/dev/part-{part.lower()}" for letter, part in zip("AB", board.parts, strict=True)},
        # with update modules, stream to the partition even if there is enough space to store the Artifact first
        "SpoolArtifact": "never",
        # as short as possible; the defaults are half an hour, eight hours and five minutes
        "UpdatePollIntervalSeconds": 1,
        "InventoryPollIntervalSeconds": 60,
        "RetryPollIntervalSeconds": 1,
    }


def _plug_card_in(root: Path) -> None:
    """Give the device its own network card, so that its identity differs from that of the host."""
    net = root / "sys/class/net"
    (net / CARD / "device").mkdir(parents=True)
    for name, content in (("type", "1"), ("addr_assign_type", "0"), ("address", MAC), ("ifindex", "2")):
        _write(net / CARD / name, content)
    for script in ("identity/mender-device-identity", "inventory/mender-inventory-network"):
        # a copy, because a client in a container or chroot can access only the device's directory
        copied = shutil.copy(SUPPORT / script, root / "usr/bin")
        wrapper = ON_THIS_CARD.format(script=_quoted(copied), net=_quoted(net))
        _write_script(root / "usr/share/mender" / script, wrapper)


def _write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _quoted(path: Path | str) -> str:
    """Quote a path for the shell."""
    return "'" + str(path).replace("'", "'\\''") + "'"
