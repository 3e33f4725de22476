"""The observers: the status file, the service manager and the metrics file."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mender_client.core.client_status import WAITING, Authorisation, ClientStatus, Download
from mender_client.core.record import Record
from mender_client.errors import ErrorKind, NetworkError
from mender_client.system.clock import SystemClock
from mender_client.system.metrics import MetricsFile
from mender_client.system.notify import Notifier
from mender_client.system.snapshot import read_client_status
from mender_client.system.statusfile import StatusFile
from waiting import NEVER_S

AT = "2026-11-23T12:00:00+00:00"
SITUATION = ClientStatus().begun(AT, version="1.0", python="3.11.2").does(WAITING, AT)


class Seconds:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- status.json ----------------------------------------------------------------------------------------------


def test_status_file(tmp_path: Path) -> None:
    """The client status is written to a single file that only its owner can read, even with umask 0."""
    before = os.umask(0)
    try:
        StatusFile(tmp_path / "status.json").noticed(SITUATION)
    finally:
        os.umask(before)
    found = read_client_status(tmp_path / "status.json")
    assert found is not None
    assert SITUATION == found[0]
    assert 0o600 == (tmp_path / "status.json").stat().st_mode & 0o777
    assert ["status.json"] == os.listdir(tmp_path)


def test_flash_is_spared(tmp_path: Path) -> None:
    """News is written immediately, routine changes at most once a minute, and an unchanged status never."""
    path, seconds = tmp_path / "status.json", Seconds()
    file = StatusFile(path, seconds)

    def is_written(client_status: ClientStatus) -> bool:
        path.unlink(missing_ok=True)
        file.noticed(client_status)
        return path.exists()

    assert is_written(SITUATION)
    routine = SITUATION.contacted("https://x", AT)
    assert not is_written(routine)
    assert is_written(routine.judged(Authorisation.ACCEPTED, AT))
    seconds.now += 61
    assert is_written(routine)
    seconds.now += 61
    assert not is_written(routine)


def test_status_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that can't be written causes a single warning, and no exception."""
    file = StatusFile(tmp_path / "missing" / "status.json")
    for doing in ("a", "b", "c"):
        file.noticed(SITUATION.does(doing, AT))
    assert ["cannot write"] == [one.message[:12] for one in caplog.records if one.levelno >= logging.WARNING]


def test_files_that_could_not_be_written(tmp_path: Path) -> None:
    """A file that could not be written is written once that is possible, even if nothing has changed."""
    seconds, directory = Seconds(), tmp_path / "new"
    for file in (StatusFile(directory / "status.json", seconds), MetricsFile(directory / "mender.prom")):
        file.noticed(SITUATION)
        directory.mkdir()
        seconds.now += 61
        file.noticed(SITUATION)
        assert [directory] == [path.parent for path in directory.iterdir()]
        shutil.rmtree(directory)


def test_planted_link(tmp_path: Path) -> None:
    """A symbolic link in place of the status file is replaced on writing, and never followed."""
    target = tmp_path / "target"
    StatusFile(target).noticed(SITUATION)
    written = target.read_bytes()
    (tmp_path / "status.json").symlink_to(target)
    assert None is read_client_status(tmp_path / "status.json")
    StatusFile(tmp_path / "status.json").noticed(SITUATION.does("b", AT))
    assert written == target.read_bytes()
    assert {"status.json", "target"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100000, b'{"a": "' + b"x" * 70000 + b'"}'])
def test_unusable_status_file(tmp_path: Path, content: bytes) -> None:
    """A status file with invalid content is treated as missing."""
    (tmp_path / "status.json").write_bytes(content)
    assert None is read_client_status(tmp_path / "status.json")


# -- the service manager --------------------------------------------------------------------------------------


class Manager:
    """The socket of a service manager, with a path or an abstract name."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """All messages since the previous call."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of the manager's socket."""
    return str(tmp_path / "notify") if request.param == "path" else f"@mender-test-{os.getpid()}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    """A manager that listens."""
    manager = Manager(address)
    yield manager
    manager.socket.close()


def test_notifier(manager: Manager, address: str) -> None:
    """The manager is notified that the client is ready, of each change of its status, and that it is stopping."""
    notifier = Notifier(address)
    notifier.ready()
    notifier.noticed(SITUATION)
    notifier.noticed(SITUATION.contacted("https://x", AT))
    notifier.alive()
    notifier.stopping()
    notifier.close()
    assert ["READY=1", "STATUS=waiting for the next poll", "STOPPING=1"] == manager.heard()


def test_status_line_is_one_line(manager: Manager, address: str) -> None:
    """A line break in an error message can't forge another notification."""
    notifier = Notifier(address)
    notifier.noticed(SITUATION.failed("poll", NetworkError("bad\nREADY=0"), AT, in_a_row=1))
    notifier.close()
    assert ["STATUS=waiting to try again; poll failed once: bad READY=0"] == manager.heard()


def test_watchdog(manager: Manager, address: str) -> None:
    """While work makes progress, the watchdog is triggered four times per interval, not more often."""
    seconds = Seconds()
    notifier = Notifier(address, watchdog_seconds=8, monotonic=seconds)
    for _ in range(80):
        notifier.alive()
        seconds.now += 0.1
    notifier.close()
    assert ["WATCHDOG=1"] * 4 == manager.heard()


