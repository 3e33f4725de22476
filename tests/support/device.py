"""A device that is a directory: the scripts of support/ run in it as real processes.

Only their surroundings are simulated: the client (a few lines of shell that note their calls), the two
partitions (plain files) and the power supply (commands that end the whole process group when their turn comes).
"""

from __future__ import annotations

import functools
import py_compile
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SUPPORT = Path(__file__).resolve().parents[2] / "support"
SIZE = 4096
"""Bytes of one partition."""
OLD = b"old system".ljust(SIZE, b".")
NEW = b"new system".ljust(SIZE, b"!")


MODULE = "usr/share/mender/rootfs-image"
"""The update module next to the sub-updater, below the root."""

FAKE_CLIENT = """
root= data=
while :; do
    case $1 in
        --root) root=$2; shift 2 ;;
        --data) data=$2; shift 2 ;;
        *) break ;;
    esac
done
fake=$root/fake
case "$1 $2" in
    "artifact cat")
        printf '%s\\n' "cat $3 ${4:-}" >>"$fake/calls"
        cat "$fake/payload"
        exit "$(cat "$fake/cat-code")"
        ;;
    "gate reboot")
        [ "${3:-}" = --wait ] || exit 64
        sync "$fake" # where the power may go
        code=$(sed -n 1p "$fake/gate-codes")
        [ "$(grep -c . "$fake/gate-codes")" -le 1 ] || sed -i 1d "$fake/gate-codes"
        echo "not yet: the update is waiting before the reboot"
        [ "$code" = 0 ] || echo "cannot go on: refused by anna" >&2
        exit "$code"
        ;;
    "report --rebooting")
        sync "$fake" # where the power may go
        printf '%s\\n' "${2#--}" >>"$fake/statuses"
        exit "$(cat "$fake/rebooting-code")"
        ;;
    "report --success" | "report --failure")
        sync "$fake" # where the power may go
        [ -e "${data:-$root/var/lib/mender}/update.lock" ] || exit 2
        code=$(sed -n 1p "$fake/report-codes")
        [ "$(grep -c . "$fake/report-codes")" -le 1 ] || sed -i 1d "$fake/report-codes"
        case $code in 0 | 75) printf '%s\\n' "${2#--}" >>"$fake/reports" ;; esac
        printf '%s\\n' "report ${2#--} $code ${data:+data }" >>"$fake/calls"
        [ "${3:-}" != --reason ] || printf '%s\\n' "$4" >>"$fake/reasons"
        exit "$code"
        ;;
esac
exit 64
"""

COUNTED_EFFECT = """
read -r count <"{fake}/effects"
count=$((count + 1))
echo "$count" >"{fake}/effects"
read -r at <"{fake}/cut-at"
[ "$count" -ne "$at" ] || kill -9 0
"""
"""The code before each command that changes the disk: `kill -9 0` is the power cut, for the whole group."""


