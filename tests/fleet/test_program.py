"""``mender-fleet`` as a program, as docs/guide/fleet.md shows it: Locust in separate processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devserver.caller import make_artifact
from docs.pages import PROJECT, blocks
from mender_devserver import DevServer

pytest.importorskip("zmq", reason="needs Locust, the extra [fleet]")

PROGRAM = (sys.executable, "-m", "mender_fleet.cli")
GUIDE = PROJECT / "docs/guide/fleet.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server with TLS that accepts all devices."""
    with DevServer(tmp_path / "server", auto_accept=True) as running:
        yield running


def free_port() -> int:
    """A free port for a master: another fleet may use the default one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def run(directory: Path, *arguments: str, expected: int = 0) -> str:
    """Run the program to its end; return its log."""
    command = [*PROGRAM, "--headless", "--only-summary", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
    assert expected == done.returncode, done.stderr
    return done.stderr


@contextmanager
def start(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the program; if it still runs at the end, it is ended with its workers."""
    command = [*PROGRAM, "--headless", "--only-summary", *arguments]
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, cwd=directory, stdout=null, stderr=pipe, text=True, start_new_session=True) as fleet:
        try:
            yield fleet
        finally:
            if fleet.poll() is None:
                os.killpg(fleet.pid, signal.SIGKILL)


def counted(directory: Path, name: str, column: str = "Request Count") -> int:
    """Locust's count so far for the endpoint whose name has this suffix; 0 if there is none."""
    try:
        with (directory / "out_stats.csv").open() as file:
            return sum(int(row[column]) for row in csv.DictReader(file) if row["Name"].endswith(name))
    except (OSError, TypeError, ValueError):  # it doesn't exist yet, or is being written
        return 0


def test_master_and_two_workers(server: DevServer, tmp_path: Path) -> None:
    """A master and two workers take a fleet through a deployment; the master accepts the devices and reports."""
    server.auto_accept = False
    server.upload(make_artifact(tmp_path / "release-2.mender", "release-2", ["simulated"]))
    given = ("--devserver", str(server.directory), "--devices", "12", "--spawn-rate", "12", "--processes", "2")
    kinds = ("--accept", "--shares", "healthy=5,slow=1", "--link-speed", "100000000")
    quick = ("--poll", "300", "--speed-up", "300", "--install-seconds", "0", "--run-time", "600s")
    files = ("--picture", "fleet.svg", "--csv", "out")
    port = str(free_port())
    ports = ("--master-bind-port", port, "--master-port", port)
    with start(tmp_path, *given, *kinds, *quick, *files, *ports) as fleet:
        server.wait_until(lambda: sum(bool(one.inventory) for one in server.devices()) == 12)
        server.deploy("release-2")
        server.wait_until(lambda: counted(tmp_path, "{id}/status") == 36)  # they have registered with the master
        fleet.terminate()
        _, log = fleet.communicate()
    assert "12 offered, 12 success, 0 failure, 0 unfinished" in log
    assert {"success"} == {one.status for one in server.deployments()[0].devices.values()}
    names = [str(one.identity["serial"]).split("-") for one in server.devices()]
    assert {"HealthyDevice": 10, "SlowDevice": 2} == Counter(kind for kind, _, _ in names)
    assert {"0": 6, "1": 6} == Counter(worker for _, worker, _ in names)
    assert "Traceback" not in log
    assert (tmp_path / "fleet.svg").read_text().startswith("<svg ")
    assert (12, 0) == (counted(tmp_path, "Artifact"), counted(tmp_path, "Aggregated", "Failure Count"))


def test_locustfile_of_a_user(server: DevServer, tmp_path: Path) -> None:
    """A locustfile can subclass the devices, and define their attributes and their installation."""
    (own,) = (block.text for block in blocks(GUIDE) if block.language == "python")
    (tmp_path / "locustfile.py").write_text(own)
    server.upload(make_artifact(tmp_path / "release-3.mender", "release-3", ["camera"]))
    given = ("-f", "locustfile.py", "Camera", "--devserver", str(server.directory), "-u", "1", "--run-time", "600s")
    with start(tmp_path, *given, "--poll", "1", "--install-seconds", "0") as fleet:
        server.wait_until(lambda: any(one.inventory for one in server.devices()))
        (device,) = server.devices()
        deployment_id = server.deploy("release-3")
        server.wait_until(lambda: server.status(deployment_id, device.id) == "failure")
        before = len(server.requests)
        server.wait_until(lambda: any(one.kind == "next" for one in server.requests[before:]))  # it has counted that
        fleet.terminate()
        _, log = fleet.communicate()
    assert "1 offered, 0 success, 1 failure" in log
    assert ("camera", "35 mm") == (device.inventory["device_type"], device.inventory["lens"])
    assert "the lens is dirty" in str(server.log(deployment_id, device.id))


def test_fleet_that_cannot_run_is_refused(tmp_path: Path) -> None:
    """A fault that would affect every device is reported once, before any starts; CSV files are closed properly."""
    for name, text in (("seed", "all devices have one key"), ("empty", "")):
        (tmp_path / name).write_text(text)
    refused = {
        "--seed-file seed": (1, "cannot use the seed in seed: a seed has 64 hexadecimal digits"),
        "--certificate none.pem": (1, "cannot use the certificate in none.pem: "),
        "--certificate seed": (1, "cannot use the certificate in seed: "),
        "--tenant-token-file none": (1, "cannot use the token in none: "),
        "--accept --management-token-file empty": (1, "cannot use the token in empty: it holds no token"),
        "--picture none/fleet.svg": (1, "cannot draw to none/fleet.svg: its directory does not exist"),
        "--devserver none": (1, "cannot find a running dev server in "),
        "--shares toaster=1": (64, "cannot use --shares: there is no 'toaster'; there are healthy, slow"),
        "--users -1": (64, "cannot simulate -1 devices"),
        "--accept": (64, "cannot accept devices: pass --management-token-file"),
        "--preauthorize": (64, "cannot accept devices: pass --management-token-file"),
    }
    lines = [f"--host https://127.0.0.1:1 {one}" for one in (*refused, "--shares slow=3")]
    command = [sys.executable, "-m", "fleet.checks", str(tmp_path), *lines]
    done = subprocess.run(command, cwd=PROJECT / "tests", capture_output=True, text=True, timeout=300, check=True)
    told = json.loads(done.stdout)
    *failed, good = told["checks"]
    for (code, messages, _), (expected, text) in zip(failed, refused.values(), strict=True):
        assert (expected, 1, True) == (code, len(messages), messages[0].startswith(text)), messages
    assert [0, [], {"SlowDevice": 3}] == good
    assert "None" == told["csv"]


def test_other_servers_are_refused(tmp_path: Path) -> None:
    """Nothing is sent to a server on another machine unless the user confirms that it is theirs."""
    log = run(tmp_path, "--server", "https://mender.example.com", "--devices", "1", "--run-time", "600s", expected=64)
    assert "cannot simulate devices at https://mender.example.com: it is not on this machine" in log
    assert not (tmp_path / "fleet.seed").exists()
