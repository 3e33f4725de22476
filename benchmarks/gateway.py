"""The cost of a gateway: ``python -m benchmarks.gateway idle|deploy|kill``.

Its devices are entries in one file, updated by a module that does almost nothing, over TLS from a dev server on the
same machine, without ``cryptography``. ``idle`` starts the gateway twice, the second time with the states and keys of
the first run, and measures it while its devices poll. ``deploy`` updates all devices; ``kill`` does the same and kills
the gateway ten times during the update. Each prints its figures and their limits.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mender_client.core.artifact import Compression, PayloadSource, module_image, write_artifact
from mender_devserver.contact import Contact, load_contact

from .bench import ProcessState, lean_environment, machine, make_script

_POLL_SECONDS = 300
_START_BAR_SECONDS = 3.0
_MEMORY_BAR_MIB = 45.0
_CPU_BAR_PERCENT = 3.0
_CONNECTIONS_BAR = 64
_DEPLOYMENT_BAR_SECONDS = 120.0
_SERVER_BAR_MIB = 200.0
_IMAGE_BYTES = 1024 * 1024
_KILLS = 10
_PATIENCE_SECONDS = 1800.0
_FINAL = ("success", "failure")
_MODULE = """[ "$1" != ArtifactInstall ] || echo "$1" >>"$MENDER_DATA_DIR/installed"
"""


@contextmanager
def serving(directory: Path) -> Iterator[tuple[Contact, int]]:
    """Run a dev server that accepts all devices in a separate process; yields its addresses and its pid."""
    command = [sys.executable, "-m", "mender_devserver.cli", "serve", "--auto-accept", "--json"]
    with subprocess.Popen([*command, "--directory", str(directory)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield load_contact(directory), process.pid
        finally:
            process.terminate()


class Bench:
    """A gateway and its devices.

    Args:
        directory: the working directory.
        contact: the addresses of the server.
        python: the interpreter that runs the gateway.
        devices: the number of devices.
        at_once: the number of devices updated at the same time.
    """

    def __init__(self, directory: Path, contact: Contact, python: Path, devices: int, at_once: int) -> None:
        self.contact = contact
        self.count = devices
        self._directory = directory
        self._data = directory / "data"
        self._starts = 0
        described = directory / "devices"
        (described / "modules").mkdir(parents=True)
        make_script(described / "modules/bench", _MODULE)
        entries = {f"device-{number:04}": _entry(number) for number in range(devices)}
        (described / "devices.json").write_text(json.dumps({"Devices": entries}))
        settings = {
            "ServerURL": contact.url,
            "ServerCertificate": str(contact.certificate),
            "UpdatePollIntervalSeconds": _POLL_SECONDS,
            "RetryPollIntervalSeconds": 5,
        }
        config = directory / "mender.conf"
        config.write_text(json.dumps(settings))
        config.chmod(0o600)
        common = ["-c", str(config), "-d", str(self._data), "--devices", str(described), "--no-syslog"]
        self._argv = [str(python), "-m", "mender_client", *common, "gateway", "--at-once", str(at_once)]
        self.log = Path()

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the gateway within the context."""
        self._starts += 1
        self.log = self._directory / f"gateway-{self._starts}.log"
        with self.log.open("wb") as log, subprocess.Popen(self._argv, stderr=log, cwd="/") as process:
            try:
                yield process
            finally:
                process.terminate()

    def said(self, words: str) -> int:
        """How often the gateway has logged these words since it was started."""
        return self.log.read_text("utf-8", "replace").count(words)

    def start_seconds(self) -> float:
        """The seconds that the gateway took to add all devices, according to its log."""
        line = next(one for one in self.log.read_text().splitlines() if " started as a gateway: " in one)
        return float(line.partition(" devices in ")[2].partition(" s,")[0])

    def deploy(self) -> str:
        """Upload an Artifact for all devices and deploy it; return the id of the deployment."""
        path = self._directory / "release-2.mender"
        image = os.urandom(_IMAGE_BYTES)
        with path.open("wb") as file:
            source = PayloadSource("image", len(image), lambda: io.BytesIO(image))
            write_artifact(file, module_image("release-2", ["bench"], "bench", compression=Compression.NONE), [source])
        with path.open("rb") as file:
            self.contact.upload(file)
        return str(self.contact.call("POST", "/deployments", {"artifact_name": "release-2"})["deployment_id"])

    def results(self) -> list[dict[str, Any]]:
        """The results of the last deployment on all devices."""
        found: list[dict[str, Any]] = self.contact.call("GET", "/deployments")[-1]["devices"]
        return found

    def installations(self) -> Counter[int]:
        """The number of devices by the number of installations."""
        return Counter(len(file.read_text().splitlines()) for file in self._data.glob("devices/*/installed"))


def _entry(number: int) -> dict[str, Any]:
    return {"Identity": {"serial": f"bench-{number}"}, "DeviceType": "bench"}


