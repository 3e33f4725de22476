"""The device of the soak test: its files, the supervisor that starts its programs, and its power switch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mender_devserver import DevServer
from program.stage import PROGRAM, Device

DISK_KIB = 4096
STUCK_HANDS_S = 15
_HANDS = Path(__file__).with_name("hands.sh")
_AGAIN_S = 0.7
_SETTINGS = {
    "DownloadStallSeconds": 1,
    "DownloadReserveBytes": 0,
    "SubUpdaterTimeoutSeconds": STUCK_HANDS_S,  # recovers a device whose sub-updater was never started
}


@dataclass(frozen=True, slots=True)
class System:
    """The software on the device according to its files.

    Attributes:
        running: the name of the running system.
        boots: how the boot loader boots next (``keep``, ``try`` or ``tried``), and which of A and B.
        runs: which of A and B is running.
        artifact_name: the artifact name in ``artifact_info``.
    """

    running: str
    boots: str
    runs: str
    artifact_name: str


class SoakDevice:
    """A device in a directory, whose programs are supervised by ``tick``.

    Args:
        directory: the directory for the device and its logs.
        server: the server of the device.
        is_small_disk: put its data directory on a separate small file system, which can be filled.
    """

    def __init__(self, directory: Path, server: DevServer, *, is_small_disk: bool) -> None:
        self.device = Device(directory / "device", server)
        self.root, self.data = self.device.root, self.device.data
        self.log = directory / "device.log"
        self.exits: list[int] = []
        self._is_mounted = False
        self._daemon: subprocess.Popen[bytes] | None = None
        self._boot_step: subprocess.Popen[bytes] | None = None
        self._boot_again_at: float | None = None
        self._start_at: float | None = None
        self.device.configure(**_SETTINGS)
        self._install_hands()
        if is_small_disk:
            self._mount()

    def _install_hands(self) -> None:
        script = _HANDS.read_text().replace("@ROOT@", str(self.root)).replace("@CLIENT@", str(PROGRAM))
        self.device.write("usr/share/mender/install", script)
        (self.root / "slots").mkdir()
        self.device.write("slots/A", "release-1\n")
        self.device.write("slots/running", "A\n")
        self.device.write("slots/boot", "keep A\n")

    def _mount(self) -> None:
        files = {path.name: path.read_bytes() for path in self.data.iterdir()}
        mount_small_disk(self.data)
        self._is_mounted = True
        for name, content in files.items():
            (self.data / name).write_bytes(content)
        self.device.key.chmod(0o600)

    # -- state ------------------------------------------------------------------------------------------------

    @property
    def system(self) -> System:
        """The software on the device."""
        runs, boots = self._read("slots/running"), self._read("slots/boot")
        name = self._read("etc/mender/artifact_info").removeprefix("artifact_name=")
        return System(self._read(f"slots/{runs}", first_line=True), boots, runs, name)

    def _read(self, name: str, *, first_line: bool = False) -> str:
        data = (self.root / name).read_bytes()
        return (data.partition(b"\n")[0] if first_line else data).decode().strip()

    def history(self, deployment_id: str) -> list[str]:
        """The steps of a deployment that the sub-updater recorded, in order."""
        path = self.root / "history"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(deployment_id)]

    @property
    def journal(self) -> Mapping[str, Any] | None:
        """The client's state file; empty if it doesn't exist, None if it is corrupt."""
        try:
            document = json.loads((self.data / "journal.json").read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    @property
    def is_quiet(self) -> bool:
        """Whether the device is idle and the client is running."""
        journal = self.journal
        return (
            journal is not None
            and not journal.get("update")
            and not journal.get("outbox")
            and not self.device.lock.exists()
            and not (self.root / "reboot").exists()
            and self._boot_step is None
            and self._daemon is not None
            and self._daemon.poll() is None
            and not self._is_at_work()
        )

    def _is_at_work(self) -> bool:
        return any(str(self.root / "usr/share").encode() in _of(pid, "cmdline") for pid in self._processes())

    # -- its supervisor ---------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Do the work of a service manager and a boot loader; must be called repeatedly."""
        now = time.monotonic()
        self._watch_daemon(now)
        if (self.root / "reboot").exists():
            self.cut_power()
            self.boot()
        self._watch_boot_step(now)
        if (self.root / "start").exists():
            (self.root / "start").unlink()
            self._start_at = self._start_at or now
        if self._start_at is not None and now >= self._start_at and self._boot_step is None:
            self._start_at = None
            if self._daemon is None:
                self._daemon = self._run(str(PROGRAM), "--root", str(self.root), "daemon", "--no-syslog")

    def _watch_daemon(self, now: float) -> None:
        if self._daemon is None or (code := self._daemon.poll()) is None:
            return
        self._daemon = None
        self.exits.append(code)
        if code != 0:
            self._start_at = now + 0.3

    def _watch_boot_step(self, now: float) -> None:
        if self._boot_step is not None and (code := self._boot_step.poll()) is not None:
            self._boot_step = None
            self._start_at = now
            self._boot_again_at = now + _AGAIN_S if code == 75 else None
        if self._boot_again_at is not None and now >= self._boot_again_at and self._boot_step is None:
            self._boot_again_at = None
            self._boot_step = self._run(str(self.root / "usr/share/mender/install"), "--boot")

    def boot(self) -> None:
        """The boot loader chooses a system, and the sub-updater's boot step runs before the client."""
        word, slot = self._read("slots/boot").split()
        if word == "tried":
            word, slot = "keep", "B" if slot == "A" else "A"
        self.device.write("slots/boot", f"{'tried' if word == 'try' else word} {slot}\n")
        self.device.write("slots/running", f"{slot}\n")
        (self.root / "start").unlink(missing_ok=True)
        self._boot_again_at = None
        self._boot_step = self._run(str(self.root / "usr/share/mender/install"), "--boot")

    def _run(self, *argv: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    # -- faults -----------------------------------------------------------------------------------------------

    def kill_client(self) -> bool:
        """Send SIGKILL to the daemon; return False if it isn't running."""
        if self._daemon is None or self._daemon.poll() is not None:
            return False
        self._daemon.kill()
        return True

    def cut_power(self) -> None:
        """Send SIGKILL to all processes of this device."""
        while pids := self._processes():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in (self._daemon, self._boot_step):
                if process is not None:
                    process.wait(10)
            time.sleep(0.005)
        self._daemon = self._boot_step = self._start_at = self._boot_again_at = None
        (self.root / "reboot").unlink(missing_ok=True)

    def _processes(self) -> list[int]:
        """The processes of this device, which have its directory in their arguments or environment."""
        root = str(self.root).encode()
        pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid())
        texts = ((pid, _of(pid, "cmdline") + _of(pid, "environ")) for pid in pids)
        return [pid for pid, text in texts if root + b"/" in text or root + b"\0" in text]

    def spoil_journal(self, garbage: bytes) -> bool:
        """Replace the state file with garbage; return False if the disk can't be written."""
        try:
            (self.data / "garbage").write_bytes(garbage)
            os.replace(self.data / "garbage", self.data / "journal.json")
        except OSError:
            return False
        return True

    def fill_disk(self) -> None:
        """Fill the disk completely."""
        with (self.data / "ballast").open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(512)):
                pass

    def free_disk(self) -> None:
        """Remove the file that fills the disk."""
        (self.data / "ballast").unlink(missing_ok=True)

    def lock_directory(self) -> None:
        """Prevent files in the data directory from being created, renamed or removed."""
        set_unwritable(self.data, is_unwritable=True)

    def unlock_directory(self) -> None:
        """Make the data directory writable again."""
        set_unwritable(self.data, is_unwritable=False)

    # -- end --------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Reset a stuck device by force, so that the soak test can continue."""
        self.cut_power()
        for path in (self.device.lock, self.data / "journal.json", self.root / "hands.state"):
            path.unlink(missing_ok=True)
        self.device.write("slots/boot", f"keep {self._read('slots/running')}\n")
        self.device.write("etc/mender/artifact_info", f"artifact_name={self.system.running}\n")
        self.boot()

    def close(self) -> None:
        """Switch the device off permanently."""
        self.cut_power()
        if self._is_mounted:
            subprocess.run(["umount", "-l", str(self.data)], check=False)


def _of(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""  # the process has ended, or belongs to another user


def mount_small_disk(directory: Path) -> None:
    """Mount a small file system in memory.

    Raises:
        OSError: mounting isn't permitted here.
    """
    argv = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k,mode=0700", "tmpfs", str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def set_unwritable(directory: Path, *, is_unwritable: bool) -> None:
    """Forbid changes to a directory for all users, including root where the file system supports that.

    Raises:
        OSError: this isn't possible here.
    """
    if os.geteuid() != 0:
        directory.chmod(0o500 if is_unwritable else 0o700)
        return
    if not shutil.which("chattr"):
        raise OSError("there is no chattr")
    done = subprocess.run(["chattr", "+i" if is_unwritable else "-i", str(directory)], capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.decode().strip())