def test_manager_that_is_gone(address: str) -> None:
    """A manager that doesn't listen causes no exception."""
    notifier = Notifier(address, watchdog_seconds=1)
    notifier.ready()
    notifier.alive()
    notifier.close()


def test_manager_that_does_not_read(manager: Manager, address: str) -> None:
    """A manager whose queue is full doesn't block the client."""
    notifier = Notifier(address)
    for number in range(5000):
        notifier.noticed(SITUATION.does(WAITING, AT).judged(Authorisation.WAITING, AT).contacted(str(number), AT))
    notifier.close()
    assert 5000 > len(manager.heard())


def test_wait_with_a_watchdog() -> None:
    """A wait triggers the watchdog at its beginning and at each interval, and lasts until it is woken."""
    beats = []

    def beat() -> None:
        beats.append(clock.monotonic())
        if len(beats) == 5:
            clock.wake()

    clock = SystemClock(beat, beat_seconds=0.05)
    clock.wait(NEVER_S)
    assert 5 == len(beats)
    assert 4 * 0.05 <= beats[-1] - beats[0] + 0.001
    clock.close()


def test_wait_with_a_watchdog_lasts_its_time() -> None:
    """Triggering the watchdog makes a wait neither shorter nor endless."""
    beats = []
    clock = SystemClock(lambda: beats.append(clock.monotonic()), beat_seconds=0.05)
    began = clock.monotonic()
    clock.wait(0.12)
    assert 0.119 < clock.monotonic() - began
    assert 1 < len(beats) <= 3
    clock.close()


# -- metrics --------------------------------------------------------------------------------------------------


def figures(path: Path) -> dict[str, float]:
    """The samples, as read by the parser of Prometheus."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_metrics(tmp_path: Path) -> None:
    """The metrics file can be read by the parser of Prometheus and by all users, and contains the metrics."""
    client_status = SITUATION.answered(AT).contacted("https://x", AT).fetched(100, 7).judged(Authorisation.ACCEPTED, AT)
    client_status = client_status.failed("poll", NetworkError('a "quoted" \\ text', kind=ErrorKind.DNS), AT, in_a_row=3)
    client_status = client_status.remembering(Record(totals={"succeeded": 2, "aborted": 1})).downloads(Download(5, 10))
    client_status = client_status.asks_with("release-1")
    MetricsFile(tmp_path / "mender.prom").noticed(client_status)
    found = figures(tmp_path / "mender.prom")
    assert {
        "mender_client_info python=3.11.2 version=1.0": 1,
        "mender_client_start_time_seconds": 1795435200,
        "mender_client_installed_artifact artifact_name=release-1": 1,
        "mender_client_polls_total": 1,
        "mender_client_failures_total kind=dns": 1,
        "mender_client_failures_in_a_row": 3,
        "mender_client_fetched_bytes_total": 100,
        "mender_client_resumed_bytes_total": 7,
        "mender_client_reused_bytes_total": 0,
        "mender_client_last_contact_time_seconds": 1795435200,
        "mender_client_last_poll_time_seconds": 1795435200,
        "mender_client_unreported_messages": 0,
        "mender_client_held": 0,
        **{f"mender_client_waiting_at_gate gate={one}": 0 for one in ("download", "install", "reboot", "commit")},
        "mender_client_download_bytes": 5,
        "mender_client_download_size_bytes": 10,
    } == {name: value for name, value in found.items() if "state=" not in name and "outcome=" not in name}
    assert {"succeeded": 2, "failed": 0, "aborted": 1} == {
        name.partition("outcome=")[2]: value for name, value in found.items() if "outcome=" in name
    }
    states = {name.partition(" ")[2] for name, value in found.items() if "state=" in name and value == 1}
    assert {"state=waiting", "state=accepted"} == states
    assert 0o644 == (tmp_path / "mender.prom").stat().st_mode & 0o777


def test_metrics_of_a_new_client(tmp_path: Path) -> None:
    """The time of the last contact is left out if there was none."""
    MetricsFile(tmp_path / "mender.prom").noticed(ClientStatus())
    assert "mender_client_last_contact_time_seconds" not in figures(tmp_path / "mender.prom")


def test_metrics_label(tmp_path: Path) -> None:
    """A label may contain quotes, backslashes and line breaks."""
    strange = ClientStatus().begun(AT, version='1 "\\\n', python="")
    MetricsFile(tmp_path / "mender.prom").noticed(strange)
    assert 'mender_client_info python= version=1 "\\\n' in figures(tmp_path / "mender.prom")


def test_metrics_are_written_on_change(tmp_path: Path) -> None:
    """The metrics file is written only if a metric has changed."""
    file = MetricsFile(tmp_path / "mender.prom")
    file.noticed(SITUATION)
    (tmp_path / "mender.prom").unlink()
    file.noticed(SITUATION.planned(next_poll=AT, next_inventory=AT))
    assert not (tmp_path / "mender.prom").exists()
    file.noticed(SITUATION.answered(AT))
    assert 1 == figures(tmp_path / "mender.prom")["mender_client_polls_total"]
