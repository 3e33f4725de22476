"""Power failures: SIGKILL at chosen and at random instants, then restarts until the device is quiet.

    python tests/program/kill.py --kills 200 --seed 7

runs this at length and prints the counts; a few of the same are in ``test_kill.py``.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mender_devserver import DevServer
from program.stage import Device, Process
from program.tally import Tally, run_at_length
from waiting import PATIENCE_S, wait_until

_LIFE_S = PATIENCE_S
"""The time limit of a life until the device is quiet."""

_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
"""What comes before a name in an event of inotify; its last number is the length of the name."""

INSIST = """
echo "artifact_name=$MENDER_ARTIFACT_NAME" >"$root/etc/mender/artifact_info"
turns=0
while [ "$turns" -lt 50 ]; do
    "$MENDER_CLIENT" --root "$root" report --success --timeout 5 &
    echo $! >"$root/report.pid"
    wait $!
    code=$?
    echo "report ended with $code"
    case $code in
        0) rm -f "$MENDER_DATA_DIR/update.lock"; break ;;
        2 | 75) break ;;
    esac
    turns=$((turns + 1))
    sleep 0.1
done
"""
"""A sub-updater that reports again if its report is killed, like one that restarts after a power cut."""


@contextmanager
def counting_renames(path: Path) -> Iterator[Callable[[], int]]:
    """Count the renames of a file into place; the kernel counts, so that none is missed on a busy machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watch >= 0
    assert libc.inotify_add_watch(watch, os.fsencode(path.parent), _IN_MOVED_TO) >= 0
    count = 0

    def so_far() -> int:
        nonlocal count
        with suppress(BlockingIOError):
            events = os.read(watch, 65536)
            while events:
                end = _EVENT.size + _EVENT.unpack_from(events)[3]
                count += events[_EVENT.size : end].rstrip(b"\0") == os.fsencode(path.name)
                events = events[end:]
        return count

    try:
        yield so_far
    finally:
        os.close(watch)


class Reaper:
    """Runs deployments on one device and kills the client in the middle of them.

    Args:
        device: the device; its sub-updater becomes one that insists.
        rng: decides when.
    """

    def __init__(self, device: Device, rng: random.Random) -> None:
        self._device = device
        self._rng = rng
        self.tally = Tally()
        device.write("plan", INSIST)

    def every_change(self, *, at_most: int = 40) -> int:
        """Kill after the first change of the state file, in the next deployment after the second, and so on.

        Returns:
            How many changes a deployment has.
        """
        for number in range(1, at_most):
            if not self.kill_after_change(number):
                return number - 1
        raise AssertionError(f"a deployment changes the journal more than {at_most} times")

    def kill_after_change(self, number: int) -> bool:
        """Kill the client right after the ``number``-th change of the state file; False if there are fewer changes."""
        deployment = self._begin()
        with counting_renames(self._device.data / "journal.json") as renames:
            daemon = self._device.daemon()
            while (changes := renames()) < number and not self._is_quiet(deployment, daemon):
                time.sleep(0.001)
        is_hit = changes >= number
        if is_hit:
            self._kill(daemon)
        self._live_on(deployment)
        return is_hit

    def kill_at_random(self) -> None:
        """Kill the client at some instant of a deployment, and possibly again in the next life."""
        deployment = self._begin()
        while not self._is_done(deployment):
            daemon = self._device.daemon()
            end = time.monotonic() + self._rng.uniform(0.15, 1.0)
            wait_until(lambda end=end, one=daemon: time.monotonic() > end or self._is_quiet(deployment, one))  # type: ignore[misc]
            if daemon.is_alive or not self._is_done(deployment):
                self._kill(daemon)
            if self._rng.random() < 0.6:
                break
        self._live_on(deployment)

    def _begin(self) -> str:
        self._device.processes.clear()
        self.tally.deployments += 1
        return self._device.deploy(f"kill-{self.tally.deployments}", payload=os.urandom(200_000))

    def _kill(self, daemon: Process) -> None:
        """Kill the daemon, and a report of the sub-updater in progress."""
        self.tally.note(self._device.journal)
        daemon.kill()
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int((self._device.root / "report.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if str(self._device.root).encode() in command and b"report" in command:
                os.kill(pid, signal.SIGKILL)

    def _is_done(self, deployment: str) -> bool:
        """Whether the server knows the outcome, and nothing is left over on the device."""
        journal = self._device.journal
        return (
            not {"success", "failure"}.isdisjoint(self._device.statuses(deployment))
            and not self._device.lock.exists()
            and not journal.get("update")
            and not journal.get("outbox")
        )

    def _is_quiet(self, deployment: str, daemon: Process) -> bool:
        """Whether nothing will change any more until the daemon is started again."""
        return self._is_done(deployment) and (daemon.is_alive or deployment in self._device.runs)

    def _live_on(self, deployment: str) -> None:
        """Restart the daemon until the device is quiet, then compare the result with the expected one."""
        for _ in range(3):
            with suppress(AssertionError):  # a working sub-updater needs no daemon; only a daemon notices a dead one
                wait_until(lambda: not self._device.lock.exists(), within=1.5)
            if self._is_done(deployment):
                break
            daemon = self._device.daemon()
            with suppress(AssertionError):
                wait_until(lambda one=daemon: self._is_done(deployment) or not one.is_alive, within=_LIFE_S)  # type: ignore[misc]
            daemon.stop()
        self._judge(deployment)

    def _judge(self, deployment: str) -> None:
        statuses = self._device.statuses(deployment)
        finals = [one for one in statuses if one in ("success", "failure")]
        runs = self._device.runs.count(deployment)
        truth = "success" if runs else "failure"
        faults = {
            "lost": set(finals) != {truth} or statuses[-1] != truth,
            "not begun": runs == 0,
            "doubled": runs > 1,
            "stuck": not self._is_done(deployment),
        }
        self.tally.judge(faults, lambda: f"{statuses}\n{self._device.said}")


@contextmanager
def _reaper(directory: Path, rng: random.Random) -> Iterator[Reaper]:
    with DevServer(directory / "server") as server, closing(Device(directory / "device", server)) as device:
        yield Reaper(device, rng)


if __name__ == "__main__":
    sys.exit(run_at_length("Kill the client at every journal write and at random instants.", _reaper))
