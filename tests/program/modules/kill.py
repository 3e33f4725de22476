"""Power failures and kills of the client while an update module installs; then restarts until all is quiet.

    python tests/program/modules/kill.py --kills 200 --seed 7

runs this at length and prints the counts; a few of the same are in ``test_kill.py``.

The device has two partitions and a boot loader that tries a new one once, all of them files. The module streams into
the partition that doesn't run. A reboot, like a power cut, ends every process of the device.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.artifact.forge import forge, info, type_info
from mender_devserver import DevServer
from program.kill import counting_renames
from program.stage import DEVICE_TYPE, Device, Process
from program.tally import Tally, run_at_length
from waiting import PATIENCE_S, wait_until

MARK = "MENDER_TEST_DEVICE"
"""A variable in the environment of all processes of a device; its value is the root."""

REBOOTS = ("No", "Yes", "Automatic")
FAILING = ("ArtifactInstall", "ArtifactVerifyReboot", "ArtifactCommit_Enter", "ArtifactCommit")
_SIZE = 100_000
_MOST_LIVES = 12

_MODULE = """#!/bin/sh
root={root}
echo "$1" >>"$root/noted"
. "$root/boot.env"
running=$(cat "$root/running")
[ "$running" = a ] && other=b || other=a
set_boot() {{
    echo "boot=$1 trial=$2 booted=0" >"$root/boot.env.new" && mv "$root/boot.env.new" "$root/boot.env"
}}
case $1 in
NeedsArtifactReboot) cat "$root/reboot" ;;
SupportsRollback) echo Yes ;;
Download) cat "$(cat stream-next)" >"$root/part-$other" && [ -z "$(cat stream-next)" ] || exit 1 ;;
ArtifactInstall) echo "$running" >tmp/old && set_boot "$other" 1 || exit 1 ;;
ArtifactReboot | ArtifactRollbackReboot) exec "$root/bin/reboot" ;;
ArtifactVerifyReboot) [ "$running" != "$(cat tmp/old)" ] || [ "$(cat "$root/reboot")" = No ] || exit 1 ;;
ArtifactCommit) set_boot "$boot" 0 || exit 1 ;;
ArtifactRollback) [ ! -e tmp/old ] || set_boot "$(cat tmp/old)" 0 || exit 1 ;;
ArtifactVerifyRollbackReboot) [ ! -e tmp/old ] || [ "$running" = "$(cat tmp/old)" ] || exit 1 ;;
esac
[ "$1" != "$(cat "$root/failing")" ]
"""
_SCRIPT = """#!/bin/sh
echo {name} >>{root}/noted
[ {name} != "$(cat {root}/failing)" ]
"""
_REBOOT = """#!/bin/sh
: >{root}/has-rebooted
kill -9 $PPID
exec sleep 3600
"""
"""The client, or the module with the client behind it, doesn't outlive this; who looks on ends the rest."""

_SCRIPTS = ("ArtifactInstall_Enter", "ArtifactInstall_Leave", "ArtifactCommit_Enter", "ArtifactCommit_Leave",
            "ArtifactRollback_Enter", "ArtifactFailure_Enter")  # fmt: skip