@functools.cache
def compiled() -> Path:
    """The module ``rootfs-image``, compiled once: that takes longer than a call."""
    target = Path(__file__).with_name("__pycache__") / f"rootfs-image.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(SUPPORT / "modules/v3/rootfs-image"), str(target), doraise=True)
    return target


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell with the commands that go with it.

    Attributes:
        interpreter: absolute path for the scripts' first line.
        path: PATH for every process.
        is_busybox: True when every command is one of busybox.
    """

    interpreter: str
    path: str
    is_busybox: bool = False


def find_dash(directory: Path) -> Shell | None:
    """Finds dash with this machine's usual commands; `sh` is dash too."""
    dash = shutil.which("dash")
    if dash is None:
        return None
    directory.mkdir()
    (directory / "sh").symlink_to(dash)
    return Shell(dash, f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin")


def find_busybox(directory: Path) -> Shell | None:
    """Finds busybox with nothing but its own commands in the PATH."""
    busybox = shutil.which("busybox")
    if busybox is None:
        return None
    directory.mkdir()
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for applet in applets:
        (directory / applet).symlink_to(busybox)
    return Shell(str(directory / "sh"), str(directory), is_busybox=True)


@dataclass(slots=True)
class Device:
    """One device below `root`; A runs, and an update to B has been handed over."""

    root: Path
    shell: Shell
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for directory in ("etc/mender", "var/lib/mender", "usr/share/mender", "usr/bin", "dev", "fake"):
            (self.root / directory).mkdir(parents=True)
        self.install_script(SUPPORT / "install", "usr/share/mender/install")
        self.install_script(SUPPORT / "demo/boot-loader", "usr/share/mender/boot-loader")
        self.install_module()
        self.write_script("usr/bin/mender-python-client", FAKE_CLIENT)
        for name, content in (("part-a", OLD), ("part-b", b"x" * SIZE), ("artifact", b"an Artifact")):
            (self.root / "dev" / name).write_bytes(content)
        self.write("boot.env", "other=kept\nmender_boot_part=A\nupgrade_available=0\nbootcount=0\nrunning=A\n")
        self.write("etc/mender/artifact_info", "artifact_group=lab\nartifact_name=old-1\n")
        self.write("fake/cat-code", "0\n")
        self.write("fake/report-codes", "0\n")
        self.write("fake/rebooting-code", "0\n")
        self.write("fake/gate-codes", "0\n")
        (self.root / "fake/payload").write_bytes(NEW)
        self.configure()
        self.write("var/lib/mender/update.lock", "deployment-1\n")
        self.environment = {
            "PATH": self.shell.path,
            "LANG": "C.UTF-8",
            "MENDER_DEPLOYMENT_ID": "deployment-1",
            "MENDER_ARTIFACT_NAME": "new-2",
            "MENDER_ARTIFACT_PATH": str(self.root / "dev/artifact"),
            "MENDER_DATA_DIR": str(self.data),
            "MENDER_ROOTFS_PART_A": "/dev/part-a",
            "MENDER_ROOTFS_PART_B": str(self.root / "dev/part-b"),
            "MENDER_ROOT": str(self.root),
            "MENDER_CLIENT": str(self.root / "usr/bin/mender-python-client"),
        }

    @property
    def data(self) -> Path:
        """The client's data directory."""
        return self.root / "var/lib/mender"

    def write(self, name: str, content: str) -> None:
        """Writes the file `name` below the root."""
        (self.root / name).write_text(content)

    def write_script(self, name: str, body: str) -> None:
        """Writes an executable for this device's shell."""
        script = self.root / name
        script.write_text(f"#!{self.shell.interpreter}\n{body}")
        script.chmod(0o755)

    def install_script(self, source: Path, name: str) -> None:
        """Installs one script of support/; only its first line, the interpreter, is this device's."""
        self.write_script(name, source.read_text().split("\n", 1)[1])

    def install_module(self, before: str = "", after: str = "") -> None:
        """Installs the update module that the sub-updater calls, with lines of shell around it."""
        call = f'{sys.executable} -IS "{compiled()}" "$@"'
        self.write_script(MODULE, f"{before}\n{call}\ncode=$?\n{after}\nexit $code\n")

    def configure(self, *lines: str) -> None:
        """Writes sub-updater.conf for a test; `lines` come last and take precedence."""
        conf = (
            "BOOT_TOOL=file",
            'BOOT_ENV_FILE="$MENDER_ROOT/boot.env"',
            # The argument of sync shows where the power may fail.
            """REBOOT_COMMAND='sync "$MENDER_ROOT"; : >"$MENDER_ROOT/fake/reboot"'""",
            """START_COMMAND='echo start >>"$MENDER_ROOT/fake/starts"'""",
            'CLIENT="$MENDER_ROOT/usr/bin/mender-python-client"',
            "REPORT_WAIT_SECONDS=0",
            "GATE_WAIT_SECONDS=0",
        )
        self.write("etc/mender/sub-updater.conf", "\n".join((*conf, *lines, "")))

    def run(self, *command: str, environment: dict[str, str]) -> int:
        """Runs a script below the root in its own session; its output goes to the sub-updater's log."""
        with (self.data / "sub-updater.log").open("ab") as log:
            done = subprocess.run(
                [str(self.root / command[0]), *command[1:]],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
            )
        return done.returncode

    def hand_over(self, **changes: str) -> int:
        """Calls the sub-updater as the client does; an empty change leaves the variable out."""
        environment = {name: value for name, value in (self.environment | changes).items() if value}
        return self.run("usr/share/mender/install", str(self.root / "dev/artifact"), environment=environment)

    def boot(self, *arguments: str) -> int:
        """Powers the device on: nothing of the client's environment is left."""
        (self.root / "fake/reboot").unlink(missing_ok=True)
        boot = ["usr/share/mender/boot-loader", str(self.root), *arguments]
        return self.run(*boot, environment={"PATH": self.environment["PATH"]})

    def settle(self) -> None:
        """Boots until no further reboot is requested."""
        for _ in range(10):
            if not (self.root / "fake/reboot").exists():
                return
            self.boot()
        raise AssertionError(f"the device reboots without end:\n{self.log}")

    def wrap(self, command: str, before: str, *, real: bool = True) -> None:
        """Puts lines of shell before a command in the PATH, or in its place if `real` is false."""
        directory = self.root.parent / "wrapped"
        directory.mkdir(exist_ok=True)
        self.environment["PATH"] = f"{directory}:{self.shell.path}"
        script = directory / command
        program = shutil.which(command, path=self.shell.path)
        call = f'exec {program} "$@"' if real else ""
        script.write_text(f"#!{self.shell.interpreter}\n{before}\n{call}\n")
        script.chmod(0o755)

    def cut_power_at(self, effect: int) -> None:
        """From now on the `effect`-th change to the disk (from 1) is the one that doesn't happen."""
        self.write("fake/effects", "0\n")
        self.write("fake/cut-at", f"{effect}\n")
        for name in ("dd", "mv", "rm", "sync"):
            # A real sync would only take time: this power cut doesn't affect the page cache.
            self.wrap(name, COUNTED_EFFECT.format(fake=self.root / "fake"), real=name != "sync")
        # What the module changes, a file or some variables, is there before it ends, or not.
        counted = COUNTED_EFFECT.format(fake=self.root / "fake")
        self.install_module(counted, counted)

    def lines(self, name: str) -> list[str]:
        """The lines of a file below the root; none when it isn't there."""
        file = self.root / name
        return file.read_text().splitlines() if file.exists() else []

    @property
    def reports(self) -> list[str]:
        """The outcomes that the client has accepted, in order."""
        return self.lines("fake/reports")

    @property
    def reasons(self) -> list[str]:
        """The reasons for failed updates that the client received."""
        return self.lines("fake/reasons")

    @property
    def calls(self) -> list[str]:
        """All calls of the client."""
        return self.lines("fake/calls")

    @property
    def boot_variables(self) -> dict[str, str]:
        """The boot loader's variables."""
        return dict(line.split("=", 1) for line in self.lines("boot.env"))

    @property
    def log(self) -> str:
        """The log of the sub-updater."""
        return (self.data / "sub-updater.log").read_text()

    @property
    def is_quiet(self) -> bool:
        """True when no trace of an update is left."""
        return not any((self.data / name).exists() for name in ("update.lock", "sub-updater.state"))