def wait_for(what: str, condition: Callable[[], bool], *, pause: float = 1.0) -> float:
    """Wait until a condition is true; return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > _PATIENCE_SECONDS:
            raise SystemExit(f"cannot wait longer for {what}")
        time.sleep(pause)
    return time.monotonic() - began


def _sockets(pid: int) -> int:
    links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    return sum(link.startswith("socket:") for link in links)


def _figure(what: str, value: float, unit: str, bar: float) -> bool:
    print(f"{what:42} {value:7.1f} {unit:14} (bar {bar:g})", flush=True)
    return value <= bar


def idle(bench: Bench, _: int) -> bool:
    """Start the gateway twice, and measure it during one poll of each device."""
    with bench.running():
        known = wait_for("the devices", lambda: bench.said(": authorised by") >= bench.count)
    print(f"all registered, with new keys, after       {known:7.1f} s", flush=True)
    with bench.running() as process:
        known = wait_for("the devices", lambda: bench.said(": authorised by") >= bench.count)
        print(f"all authorised again after                 {known:7.1f} s", flush=True)
        time.sleep(10)
        before = ProcessState.of(process.pid)
        time.sleep(1.2 * _POLL_SECONDS)  # poll intervals vary by a few per cent
        after, sockets = ProcessState.of(process.pid), _sockets(process.pid)
    percent = 100 * (after.cpu_seconds - before.cpu_seconds) / (1.2 * _POLL_SECONDS)
    good = [
        _figure("start with all states recovered", bench.start_seconds(), "s", _START_BAR_SECONDS),
        _figure("resident memory", after.resident_mib, "MiB", _MEMORY_BAR_MIB),
        _figure(f"CPU, a poll every {_POLL_SECONDS} s", percent, "% of a core", _CPU_BAR_PERCENT),
        _figure("sockets", sockets, "", _CONNECTIONS_BAR),
    ]
    print(f"threads                                    {after.threads:7}")
    return all(good)


def deploy(bench: Bench, server_pid: int) -> bool:
    """Update all devices."""
    with bench.running() as process:
        wait_for("the devices", lambda: bench.said(": inventory sent") >= bench.count)
        bench.deploy()
        process.send_signal(signal.SIGUSR1)
        seconds = wait_for("the updates", lambda: _done(bench) == bench.count)
        state = ProcessState.of(process.pid)
    server = ProcessState.of(server_pid)
    good = [
        _figure(f"{bench.count} devices updated", seconds, "s", _DEPLOYMENT_BAR_SECONDS),
        _figure("dev server, resident memory", server.resident_mib, "MiB", _SERVER_BAR_MIB),
    ]
    print(f"gateway                                    {state.resident_mib:7.1f} MiB, {state.cpu_seconds:.1f} s of CPU")
    return all([*good, _is_true(bench, may_fail=False)])


def kill(bench: Bench, _: int) -> bool:
    """Update all devices, and kill the gateway ten times during the update."""
    dice = random.Random(16)
    with bench.running():
        wait_for("the devices", lambda: bench.said(": inventory sent") >= bench.count)
    deployment = bench.deploy()
    for number in range(_KILLS):
        with bench.running() as process:
            most = min(max(bench.count * (number + 1) // (_KILLS + 2), _done(bench) + 1), bench.count)
            wait_for("some updates", lambda: _done(bench) >= most, pause=0.2)  # noqa: B023
            time.sleep(dice.random())
            process.kill()
    with bench.running():
        seconds = wait_for("the updates", lambda: _done(bench) == bench.count)
    print(f"deployment {deployment}: killed {_KILLS} times, all done {seconds:.0f} s after the last start")
    return _is_true(bench, may_fail=True)


def _done(bench: Bench) -> int:
    return sum(one["status"] in _FINAL for one in bench.results())


def _is_true(bench: Bench, *, may_fail: bool) -> bool:
    """Whether each device has exactly one final status, and it is correct."""
    results = bench.results()
    statuses = Counter(one["status"] for one in results)
    finals = [{one for one in result["received"] if one in _FINAL} for result in results]
    twice = bench.installations()
    print(f"final statuses                             {dict(statuses)}, installations by device {dict(twice)}")
    is_one_each = len(results) == bench.count and all(len(one) == 1 for one in finals)
    is_once = set(twice) <= {1}
    return is_one_each and is_once and (may_fail or set(statuses) == {"success"})


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(description="Measure a gateway.")
    what = {"idle": idle, "deploy": deploy, "kill": kill}
    parser.add_argument("what", choices=what)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=4)
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.devices} devices", flush=True)
    with tempfile.TemporaryDirectory(prefix="mender-gateway-") as name, lean_environment() as programs:
        directory = Path(name)
        with serving(directory / "server") as (contact, pid):
            bench = Bench(directory, contact, programs / "python", arguments.devices, arguments.at_once)
            is_good = what[arguments.what](bench, pid)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