class TwoPartitions(Device):
    """The device."""

    def __init__(self, root: Path, server: DevServer) -> None:
        super().__init__(root, server)
        self.name, self.image = "release-1", b"old" * 1000
        for name in ("usr/share/mender/modules/v3", "bin"):
            (root / name).mkdir(parents=True)
        for name, text in (("usr/share/mender/modules/v3/app", _MODULE), ("bin/reboot", _REBOOT)):
            self.write(name, text.format(root=root)).chmod(0o755)
        (root / "part-a").write_bytes(self.image)
        self.write("part-b", "")
        self.write("boot.env", "boot=a trial=0 booted=0\n")
        self.write("running", "a\n")
        self.configure(Installer="modules")

    def offer(self, name: str, rng: random.Random) -> str:
        """Let the server offer a new image; possibly something will fail. Returns the deployment's id."""
        self.write("reboot", rng.choice(REBOOTS) + "\n")
        self.write("failing", rng.choice(["", "", *FAILING]) + "\n")
        self.write("noted", "")
        self.new = rng.randbytes(_SIZE)
        path = self.root.parent / f"{name}.mender"
        described = info(artifact_provides={"artifact_name": name}, artifact_depends={"device_type": [DEVICE_TYPE]})
        scripts = [(f"{one}_00", _SCRIPT.format(name=one, root=self.root).encode()) for one in _SCRIPTS]
        path.write_bytes(forge(info=described, type_info=type_info(), scripts=scripts, files=[("image", self.new)]))
        self.server.upload(path, artifact_name=name, device_types=[DEVICE_TYPE])
        path.unlink()
        return self.server.deploy(name, [self.id])

    def begin_life(self) -> Process:
        """Boot, if necessary, and start the daemon."""
        (self.root / "has-rebooted").unlink(missing_ok=True)
        path = f"{self.root}/bin:{os.environ['PATH']}"
        return self.start("daemon", "--no-syslog", environment={"PATH": path, MARK: str(self.root)})

    def boot(self) -> None:
        """End every process, and boot the partition that the boot loader chooses: a new one is tried once."""
        self.end_all()
        env = self.env
        if env["trial"] == "1":
            env = (
                {"boot": "b" if env["boot"] == "a" else "a", "trial": "0", "booted": "0"}
                if env["booted"] == "1"
                else {**env, "booted": "1"}
            )
            self.write("boot.env", " ".join(f"{key}={value}" for key, value in env.items()) + "\n")
        self.write("running", env["boot"] + "\n")

    def end_all(self) -> None:
        """Kill every process of the device."""
        mark = f"{MARK}={self.root}\0".encode()
        while found := [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and _has(one, mark)]:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.processes:
                process.process.poll()

    @property
    def has_rebooted(self) -> bool:
        """Whether a reboot is due."""
        return (self.root / "has-rebooted").exists()

    @property
    def env(self) -> dict[str, str]:
        """The boot loader's variables."""
        return dict(word.split("=") for word in (self.root / "boot.env").read_text().split())

    @property
    def running(self) -> str:
        """The running partition."""
        return (self.root / "running").read_text().strip()

    @property
    def provided_name(self) -> str:
        """The name of the installed software, as the client knows it."""
        return self.call("show-artifact").stdout.strip()

    @property
    def left(self) -> list[str]:
        """The remains of the update in the data directory."""
        return [str(path) for path in self.data.rglob("*") if path.name.startswith("artifact.") or "tree" in path.parts]


def _has(process: Path, mark: bytes) -> bool:
    with suppress(OSError):
        return mark in (process / "environ").read_bytes() and "Z" not in (process / "stat").read_text().split()[2]
    return False


