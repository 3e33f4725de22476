"""The capacity of a dev server: ``python -m benchmarks.fleet``.

The server runs in a separate process, like ``mender-devserver serve``. Fifty devices are real clients with a simulated
installation, run by a few threads. Meanwhile, an observer follows the feed of the page, changes a setting ten times a
second, and measures when the feed shows the change. The output is the time until all devices are updated, and the delay
of the page. The limits are one minute and one second.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mender_client.core.artifact import Compression, PayloadSource, rootfs_image, write_artifact
from mender_devserver.contact import Contact, load_contact
from mender_devserver.testing import VirtualDevice

from .bench import ProcessState, machine

_UPDATED_BAR_SECONDS = 60.0
_LATE_BAR_SECONDS = 1.0
_PROBE_SECONDS = 0.1
_FIRST_PROBE = 1000
_PATIENCE_SECONDS = 300.0


@contextmanager
def serving(directory: Path) -> Iterator[tuple[Contact, int]]:
    """Run a dev server that accepts all devices in a separate process; yields its addresses and its pid."""
    command = [sys.executable, "-m", "mender_devserver.cli", "serve", "--plain", "--auto-accept", "--json"]
    with subprocess.Popen([*command, "--directory", str(directory)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield load_contact(directory), process.pid
        finally:
            process.terminate()


class Onlooker:
    """Listens to the feed, as the page does, and measures its delay.

    Args:
        contact: the addresses of the server.
    """

    def __init__(self, contact: Contact) -> None:
        self._contact = contact
        parts = urlsplit(contact.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {contact.token}"}
        self._connection.request("GET", "/api/management/dev/live", headers=headers)
        self._feed = self._connection.getresponse()
        self._is_stopping = threading.Event()
        self._asked_at: dict[int, float] = {}
        self.late_seconds: list[float] = []
        self.messages = 0
        self.bytes = 0
        for target in (self._listen, self._probe):
            threading.Thread(target=target, daemon=True).start()

    def _listen(self) -> None:
        try:
            while line := self._feed.readline():
                self.bytes += len(line)
                if line.startswith(b"data: "):
                    self.messages += 1
                    self._note(json.loads(line.removeprefix(b"data: ")))
        except (OSError, http.client.HTTPException):
            return  # the server has ended

    def _note(self, message: dict[str, Any]) -> None:
        shown = int(message["changed"].get("settings", {}).get("token_seconds", 0))
        for number in [one for one in tuple(self._asked_at) if one <= shown]:  # two changes may arrive as one
            self.late_seconds.append(time.monotonic() - self._asked_at.pop(number))

    def _probe(self) -> None:
        number = _FIRST_PROBE
        while not self._is_stopping.wait(_PROBE_SECONDS):
            number += 1
            self._asked_at[number] = time.monotonic()
            self._contact.call("PATCH", "/settings", {"token_seconds": number})

    def stop(self) -> None:
        """Make no more changes, and wait until the last one is shown; the feed ends when the server stops."""
        self._is_stopping.set()
        time.sleep(_LATE_BAR_SECONDS)

    @property
    def unanswered(self) -> int:
        """The number of changes that the feed has not shown."""
        return len(self._asked_at)


class Fleet:
    """Runs many devices in a few threads.

    Args:
        devices: the devices.
        threads: the number of threads.
    """

    def __init__(self, devices: Sequence[VirtualDevice], threads: int) -> None:
        self._is_stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(devices[one::threads],)) for one in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, devices: Sequence[VirtualDevice]) -> None:
        due = {device: time.monotonic() for device in devices}
        while not self._is_stopping.is_set():
            device = min(due, key=lambda one: due[one])
            if not self._is_stopping.wait(max(0.0, due[device] - time.monotonic())):
                due[device] = device.step() + time.monotonic()

    def stop(self) -> None:
        """Stop after every device has finished its step."""
        self._is_stopping.set()
        for thread in self._threads:
            thread.join()


def wait_for(what: str, condition: Callable[[], bool]) -> float:
    """Wait until a condition is true; return the seconds that it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > _PATIENCE_SECONDS:
            raise SystemExit(f"cannot wait longer for {what}")
        time.sleep(0.1)
    return time.monotonic() - start


def write_release(path: Path, image_bytes: int) -> Path:
    """Write an Artifact for virtual devices."""
    image = os.urandom(image_bytes)
    with path.open("wb") as file:
        source = PayloadSource("rootfs.img", image_bytes, lambda: io.BytesIO(image))
        write_artifact(file, rootfs_image("release-2", ["virtual"], compression=Compression.NONE), [source])
    return path


def measure(directory: Path, *, devices: int, threads: int, image_bytes: int) -> bool:
    """Update a fleet and print the figures; return whether they are within the limits."""
    with ExitStack() as stack:
        contact, pid = stack.enter_context(serving(directory / "server"))
        with write_release(directory / "release-2.mender", image_bytes).open("rb") as file:
            contact.upload(file)
        onlooker = Onlooker(contact)
        made = [VirtualDevice(contact.url, directory / f"device-{number:02}") for number in range(1, devices + 1)]
        for device in made:
            stack.callback(device.close)
        fleet = Fleet(made, threads)
        stack.callback(fleet.stop)
        known = wait_for("the devices", lambda: _ready(contact) == devices)
        contact.call("POST", "/deployments", {"artifact_name": "release-2"})
        updated = wait_for("the updates", lambda: _statuses(contact).count("success") == devices)
        state = ProcessState.of(pid)
        onlooker.stop()
    late = sorted(onlooker.late_seconds)
    print(f"{machine()}; {devices} devices in {threads} threads, an image of {image_bytes / 2**20:g} MiB")
    print(f"all known, accepted, with inventory after  {known:6.1f} s")
    print(f"all updated after                          {updated:6.1f} s  (bar {_UPDATED_BAR_SECONDS:g})")
    print(f"page late by, median and worst of {len(late):3}      {late[len(late) // 2]:6.2f} s {late[-1]:6.2f} s  "
          f"(bar {_LATE_BAR_SECONDS:g})")  # fmt: skip
    print(f"feed                                       {onlooker.messages:6} messages, {onlooker.bytes / 1024:.0f} KiB")
    print(f"server                                     {state.resident_mib:6.1f} MiB, {state.cpu_seconds:.1f} s of CPU")
    return updated <= _UPDATED_BAR_SECONDS and late[-1] <= _LATE_BAR_SECONDS and not onlooker.unanswered


def _ready(contact: Contact) -> int:
    told = [contact.call("GET", f"/devices/{one['device_id']}/inventory") for one in contact.call("GET", "/devices")]
    return sum(1 for inventory in told if inventory)


def _statuses(contact: Contact) -> list[str]:
    return [one["status"] for one in contact.call("GET", "/deployments")[-1]["devices"]]


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(description="Update a fleet of virtual devices with one dev server.")
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--image-bytes", type=int, default=4 * 1024 * 1024)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mender-fleet-") as directory:
        is_good = measure(
            Path(directory),
            devices=arguments.devices,
            threads=arguments.threads,
            image_bytes=arguments.image_bytes,
        )
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
