"""The running device: power supply, boot and init, in place of U-Boot or GRUB and systemd.

It runs the real programs: ``mender-python-client daemon`` and the sub-updater or update module. Nothing here blocks:
``tick`` performs the actions that are due, and yields the new output of the programs.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from board import Board
from processes import end_descendants, reap_orphans

from mender_client.errors import DeviceError

REBOOT_SECONDS = 0.6
"""How long the device is off during a reboot: enough for the program that requested it to end."""

_ID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_DEPLOYMENT = re.compile(r"^deployment [0-9a-f]{8}: ")
_NO_NEWS = re.compile(r"download: \d+ %|sub-updater: an update is in progress: see")
"""Lines not to print: the first is shown as a progress bar; the second refers to lines that are printed anyway."""
_CLIENT_LINE = re.compile(r"\S+Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) +(.*)")
_PRINTED = re.compile(r"[\w-]+(?: \([\w-]+\), stderr)?: ((?:rootfs-image|health check): .*)")
"""The output of the update module or the state script, in a line of the client."""
_SUB_UPDATER_LINE = re.compile(r"\S+Z sub-updater: (.*)")


@dataclass(frozen=True, slots=True)
class Said:
    """A line of output of a program on the device.

    Args:
        who: the name of the program.
        text: the line, without its timestamp.
        is_complaint: whether it is a warning or an error.
    """

    who: str
    text: str
    is_complaint: bool = False


class Tail:
    """Follows a growing file, even if it is removed and created again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """The complete lines that were added since the last call."""
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        if os.fstat(self._file.fileno()).st_nlink == 0:
            self.close()
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""


class Device:
    """One device with its power supply.

    Args:
        board: its files.
        client: the program mender-python-client.
    """

    def __init__(self, board: Board, client: Path) -> None:
        self.board = board
        self.client = client
        self.boots = 0
        self._boot_at: float | None = None
        self._boot: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._consoles = {
            name: Tail(path)
            for name, path in (
                ("boot loader", self._console("boot")),
                ("client", self._console("client")),
                ("sub-updater", board.data / "sub-updater.log"),
            )
        }

    def _console(self, name: str) -> Path:
        return self.board.root / f"run/{name}.console"

    @property
    def client_command(self) -> Sequence[str]:
        """The command line of the client for this device, without the subcommand."""
        return [str(self.client), "--root", str(self.board.root)]

    @property
    def daemon_command(self) -> Sequence[str]:
        """The command line that starts the client's daemon."""
        root = self.board.root
        # the device's own programs come first: "reboot" must never be that of the host
        path = f"PATH={root}/usr/bin:{os.environ.get('PATH', os.defpath)}"
        return ["env", path, *self.client_command, "daemon", "--no-syslog"]

    @property
    def daemon_pid(self) -> int | None:
        """The process id of the running client."""
        return self._daemon.pid if self._daemon and self._daemon.poll() is None else None

    def power_on(self) -> None:
        """Boot on the next tick."""
        self._boot_at = time.monotonic()

    def tick(self) -> Iterator[Said]:
        """Perform the actions that are due, and yield the new output.

        Raises:
            DeviceError: the client has failed.
        """
        yield from self._said()
        self._watch_daemon()
        if self._boot is not None and self._boot.poll() is not None:
            self._boot = None
            if not self.board.reboot_request.exists():
                self.board.start_request.touch()  # as systemd does at the end of every boot
        if self.board.reboot_request.exists() and self._boot is None:
            self.board.reboot_request.unlink()
            yield Said("power", "off and on again (the “reboot”)")
            self._boot_at = time.monotonic() + REBOOT_SECONDS
        if self._boot_at is not None and time.monotonic() >= self._boot_at:
            self._start_boot()
        elif self._boot is None and self._boot_at is None and self.board.start_request.exists():
            self._start_daemon()

    def _start_boot(self) -> None:
        self._boot_at = None
        reap_orphans({process.pid for process in (self._boot, self._daemon) if process})
        self.board.start_request.unlink(missing_ok=True)
        self.boots += 1
        self._boot = self._start([str(self.board.root / "boot/boot-loader"), str(self.board.root)], "boot")

    def _start_daemon(self) -> None:
        self.board.start_request.unlink()
        if self.daemon_pid is None:
            self._daemon = self._start(self.daemon_command, "client")

    def _watch_daemon(self) -> None:
        """Check the exit code of the client: 0 after a hand-over or a signal, anything else is a bug in the demo."""
        if self._daemon is None or self._daemon.poll() is None:
            return
        code, self._daemon = self._daemon.returncode, None
        if code != 0:
            raise DeviceError(f"cannot continue: the client ended with exit code {code}; see its lines above")

    def _start(self, command: Sequence[str], console: str) -> subprocess.Popen[bytes]:
        with self._console(console).open("ab") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=_environment(),
                start_new_session=True,  # Ctrl-C must reach only the demo, which then stops the device
            )

    def _said(self) -> Iterator[Said]:
        for who, tail in self._consoles.items():
            for line in tail.lines():
                said = _understand(who, self.shortened(line))
                if said is not None:
                    yield said

    def shortened(self, line: str) -> str:
        """The line with paths as on the device and with abbreviated ids."""
        return _ID.sub(r"\1", line.replace("$MENDER_ROOT/", "/").replace(f"{self.board.root}/", "/"))

    def close(self) -> None:
        """Stop all processes of the device, and close the consoles."""
        end_descendants()
        for process in (self._boot, self._daemon):
            if process is not None:
                process.poll()  # it has ended; lets Popen notice
        for tail in self._consoles.values():
            tail.close()


def _understand(who: str, line: str) -> Said | None:
    """Parse a line of output; None if the timeline shows its content in another way."""
    if not line or _NO_NEWS.search(line):
        return None
    if match := _CLIENT_LINE.fullmatch(line):
        level, text = match[1], _DEPLOYMENT.sub("", match[2])
        if printed := _PRINTED.fullmatch(text):
            return _understand(who, printed[1])
        # the sub-updater's log contains the output of the client when the sub-updater calls it
        name = "client report" if who == "sub-updater" else "client"
        return Said(name, text, is_complaint=level not in ("DEBUG", "INFO"))
    if match := _SUB_UPDATER_LINE.fullmatch(line):
        return Said("sub-updater", match.group(1))
    program, colon, text = line.partition(": ")
    if colon and program in ("boot loader", "health check", "rootfs-image"):
        return Said(program, text)
    return Said(who, line)


def _environment() -> dict[str, str]:
    """The environment of programs on the device, without settings of the user who runs the demo, such as a proxy."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return {"LANG": "C.UTF-8", **kept}