class Reaper:
    """Runs deployments on one device, and kills in the middle of them.

    Args:
        device: the device.
        rng: decides when, and what happens besides.
    """

    def __init__(self, device: TwoPartitions, rng: random.Random) -> None:
        self._device = device
        self._rng = rng
        self._seconds = 0.0
        self.tally = Tally()

    def every_change(self, *, at_most: int = 60) -> int:
        """Strike after the first change of the state file, in the next deployment after the second, and so on.

        Returns:
            After how many changes it was done.
        """
        for number in range(1, at_most):
            hits = [self.kill_after_change(number, is_power_cut=is_power_cut) for is_power_cut in (False, True)]
            if not any(hits):
                return number - 1
        raise AssertionError(f"a deployment changes the journal more than {at_most} times")

    def kill_after_change(self, number: int, *, is_power_cut: bool) -> bool:
        """Strike right after the ``number``-th change of the state file; False if there are fewer changes."""
        deployment = self._begin()
        with counting_renames(self._device.data / "journal.json") as renames:
            daemon = self._device.begin_life()
            while (changes := renames()) < number and not self._is_over(deployment):
                if not daemon.is_alive:
                    self._device.boot()
                    daemon = self._device.begin_life()
                time.sleep(0.001)
        is_hit = changes >= number
        if is_hit:
            self._strike(daemon, is_power_cut=is_power_cut)
        self._live_on(deployment)
        return is_hit

    def kill_at_random(self) -> None:
        """Strike at some instant of a deployment, and possibly again in the next life."""
        if not self._seconds:
            self._seconds = self._measure()
        deployment = self._begin()
        for _ in range(3):
            self._live_shortly(deployment, self._rng.uniform(0.0, self._seconds))
            if self._rng.random() < 0.6:
                break
        self._live_on(deployment)

    def _measure(self) -> float:
        """The duration of an undisturbed deployment."""
        deployment, begin = self._begin(), time.monotonic()
        self._live_on(deployment)
        return time.monotonic() - begin

    def _live_shortly(self, deployment: str, seconds: float) -> None:
        """Strike at this time after the client has received an update."""
        if self._is_over(deployment):
            return
        daemon, end = self._device.begin_life(), 0.0
        while daemon.is_alive and not self._is_over(deployment) and (not end or time.monotonic() < end):
            if not end and self._device.journal.get("update"):
                end = time.monotonic() + seconds
            time.sleep(0.005)
        if daemon.is_alive and not self._is_over(deployment):
            self._strike(daemon, is_power_cut=self._rng.random() < 0.5)
        else:
            self._end_life(daemon)

    def _begin(self) -> str:
        self._device.processes.clear()
        self.tally.deployments += 1
        return self._device.offer(f"release-{self.tally.deployments + 1}", self._rng)

    def _strike(self, daemon: Process, *, is_power_cut: bool) -> None:
        self.tally.note(self._device.journal)
        daemon.kill()
        if is_power_cut:
            self._device.boot()

    def _end_life(self, daemon: Process) -> None:
        """After a reboot, boot; a daemon that still runs is asked to end."""
        if daemon.is_alive:
            daemon.stop()
        if self._device.has_rebooted:
            self._device.boot()

    def _is_over(self, deployment: str) -> bool:
        """Whether the server knows the outcome, and the client has nothing left to do."""
        journal = self._device.journal
        return (
            bool({"success", "failure"} & {*self._device.statuses(deployment)})
            and not journal.get("update")
            and not journal.get("outbox")
        )

    def _live_on(self, deployment: str) -> None:
        """Restart the daemon until the device is quiet, then compare the result with the expected one."""
        if self._device.has_rebooted:
            self._device.boot()
        for _ in range(_MOST_LIVES):
            if self._is_over(deployment):
                break
            daemon = self._device.begin_life()
            with suppress(AssertionError):
                wait_until(lambda one=daemon: not one.is_alive or self._is_over(deployment), within=PATIENCE_S)  # type: ignore[misc]
            self._end_life(daemon)
        self._device.boot()
        self._judge(deployment)

    def _judge(self, deployment: str) -> None:
        device, tally = self._device, self.tally
        name = f"release-{tally.deployments + 1}"
        statuses = device.statuses(deployment)
        finals = {one for one in statuses if one in ("success", "failure")}
        is_new = (device.root / f"part-{device.running}").read_bytes() == device.new
        is_old = (device.root / f"part-{device.running}").read_bytes() == device.image
        noted = (device.root / "noted").read_text().split()
        expected = name if is_new else device.name
        faults = {
            "lost": statuses[-1:] != ["success" if is_new else "failure"],
            "doubled": len(finals) > 1 or noted.count("ArtifactInstall") > 1,
            "stuck": not self._is_over(deployment) or bool(device.left),
            "between": is_new == is_old or device.env["trial"] != "0" or expected != device.provided_name,
        }
        tally.judge(faults, lambda: f"{name}, {statuses}, {noted}, {device.env}, {device.left}\n{device.said}")
        if is_new:
            device.name, device.image = name, device.new
        else:
            device.name = device.provided_name


@contextmanager
def _reaper(directory: Path, rng: random.Random) -> Iterator[Reaper]:
    with (
        DevServer(directory / "server", tls=False) as server,
        closing(TwoPartitions(directory / "device", server)) as device,
    ):
        yield Reaper(device, rng)


if __name__ == "__main__":
    sys.exit(run_at_length("Kill the client, or cut the power, while an update module installs.", _reaper))
